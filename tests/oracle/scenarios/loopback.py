"""Frames that come back (§13.4.22 LBM, the PHY's loopback bit)."""

from cards import packet
from mdio import BMCR, LOOPBACK
from script import scenario

from e1000 import regs


@scenario("loopback")
def off_again(s):
    s.start()
    s.phy_write(BMCR, LOOPBACK | 0x140)
    s.wait(100)
    s.phy_write(BMCR, 0x1140 | 0x200)
    s.wait(5000)
    s.rx_ring(rctl=regs.RCTL_SECRC)
    s.tx_ring()
    s.post(s.legacy(packet(80)))
    s.frames()
    s.received()
