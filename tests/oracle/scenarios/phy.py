"""The PHY through MDIC, and the link it makes (§8, §13.4.7)."""

from mdio import BMCR, BMSR, CTRL1000, LOOPBACK, NEGOTIATE, POWER_DOWN, RESET, RESTART
from script import scenario

from e1000 import regs

UNIMPLEMENTED = (11, 12, 13, 14, 22, 23, 24, 25, 26, 27, 28)


@scenario("phy")
def every_register(s):
    s.start()
    for register in range(32):
        if register not in UNIMPLEMENTED:
            s.phy_read(register)


@scenario("phy", register=(4, 9, 16, 20))
def what_can_be_written(s, register):
    s.start()
    for value in (0, 0xFFFF, 0x5A5A, 0xA5A5):
        s.phy_write(register, value)
        s.phy_read(register)


@scenario("phy", register=(1, 2, 3, 5, 6, 10, 17))
def what_is_read_only(s, register):
    s.start()
    s.phy_read(register)
    s.phy_read(register)
    for value in (0, 0xFFFF):
        s.phy_write(register, value)
        s.phy_read(register)


@scenario("phy")
def nobody_at_other_addresses(s):
    s.start()
    for address in (0, 2, 31):
        s.write("MDIC", regs.MDIC_OP_READ | address << regs.MDIC_PHY_SHIFT | 2 << regs.MDIC_REG_SHIFT)
        s.read("MDIC", label=f"address {address}")


@scenario("phy")
def ready_interrupt(s):
    s.start()
    s.write("IMS", regs.ICR_MDAC)
    s.write("MDIC", regs.MDIC_OP_READ | 1 << regs.MDIC_PHY_SHIFT | 2 << regs.MDIC_REG_SHIFT)
    s.wait(1)
    s.irq("irq without INT_EN")
    s.read("ICR")
    s.write("MDIC", regs.MDIC_OP_READ | regs.MDIC_INT_EN | 1 << regs.MDIC_PHY_SHIFT | 2 << regs.MDIC_REG_SHIFT)
    s.wait(1)
    s.irq()
    s.reads("MDIC", "ICR")
    s.irq()


@scenario("phy")
def autonegotiation_restarted(s):
    s.start()
    s.phy_write(BMCR, NEGOTIATE | RESTART | 0x140)
    s.phy_read(BMCR)
    s.wait(5000)
    s.phy_read(BMSR)
    s.phy_read(BMSR)
    s.phy_read(5)
    s.phy_read(10)
    s.phy_read(17)
    s.reads("STATUS", "ICR")


@scenario("phy")
def reset_bit_clears_itself(s):
    s.start()
    s.phy_write(4, 0x0101)
    s.phy_write(BMCR, RESET | NEGOTIATE | 0x140)
    s.wait(5000)
    s.phy_read(BMCR)
    s.phy_read(BMSR)
    s.phy_read(BMSR)
    s.read("STATUS")


@scenario("phy")
def power_down_drops_the_link(s):
    s.start()
    s.phy_write(BMCR, NEGOTIATE | POWER_DOWN | 0x140)
    s.wait(10)
    s.phy_read(BMCR)
    s.phy_read(BMSR)
    s.phy_read(BMSR)
    s.reads("STATUS", "ICR")


@scenario("phy")
def loopback_bit(s):
    s.start()
    s.phy_write(BMCR, LOOPBACK | 0x140)
    s.wait(10)
    s.phy_read(BMCR)


@scenario("phy")
def control_of_1000_mbit(s):
    s.start()
    s.phy_write(CTRL1000, 0)
    s.phy_write(BMCR, NEGOTIATE | RESTART | 0x140)
    s.wait(5000)
    s.phy_read(BMSR)
    s.phy_read(BMSR)
    s.phy_read(CTRL1000)


@scenario("phy")
def as_linux_probes_it(s):
    s.start()
    s.phy_read(2)
    s.phy_read(3)
    s.phy_read(16)
    s.phy_write(16, 0x0068)
    s.phy_read(20)
    s.phy_write(20, 0x0070)
    s.phy_write(4, 0x0DE1)
    s.phy_write(9, 0x0200)
    s.phy_write(BMCR, NEGOTIATE | RESTART)
    s.wait(5000)
    for register in (1, 1, 4, 5, 16, 20):
        s.phy_read(register)
    s.read("STATUS")


@scenario("phy")
def set_link_up(s):
    s.start()
    s.read("STATUS")
    s.change("CTRL", clear=regs.CTRL_SLU)
    s.read("STATUS")
    s.change("CTRL", set=regs.CTRL_SLU)
    s.wait(5000)
    s.read("STATUS")


@scenario("phy")
def speed_and_duplex_forced_by_ctrl(s):
    s.start()
    for speed in range(3):
        s.write("CTRL", regs.CTRL_SLU | regs.CTRL_FRCSPD | regs.CTRL_FRCDPLX | speed << regs.CTRL_SPEED_SHIFT)
        s.reads("CTRL", "STATUS")
