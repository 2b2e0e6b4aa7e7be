"""What drivers do to the EEPROM's pins, access by access."""

from e1000 import regs

READ, WRITE, ERASE, EXTENDED = 0b10, 0b01, 0b11, 0b00
EWEN, EWDS, WRAL, ERAL = 0b110000, 0b000000, 0b010000, 0b100000
SK, CS, DI = regs.EECD_SK, regs.EECD_CS, regs.EECD_DI


class Microwire:
    """A driver's side of EECD, as Linux's e1000_hw.c moves it, read back before each step. `writes` counts writes."""

    def __init__(self, card):
        self.card = card
        self.writes = 0
        self.eecd = 0

    def read(self, offset=regs.EECD):
        return self.card.read(offset)

    def change(self, *, on=0, off=0):
        self.eecd = self.eecd & ~off | on
        self.writes += 1
        self.card.write(regs.EECD, self.eecd)

    def flush(self):
        self.read(regs.STATUS)

    def acquire(self):
        self.eecd = self.read()
        self.change(on=regs.EECD_REQ)
        self.eecd = self.read()
        assert self.eecd & regs.EECD_GNT
        self.change(off=DI | SK)
        self.change(on=CS)

    def bits_out(self, value, count):
        self.eecd = self.read()
        for i in reversed(range(count)):
            self.change(on=DI if value >> i & 1 else 0, off=DI)
            self.flush()
            self.change(on=SK)
            self.flush()
            self.change(off=SK)
            self.flush()
        self.change(off=DI)

    def bits_in(self, count=16):
        self.eecd = self.read()
        value = 0
        for _ in range(count):
            self.change(on=SK)
            self.flush()
            value = value << 1 | bool(self.read() & regs.EECD_DO)
            self.change(off=SK)
            self.flush()
        return value

    def standby(self):
        self.eecd = self.read()
        for step in ({"off": CS | SK}, {"on": SK}, {"on": CS}, {"off": SK}):
            self.change(**step)
            self.flush()

    def release(self):
        self.eecd = self.read()
        self.change(off=CS | DI)
        self.change(on=SK)
        self.change(off=SK)
        self.change(off=regs.EECD_REQ)

    def command(self, opcode, address=0):
        self.bits_out(0b100 | opcode, 3)
        self.bits_out(address, 6)

    # --- whole instructions ---

    def read_word(self, address):
        self.acquire()
        self.command(READ, address)
        value = self.bits_in()
        self.standby()
        self.release()
        return value

    def do(self, opcode, address=0, data=None, *, bits=16):
        """An instruction with or without data, and whether the chip says it is ready."""
        self.acquire()
        self.command(opcode, address)
        if data is not None:
            self.bits_out(data >> 16 - bits, bits)
        self.standby()
        ready = bool(self.read() & regs.EECD_DO)
        self.release()
        return ready
