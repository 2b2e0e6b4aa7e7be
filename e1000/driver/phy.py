"""What the PHY negotiates, or is forced to: the link's modes (the kernel's e1000_setup_copper_link and e1000_set_spd_dplx)."""

from __future__ import annotations

import errno
from collections.abc import Iterable

from e1000 import regs
from e1000.driver.hw import MII_CR_AUTO_NEG_EN, MII_CR_RESTART_AUTO_NEG, PHY_CTRL, Hw

PHY_AUTONEG_ADV, PHY_LP_ABILITY, PHY_1000T_CTRL, PHY_1000T_STATUS = 4, 5, 9, 10
M88_PHY_SPEC_CTRL, M88_PHY_SPEC_STATUS, M88_EXT_PHY_SPEC_CTRL = 16, 17, 20
PSCR_AUTO_X_MODE, PSSR_MDIX = 0x0060, 0x0040  # crossing over by itself; whether it does
MII_CR_FULL_DUPLEX, MII_CR_SPEED_100, MII_CR_LOOPBACK, MII_CR_RESET = 0x0100, 0x2000, 0x4000, 0x8000
CR_1000T_HD_CAPS, CR_1000T_FD_CAPS = 0x0100, 0x0200
NWAY_AR_SELECTOR, NWAY_AR_MODES, NWAY_AR_PAUSES = 0x0001, 0x01E0, 0x0C00

# ethtool's names of the modes, and PHY_AUTONEG_ADV's bits for them; that of 1000BASE-T is in PHY_1000T_CTRL
MODES = {"10baseT/Half": 0x0020, "10baseT/Full": 0x0040, "100baseT/Half": 0x0080, "100baseT/Full": 0x0100}
GIGABIT = "1000baseT/Full"
SUPPORTED = (*MODES, GIGABIT)


class Copper:
    """One card's wishes for its link. `advertised`: modes to negotiate about; `forced`: (Mbit/s, full duplex) instead, or None."""

    def __init__(self, hw: Hw) -> None:
        self.hw = hw
        self.advertised: tuple[str, ...] = SUPPORTED
        self.forced: tuple[int, bool] | None = None

    def advertise(self, modes: Iterable[str]) -> None:
        """Negotiate about these, from the next `setup` on. Raises OSError EINVAL for a mode there is not, or none at all."""
        wanted = set(modes)
        if not wanted or not wanted <= set(SUPPORTED):
            given = ", ".join(sorted(wanted)) or "none"
            raise OSError(errno.EINVAL, f"{self.hw.bus!r}: link modes are some of {', '.join(SUPPORTED)}; not {given}")
        self.advertised = tuple(mode for mode in SUPPORTED if mode in wanted)
        self.forced = None

    def force(self, speed: int, full_duplex: bool) -> None:
        """One speed without negotiation, from the next `setup` on (e1000_set_spd_dplx). 1000BASE-T is negotiated in any case.

        Raises OSError EINVAL for a speed there is not, or 1000 in half duplex.
        """
        if speed == 1000 and full_duplex:
            self.advertise([GIGABIT])
        elif speed in (10, 100):
            self.forced = (speed, full_duplex)
        else:
            duplex = "full" if full_duplex else "half"
            raise OSError(errno.EINVAL, f"{self.hw.bus!r}: the link has 10 or 100 Mbit/s, or 1000 in full duplex; not {speed} in {duplex}")

    def setup(self, pauses: int) -> None:
        """Tell PHY and MAC, the latter after each reset. `pauses`: what to advertise of them.

        Nothing is written to a PHY that does so already: its link would go. Raises OSError as Hw.write_phy.
        """
        specific = self.hw.read_phy(M88_PHY_SPEC_CTRL)
        if specific & PSCR_AUTO_X_MODE != PSCR_AUTO_X_MODE:  # a self-test that was broken off
            self.hw.write_phy(M88_PHY_SPEC_CTRL, specific | PSCR_AUTO_X_MODE)
            self.hw.write_phy(PHY_CTRL, self.hw.read_phy(PHY_CTRL) & ~MII_CR_LOOPBACK | MII_CR_RESET)
        if self.forced is None:
            self._negotiate(pauses)
            self.hw.set_link_up()
        else:
            self._force(*self.forced)

    def _negotiate(self, pauses: int) -> None:
        control = self.hw.read_phy(PHY_CTRL)
        modes = NWAY_AR_SELECTOR | pauses | sum(MODES[mode] for mode in self.advertised if mode in MODES)
        before = self.hw.read_phy(PHY_AUTONEG_ADV)
        changed = (before ^ modes) & (NWAY_AR_MODES | NWAY_AR_PAUSES)
        if changed:
            self.hw.write_phy(PHY_AUTONEG_ADV, modes)
        gigabit = CR_1000T_FD_CAPS if GIGABIT in self.advertised else 0
        before = self.hw.read_phy(PHY_1000T_CTRL)
        if before & (CR_1000T_FD_CAPS | CR_1000T_HD_CAPS) != gigabit:
            self.hw.write_phy(PHY_1000T_CTRL, before & ~(CR_1000T_FD_CAPS | CR_1000T_HD_CAPS) | gigabit)
            changed |= (before ^ gigabit) & CR_1000T_FD_CAPS  # half duplex makes no other link: every partner has full
        if changed or control & (MII_CR_AUTO_NEG_EN | MII_CR_LOOPBACK) != MII_CR_AUTO_NEG_EN:
            self.hw.write_phy(PHY_CTRL, control & ~MII_CR_LOOPBACK | MII_CR_AUTO_NEG_EN | MII_CR_RESTART_AUTO_NEG)

    def _force(self, speed: int, full_duplex: bool) -> None:
        """e1000_phy_force_speed_duplex."""
        wanted = (MII_CR_SPEED_100 if speed == 100 else 0) | (MII_CR_FULL_DUPLEX if full_duplex else 0)
        if self.hw.read_phy(PHY_CTRL) != wanted:
            self.hw.write_phy(PHY_CTRL, wanted)
        control = self.hw.read(regs.CTRL) & ~(regs.CTRL_ASDE | 3 << regs.CTRL_SPEED_SHIFT | regs.CTRL_FD)
        control |= regs.CTRL_SLU | regs.CTRL_FRCSPD | regs.CTRL_FRCDPLX | (1 << regs.CTRL_SPEED_SHIFT if speed == 100 else 0)
        self.hw.bus.write(regs.CTRL, control | (regs.CTRL_FD if full_duplex else 0))
