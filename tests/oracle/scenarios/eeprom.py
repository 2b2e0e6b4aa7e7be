"""The EEPROM by EERD and by the Microwire pins (§5.6, §13.4.3, §13.4.4)."""

from microwire import EWDS, EWEN, EXTENDED, READ, WRITE, Microwire
from script import scenario

from e1000 import regs


class Pins(Microwire):
    """Microwire on a Script: what EECD shows is a step, STATUS, read to flush, is not."""

    def __init__(self, script):
        super().__init__(script.machine)
        self.script = script

    def read(self, offset=regs.EECD):
        value = super().read(offset)
        return self.script.record("EECD", value) if offset == regs.EECD else value


@scenario("eeprom")
def every_word_by_eerd(s):
    s.enable()
    for word in range(64):
        s.write("EERD", word << regs.EERD_ADDR_SHIFT | regs.EERD_START)
        s.wait(1)
        s.read("EERD", label=f"word {word:02x}")


@scenario("eeprom")
def eerd_without_start(s):
    s.enable()
    s.read("EERD")
    s.write("EERD", 1 << regs.EERD_ADDR_SHIFT)
    s.read("EERD")


@scenario("eeprom", word=(0, 1, 2, 10, 63))
def one_word_by_its_pins(s, word):
    s.enable()
    s.record("word", Pins(s).read_word(word))


@scenario("eeprom")
def every_word_by_its_pins(s):
    s.enable()
    chip = Microwire(s.machine)
    words = [s.record(f"word {word:02x}", chip.read_word(word)) for word in range(64)]
    s.record("checksum", sum(words) & 0xFFFF)


@scenario("eeprom")
def words_in_sequence(s):
    s.enable()
    chip = Pins(s)
    chip.acquire()
    chip.command(READ, 0)
    for word in range(4):
        s.record(f"word {word}", chip.bits_in())
    chip.standby()
    chip.release()


@scenario("eeprom")
def control_register(s):
    s.enable()
    s.read("EECD")
    for pins in (0, regs.EECD_CS, regs.EECD_CS | regs.EECD_SK, regs.EECD_DI):
        s.write("EECD", regs.EECD_REQ | pins)
        s.read("EECD")
    for value in (regs.EECD_CS, 0):
        s.write("EECD", value)
        s.read("EECD")


@scenario("eeprom")
def chip_not_selected(s):
    s.enable()
    chip = Pins(s)
    chip.acquire()
    chip.change(off=regs.EECD_CS)
    chip.bits_out(0b110000001, 9)
    s.record("word", chip.bits_in())
    chip.release()


@scenario("eeprom")
def a_write_without_write_enable_changes_nothing(s):
    s.enable()
    chip = Microwire(s.machine)
    chip.do(EXTENDED, EWDS)
    chip.do(WRITE, 0x20, 0x1234)
    s.wait(20)
    s.record("word", chip.read_word(0x20))


@scenario("eeprom")
def a_word_is_written(s):
    s.enable()
    chip = Microwire(s.machine)
    chip.do(EXTENDED, EWEN)
    chip.do(WRITE, 0x20, 0x1234)
    s.wait(20)
    s.record("word", chip.read_word(0x20))
