"""What a card is after power-on and the kinds of reset (§14.3, §13.4.1)."""

from cards import packet
from script import scenario

from e1000 import regmap, regs

# Those whose reading does something are read too: nothing is to be cleared yet.
ALL = {offset: name.replace("[", ".").replace("]", "") for offset, (name, _) in sorted(regmap.expand().items())}


@scenario("reset")
def every_register_after_power_on(s):
    s.enable()
    for offset, name in ALL.items():
        s.read(offset, label=name)


@scenario("reset")
def every_register_after_software_reset(s):
    s.start()
    stored = ("FCAL", "FCAH", "FCT", "FCTTV", "VET", "ITR", "TIPG", "AIT", "RADV", "TADV")
    stored += ("RDBAL", "RDBAH", "RDLEN", "TDBAL", "TDBAH", "TDLEN")
    for name in stored:
        s.write(name, 0x5A5A5A80)
    s.write("MTA", 0xFFFFFFFF, index=3)
    s.write("IMS", 0xFFFF)
    s.write("CTRL", regs.CTRL_RST)
    s.wait(10)
    for name in (*stored, "CTRL", "RCTL", "TCTL", "IMS", "RAL0", "RAH0", "RDH", "RDT", "TDH", "TDT"):
        s.read(name)
    s.read("MTA", index=3)
    s.read("ICR")


@scenario("reset")
def reset_bit_clears_itself(s):
    s.start()
    s.change("CTRL", set=regs.CTRL_RST)
    s.wait(10)
    s.record("RST", s.machine.read(regs.CTRL) & regs.CTRL_RST)
    s.change("CTRL", set=regs.CTRL_PHY_RST)
    s.wait(10)
    s.change("CTRL", clear=regs.CTRL_PHY_RST)


@scenario("reset")
def works_after_reset(s):
    s.start()
    s.tx_ring()
    s.post(s.legacy(packet(100)))
    s.sent()
    s.write("CTRL", regs.CTRL_RST)
    s.write("IMC", 0xFFFFFFFF)
    s.start()
    s.tx_ring()
    s.post(s.legacy(packet(200)))
    s.sent()
    s.rx_ring()
    s.receive(packet(120))
    s.received()


@scenario("reset")
def eeprom_reload(s):
    s.start()
    s.write("RAL0", 0x44332211)
    s.write("RAH0", 0x80006655)
    s.write("CTRL_EXT", regs.CTRL_EXT_EE_RST)
    s.wait(10)
    s.reads("RAL0", "RAH0", "CTRL_EXT")


@scenario("reset")
def reset_through_the_io_bar(s):
    s.start()
    s.write("MTA", 0xFFFFFFFF, index=3)
    s.machine.io_write(0, regs.CTRL)
    s.machine.io_write(4, regs.CTRL_RST)
    s.wait(10)
    s.read("MTA", index=3)


@scenario("reset")
def opened_as_linux_does(s):
    """e1000_reset, e1000_up and the first frames, in the driver's order."""
    s.start()
    s.write("IMC", 0xFFFFFFFF)
    s.write("RCTL", 0)
    s.write("TCTL", regs.TCTL_PSP)
    s.read("STATUS")
    s.wait(10)
    s.read("ICR")
    for name, value in (("PBA", 0x30), ("WUC", 0), ("VET", 0)):
        s.write(name, value)
    for table in ("VFTA", "MTA"):
        for index in range(128):
            s.write(table, 0, index=index)
    s.write("RAL0", 0x12005452)
    s.write("RAH0", 0x80005634)
    for index in range(1, 15):
        s.write("RAL0", 0, index=index)
        s.write("RAH0", 0, index=index)
    s.write("CTRL", regs.CTRL_SLU | regs.CTRL_FD)
    s.wait(3000)
    s.tx_ring(256, tctl=regs.TCTL_PSP | regs.TCTL_RTLC | 15 << 4)
    for name, value in (("TIPG", 0x602008), ("TIDV", 8), ("TADV", 32), ("RDTR", 0), ("RADV", 8), ("ITR", 195)):
        s.write(name, value)
    s.rx_ring(256, give=254)
    s.write("IMS", 0x9D)
    s.write("ICS", regs.ICR_LSC)
    s.wait(1)
    s.irq()
    s.read("ICR")
    s.write("TCTL", regs.TCTL_EN | regs.TCTL_PSP | regs.TCTL_RTLC | 15 << 4 | 63 << 12)
    for i in range(5):
        s.post(s.legacy(packet(60 + 100 * i, seed=i)))
        s.receive(packet(60 + 100 * i, seed=i))
    s.frames()
    s.received()
    s.wait(3)
    s.irq()
    s.read("ICR")
