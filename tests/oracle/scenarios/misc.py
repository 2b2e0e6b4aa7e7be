"""Registers that are none of the above, and tables."""

from script import scenario

from e1000 import regs


@scenario("misc")
def multicast_table(s):
    s.start()
    for index in range(128):
        s.write("MTA", 0x01010101 * index, index=index)
    for index in range(128):
        s.read("MTA", index=index)


@scenario("misc")
def vlan_table(s):
    s.start()
    for index in range(128):
        s.write("VFTA", ~(0x01010101 * index) & 0xFFFFFFFF, index=index)
    for index in range(128):
        s.read("VFTA", index=index)


@scenario("misc")
def address_table(s):
    s.start()
    for index in range(16):
        s.probe("RAL0", 0x5A5A5A5A, 0xFFFFFFFF, 0, index=index)
        s.probe("RAH0", 0x5A5A5A5A, 0xFFFFFFFF, 0, index=index)


@scenario("misc")
def status_is_read_only(s):
    s.start()
    s.probe("STATUS", 0, 0xFFFFFFFF)


@scenario("misc")
def packet_buffer_split(s):
    s.start()
    s.probe("PBA", 0x20, 0x30, 0x10)


@scenario("misc")
def leds(s):
    s.start()
    s.probe("LEDCTL", 0, 0x07068302, 0x0E0F0E0F)


@scenario("misc")
def management_control(s):
    s.start()
    s.probe("MANC", 0, 0x2000, 0x00222300)


@scenario("misc")
def software_semaphore(s):
    s.start()
    s.probe(0x5B50, 0, 1)


@scenario("misc")
def ether_type_of_vlan(s):
    s.start()
    s.probe("VET", 0x8100, 0x88A8, 0xFFFFFFFF, 0)


@scenario("misc")
def adaptive_ifs(s):
    s.start()
    s.probe("AIT", 0, 0x1234, 0xFFFF)


@scenario("misc")
def transmit_configuration_word(s):
    s.start()
    s.probe("TXCW", 0xFFFF, 0xFFFFFFFF, 0)
    s.read(regs.RXCW)


@scenario("misc")
def extended_control(s):
    s.start()
    s.probe("CTRL_EXT", 0, 0xF00, 0)


@scenario("misc")
def device_control(s):
    s.start()
    s.probe("CTRL", regs.CTRL_SLU, regs.CTRL_SLU | regs.CTRL_FD | regs.CTRL_VME, regs.CTRL_SLU | 0x3C000000 & ~regs.CTRL_RST)


@scenario("misc")
def packet_buffer_memory(s):
    s.start()
    for offset in (regs.PBM, regs.PBM + 0x100, regs.PBM + 0x7FFC):
        s.probe(offset, 0x12345678, 0)


@scenario("misc")
def holes_read_zero(s):
    s.start()
    for offset in (0x000C, 0x0050, 0x0094, 0x01A0, 0x0300, 0x6000, 0x7000, 0xB000):
        s.write(offset, 0xFFFFFFFF)
        s.read(offset)


@scenario("misc")
def flash_access(s):
    s.start()
    s.read(0x001C)
