"""Frames that come back (§13.4.22 LBM, the PHY's loopback bit)."""

from cards import packet
from mdio import BMCR, LOOPBACK
from script import scenario

from e1000 import regs


@scenario("loopback")
def by_the_phy(s):
    s.start()
    s.write("CTRL", regs.CTRL_FRCSPD | regs.CTRL_FRCDPLX | regs.CTRL_SPEED_1000 | regs.CTRL_FD | regs.CTRL_SLU)
    s.phy_write(BMCR, LOOPBACK | 0x140)
    s.wait(100)
    s.rx_ring(rctl=regs.RCTL_SECRC | regs.RCTL_UPE)
    s.tx_ring()
    for length in (60, 300, 1514):
        s.post(s.legacy(packet(length)))
    s.frames()
    s.received()
    s.read("ICR")


@scenario("loopback")
def by_the_phy_and_filtered(s):
    s.start()
    s.write("CTRL", regs.CTRL_FRCSPD | regs.CTRL_FRCDPLX | regs.CTRL_SPEED_1000 | regs.CTRL_FD | regs.CTRL_SLU)
    s.phy_write(BMCR, LOOPBACK | 0x140)
    s.wait(100)
    s.rx_ring(rctl=regs.RCTL_SECRC)
    s.tx_ring()
    s.post(s.legacy(packet(80, to=b"\x02\0\0\0\0\x09")), s.legacy(packet(90)))
    s.frames()
    s.received()


@scenario("loopback")
def by_the_mac(s):
    s.start()
    s.rx_ring(rctl=regs.RCTL_SECRC | 1 << 6)
    s.tx_ring()
    s.post(s.legacy(packet(80)))
    s.frames()
    s.received()


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
