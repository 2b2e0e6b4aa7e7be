"""PCI configuration space, and what it switches (§4.1, §13.2)."""

from cards import packet
from script import scenario

from e1000 import regs

COMMAND, STATUS, BAR0, BAR1, LATENCY, LINE = 0x04, 0x06, 0x10, 0x14, 0x0D, 0x3C
IO, MEMORY, MASTER, NO_INTX = 1, 2, 4, 0x400
ONES = 0xFFFFFFFF


@scenario("config")
def header_after_reset(s):
    for offset in range(0, 0x40, 2):
        s.config(offset, 2)


@scenario("config")
def behind_the_header(s):
    for offset in range(0x40, 0x100, 4):
        s.config(offset)


@scenario("config")
def sizes_of_the_base_addresses(s):
    for offset in range(0x10, 0x28, 4):
        s.machine.config_write(offset, ONES)
        s.config(offset)
        s.machine.config_write(offset, 0x12345678)
        s.config(offset)


@scenario("config")
def command_bits(s):
    for value in (0, 1, 2, 4, 7, 0x10, 0x40, 0x100, 0x400, 0xFFFF, 0x407, 0):
        s.machine.config_write(COMMAND, value, 2)
        s.config(COMMAND, 2)


@scenario("config")
def identity_is_read_only(s):
    for offset in (0x00, 0x02, 0x08, 0x0A, 0x2C, 0x3D):
        s.machine.config_write(offset, 0xA5, 1)
        s.config(offset, 1)
    s.machine.config_write(0x00, ONES)
    s.config(0x00)


@scenario("config")
def status_bits_are_not_set_by_writing(s):
    s.machine.config_write(STATUS, 0xFFFF, 2)
    s.config(STATUS, 2)


@scenario("config")
def bytes_and_words(s):
    s.machine.config_write(LINE, 0x0B, 1)
    s.machine.config_write(0x0C, 0x10, 1)
    s.config(LINE, 1)
    s.config(LINE, 2)
    s.config(0x3D, 1)
    s.config(0x0C, 1)
    s.config(0x02, 2)
    s.config(0x0A, 2)
    s.machine.config_write(BAR0 + 2, 0xFEB8, 2)
    s.config(BAR0)
    s.machine.config_write(BAR0 + 3, 0xE0, 1)
    s.config(BAR0)


@scenario("config")
def interrupt_status_follows_the_line(s):
    s.enable()
    s.config(STATUS, 2)
    s.write("IMS", regs.ICR_LSC)
    s.write("ICS", regs.ICR_LSC)
    s.wait(1)
    s.config(STATUS, 2)
    s.read("ICR")
    s.config(STATUS, 2)


@scenario("config")
def interrupt_disable(s):
    s.enable(IO | MEMORY | MASTER | NO_INTX)
    s.write("IMS", regs.ICR_LSC)
    s.write("ICS", regs.ICR_LSC)
    s.wait(1)
    s.irq()
    s.config(STATUS, 2)
    s.machine.config_write(COMMAND, IO | MEMORY | MASTER, 2)
    s.irq()
    s.machine.config_write(COMMAND, IO | MEMORY | MASTER | NO_INTX, 2)
    s.irq()
    s.read("ICR")


@scenario("config")
def memory_space_off_and_on_keeps_the_registers(s):
    s.enable()
    s.write("MTA", 0x12345678, index=5)
    s.machine.config_write(COMMAND, IO | MASTER, 2)
    s.write("MTA", 0, index=5)
    s.machine.config_write(COMMAND, IO | MEMORY | MASTER, 2)
    s.read("MTA", index=5)


@scenario("config")
def the_base_address_moves(s):
    s.start()
    s.write("MTA", 0x12345678, index=5)
    s.machine.config_write(BAR0, 0xE8000000)
    s.config(BAR0)
    s.machine.config_write(BAR0, 0xE0000000)
    s.read("MTA", index=5)


@scenario("config")
def no_bus_master_no_frame(s):
    s.start()
    s.tx_ring()
    s.put(s.legacy(packet(80)))
    s.machine.config_write(COMMAND, IO | MEMORY, 2)
    s.write("TDT", 1)
    s.frames("frame without bus master")
    s.machine.config_write(COMMAND, IO | MEMORY | MASTER, 2)


@scenario("config")
def registers_by_io(s):
    s.start()
    s.machine.io_write(0, regs.MTA)
    s.record("IOADDR", s.machine.io_read(0))
    s.machine.io_write(4, 0x13579BDF)
    s.record("IODATA", s.machine.io_read(4))
    s.read("MTA", index=0)


@scenario("config")
def registers_by_bytes_and_words(s):
    s.start()
    s.write("MTA", 0x11223344, index=7)
    for size in (1, 2):
        s.read("MTA", index=7, size=size, label=f"MTA in {size}")
    for byte in range(4):
        s.read(regs.MTA + 28 + byte, size=1)
    s.read(regs.MTA + 30, size=2)
    s.read("STATUS", size=1)
