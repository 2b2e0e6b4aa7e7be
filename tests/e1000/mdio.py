"""What drivers do to the PHY, and a card with its link wanted."""

from cards import MAC, RecordingWire

from e1000 import regs
from e1000.device import E1000Device
from fastring.clock import VirtualClock

BMCR, BMSR, ID1, ID2, ADVERTISE, PARTNER, EXPANSION, CTRL1000, STAT1000 = 0, 1, 2, 3, 4, 5, 6, 9, 10
SPECIFIC_STATUS, INTERRUPT_ENABLE, INTERRUPT_STATUS = 17, 18, 19
SPEED_HIGH, FULL_DUPLEX, RESTART, POWER_DOWN, NEGOTIATE, SPEED_LOW, LOOPBACK, RESET = (1 << bit for bit in (6, 8, 9, 11, 12, 13, 14, 15))
LINK, NEGOTIATED = 1 << 2, 1 << 5
LU, FD, SPEED = regs.STATUS_LU, regs.STATUS_FD, 3 << 6
SECOND = 1_000_000_000


class Mdio:
    """A driver's side of MDIC."""

    def __init__(self, card, *, phy=1):
        self.card = card
        self.phy = phy

    def access(self, command):
        self.card.write(regs.MDIC, command | self.phy << regs.MDIC_PHY_SHIFT)
        value = self.card.read(regs.MDIC)
        assert value & regs.MDIC_READY
        return value

    def read(self, register):
        value = self.access(regs.MDIC_OP_READ | register << regs.MDIC_REG_SHIFT)
        assert not value & regs.MDIC_ERROR
        return value & 0xFFFF

    def write(self, register, value):
        assert not self.access(regs.MDIC_OP_WRITE | register << regs.MDIC_REG_SHIFT | value) & regs.MDIC_ERROR

    def bmsr(self):
        """The link state, as every driver asks for it: twice, since it latches low."""
        self.read(BMSR)
        return self.read(BMSR)

    def set_up_as_linux(self):
        """The accesses of e1000_copper_link_setup_mgp and what follows; returns whether the link was there."""
        identity = self.read(ID1) << 16 | self.read(ID2)
        assert identity & ~0xF == 0x01410C20, "M88E1000"
        self.write(16, self.read(16) | 0x60)
        if identity & 0xF < 4:
            self.write(20, self.read(20) | 0x70)
        self.write(BMCR, self.read(BMCR) | RESET)
        assert not self.read(BMCR) & RESET
        self.read(ADVERTISE)
        self.read(CTRL1000)
        self.write(ADVERTISE, 0x0DE1)
        self.write(CTRL1000, 0x0200)
        self.write(BMCR, self.read(BMCR) | NEGOTIATE | RESTART)
        assert not self.read(BMCR) & RESTART
        return any(self.bmsr() & LINK for _ in range(10))


class Plugged:
    """A card with its link wanted (SLU), on a VirtualClock if `timed`."""

    def __init__(self, *, timed=False, wire=True):
        self.clock = VirtualClock() if timed else None
        self.wire = RecordingWire()
        self.device = E1000Device(mac=MAC, wire=self.wire if wire else None, clock=self.clock)
        self.mdio = Mdio(self.device)
        self.device.write(regs.CTRL, regs.CTRL_SLU)
        self.device.read(regs.ICR)

    @property
    def status(self):
        return self.device.read(regs.STATUS) & (LU | FD | SPEED)

    def up(self):
        return bool(self.status & LU)

    def wait(self, seconds):
        self.clock.advance(int(seconds * SECOND))

    def bmsr(self):
        return self.mdio.bmsr()
