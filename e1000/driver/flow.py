"""Flow control: what the driver wants, advertises, and agrees on with the other end (§8.7; the kernel's e1000_config_fc_after_link_up)."""

from __future__ import annotations

import errno
from typing import NamedTuple

from e1000 import regs
from e1000.driver.hw import PHY_STATUS, Hw, Link
from e1000.driver.phy import PHY_AUTONEG_ADV, PHY_LP_ABILITY

PAUSE, ASM_DIR = 0x0400, 0x0800  # in PHY_AUTONEG_ADV and PHY_LP_ABILITY
MII_SR_AUTONEG_COMPLETE = 0x0020
TYPE, ADDRESS_LOW, ADDRESS_HIGH, PAUSE_TIME = 0x8808, 0x00C28001, 0x0100, 0xFFFF  # IEEE 802.3 annex 31B
EEPROM_PAUSE, EEPROM_ASM_DIR = 0x1000, 0x2000  # in its word 0x0F


class Pause(NamedTuple):
    """What pause frames do: those that arrive hold the transmitter (rx), a full FIFO sends them (tx)."""

    rx: bool
    tx: bool

    @property
    def advertised(self) -> int:
        """Receiving alone cannot be advertised: both are, and one is not done (e1000_phy_setup_autoneg)."""
        return PAUSE | ASM_DIR if self.rx else ASM_DIR if self.tx else 0


NONE, RX, TX, FULL = Pause(False, False), Pause(True, False), Pause(False, True), Pause(True, True)
NAMES = {"none": NONE, "rx": RX, "tx": TX, "full": FULL}


def by_name(flow_control: str) -> Pause | None:
    """The driver's FlowControl parameter; None for "default", as the EEPROM has it. Raises OSError EINVAL."""
    if flow_control != "default" and flow_control not in NAMES:
        raise OSError(errno.EINVAL, f"flow_control is default, {', '.join(NAMES)}; not {flow_control!r}")
    return NAMES.get(flow_control)


def by_eeprom(word: int) -> Pause:
    """As a card's EEPROM has it (e1000_setup_link)."""
    pauses = word & (EEPROM_PAUSE | EEPROM_ASM_DIR)
    return NONE if pauses == 0 else TX if pauses == EEPROM_ASM_DIR else FULL


def resolve(wanted: Pause, ours: int, theirs: int) -> Pause:
    """IEEE 802.3 table 28B-3, of what both ends advertise; where the other end says nothing, as a switch that can only receive."""
    both = ours & theirs
    if both & PAUSE:
        return FULL if wanted == FULL else RX
    if not ours & PAUSE and both & ASM_DIR and theirs & PAUSE:
        return TX
    if ours & PAUSE and both & ASM_DIR and not theirs & PAUSE:
        return RX
    return NONE if wanted in (NONE, TX) else RX


class FlowControl:
    """One card's. `wanted`: by the user or the EEPROM; `now`: what is done. `autoneg`: whether the other end is asked."""

    def __init__(self, hw: Hw) -> None:
        self.hw = hw
        self.wanted = self.now = FULL
        self.autoneg = True

    def setup(self, fifo: int, frame: int) -> None:
        """Addresses, time and thresholds, after a reset. `fifo`: the receiver's bytes, `frame`: those of the longest one (e1000_reset)."""
        bus = self.hw.bus
        high = min(fifo * 9 // 10, fifo - frame) & 0xFFF8
        self.now = self.wanted
        bus.write(regs.FCT, TYPE)
        bus.write(regs.FCAH, ADDRESS_HIGH)
        bus.write(regs.FCAL, ADDRESS_LOW)
        bus.write(regs.FCTTV, PAUSE_TIME)
        bus.write(regs.FCRTL, high - 8 | regs.FCRTL_XONE if self.wanted.tx else 0)
        bus.write(regs.FCRTH, high if self.wanted.tx else 0)

    def link_is_up(self, link: Link, *, negotiated: bool) -> None:
        """Do what both ends agreed on (e1000_config_fc_after_link_up), or what the user said, who then asks nobody."""
        if not negotiated or not self.autoneg:
            self.force(self.wanted)
            return
        self.hw.read_phy(PHY_STATUS)  # twice: it remembers a link that was lost
        if not self.hw.read_phy(PHY_STATUS) & MII_SR_AUTONEG_COMPLETE:
            return
        pause = resolve(self.wanted, self.hw.read_phy(PHY_AUTONEG_ADV), self.hw.read_phy(PHY_LP_ABILITY))
        self.force(pause if link.full_duplex else NONE)

    def force(self, pause: Pause) -> None:
        """e1000_force_mac_fc."""
        self.now = pause
        control = self.hw.read(regs.CTRL) & ~(regs.CTRL_RFCE | regs.CTRL_TFCE)
        self.hw.bus.write(regs.CTRL, control | (regs.CTRL_RFCE if pause.rx else 0) | (regs.CTRL_TFCE if pause.tx else 0))
