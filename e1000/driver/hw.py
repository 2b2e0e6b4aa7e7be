"""Register sequences that several operations need: reset, EEPROM, PHY, link (the kernel's e1000_hw.c); only through the bus."""

from __future__ import annotations

import errno
import struct
import time
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

from e1000 import regs
from e1000.bus.base import Bus

INTEL = 0x8086
DEVICE_IDS = {0x100E: "82540EM", 0x1015: "82540EM-LOM", 0x100F: "82545EM"}  # e1000_pci_tbl, as far as their registers are this card's
PCI_COMMAND, PCI_COMMAND_MEMORY, PCI_COMMAND_MASTER = 0x04, 2, 4

HEADER, CAPABILITY_LIST, CAPABILITY_PM, MOST_CAPABILITIES = 64, 0x34, 0x01, 16
PM_STATE, PM_D0, PM_D3HOT, PM_PME_ENABLE, PM_PME_STATUS = 0x0003, 0, 3, 0x0100, 0x8000  # in PMCSR

CAUSES = 0xFFFFFFFF
ALL_ONES = 0xFFFFFFFF  # what a bus reads where nobody answers
RESET_TIMEOUT = 0.1  # seconds; the manual promises 1 µs (§13.4.1)
READY_TIMEOUT = 0.01  # EEPROM word, PHY register: each takes 64 µs or less
EEPROM_WORDS, EEPROM_SUM = 64, 0xBABA

PHY_ADDRESS = 1
PHY_CTRL, PHY_STATUS = 0, 1  # BMCR, BMSR
MII_CR_RESTART_AUTO_NEG, MII_CR_POWER_DOWN, MII_CR_AUTO_NEG_EN = 0x0200, 0x0800, 0x1000


class EepromError(OSError):
    """The EEPROM gives no answer, or a wrong one; the card itself is there."""


class PhyError(OSError):
    """EIO: the PHY does not answer, or has no such register; the card itself is there."""


class CardGone(OSError):
    """ENODEV: the card reads all ones, as none of its registers can: it was pulled out, or its memory space is off."""


class Link(NamedTuple):
    """What STATUS says: Mbit/s and duplex mean nothing while it is down."""

    up: bool
    speed: int
    full_duplex: bool
    paused: bool  # by the other end (TXOFF)


NO_LINK = Link(False, 0, False, False)


class Hw:
    """One card's registers on `bus`. What the bus raises goes through."""

    def __init__(self, bus: Bus) -> None:
        self.bus = bus

    # --- PCI ---

    def pci_ids(self) -> tuple[int, int]:
        """Vendor and device."""
        ids = self.bus.config_read(0)
        return ids & 0xFFFF, ids >> 16

    def read_config(self, offset: int) -> int:
        """Four bytes of the header, none of which are all ones. Raises CardGone if they are."""
        value = self.bus.config_read(offset)
        if value == ALL_ONES:
            raise self._gone()
        return value

    def enable(self) -> int | None:
        """Check the PCI ids, wake it, turn memory space and bus master on (pci_enable_device, pci_set_master); returns the command before.

        None on a bus without configuration space. Raises OSError ENODEV for another card, EIO for one that stays asleep.
        """
        try:
            vendor, device = self.pci_ids()
        except NotImplementedError:
            return None
        if vendor != INTEL or device not in DEVICE_IDS:
            drives = ", ".join(f"8086:{known:04x}" for known in DEVICE_IDS)
            raise OSError(errno.ENODEV, f"{self.bus!r}: {vendor:04x}:{device:04x} is no card of this driver, which drives {drives}")
        control = self.power_control()
        if control is not None and self.bus.config_read(control, 2) & PM_STATE:
            self.set_power_state(control, PM_D0)
        command = self.bus.config_read(PCI_COMMAND, 2)
        if command == 0xFFFF:
            raise self._gone()
        self.bus.config_write(PCI_COMMAND, command | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, 2)
        return command

    def power_control(self) -> int | None:
        """Where PMCSR is; None for a card, or a bus, without power management."""
        try:
            at = self.bus.config_read(CAPABILITY_LIST, 1)
            for _ in range(MOST_CAPABILITIES):
                if not HEADER <= at <= 0xFC:
                    break
                if self.bus.config_read(at, 1) == CAPABILITY_PM:
                    return at + 4
                at = self.bus.config_read(at + 1, 1)
        except NotImplementedError:
            pass
        return None

    def set_power_state(self, control: int, state: int) -> None:
        """pci_set_power_state, PMCSR being there, and let PME# go. `state`: with PM_PME_ENABLE or without. Raises OSError EIO."""
        self.bus.config_write(control, state | PM_PME_STATUS, 2)
        now = self.bus.config_read(control, 2)
        if (now ^ state) & (PM_STATE | PM_PME_ENABLE):
            raise OSError(errno.EIO, f"{self.bus!r}: Refused to change power state from D{now & PM_STATE} to D{state & PM_STATE}")

    def disable(self, command: int | None) -> None:
        """Give the PCI command back as `enable` found it."""
        if command is not None:
            self.bus.config_write(PCI_COMMAND, command, 2)

    # --- presence ---

    @property
    def present(self) -> bool:
        """Whether the card answers."""
        return self.bus.read(regs.STATUS) != ALL_ONES

    def read(self, register: int) -> int:
        """A register that has bits which are always 0. Raises CardGone if it reads all ones."""
        value = self.bus.read(register)
        if value == ALL_ONES:
            raise self._gone()
        return value

    def _gone(self) -> CardGone:
        return CardGone(errno.ENODEV, f"{self.bus!r}: the card is gone: its registers read all ones")

    def if_present(self, step: Callable[[], None]) -> None:
        """Do a step of taking a card down, which one that is gone does not need."""
        with suppress(CardGone):
            step()

    # --- reset ---

    def reset(self) -> None:
        """Global reset (CTRL.RST, §13.4.1), interrupts masked before and after.

        Raises CardGone, or OSError EIO if the card does not come back.
        """
        self.bus.write(regs.IMC, CAUSES)
        self.bus.write(regs.RCTL, 0)
        self.bus.write(regs.TCTL, regs.TCTL_PSP)
        self.bus.write(regs.CTRL, self.read(regs.CTRL) | regs.CTRL_RST)
        if self._wait(regs.CTRL, lambda value: not value & regs.CTRL_RST, RESET_TIMEOUT) is None:
            raise OSError(errno.EIO, f"{self.bus!r}: the card does not come out of reset")
        self.bus.write(regs.IMC, CAUSES)
        self.bus.read(regs.ICR)

    def _wait(self, register: int, done: Callable[[int], object], timeout: float = READY_TIMEOUT) -> int | None:
        """Read until it is done, and once more when the time is up: the answer before may have been long on its way."""
        deadline = time.monotonic() + timeout
        while True:
            late = time.monotonic() > deadline
            value = self.read(register)
            if done(value):
                return value
            if late:
                return None

    # --- EEPROM ---

    def read_eeprom(self, word: int) -> int:
        """One word, by EERD (§13.4.4). Raises EepromError."""
        self.bus.write(regs.EERD, regs.EERD_START | word << regs.EERD_ADDR_SHIFT)
        value = self._wait(regs.EERD, lambda value: value & regs.EERD_DONE)
        if value is None:
            raise EepromError(errno.EIO, f"{self.bus!r}: the EEPROM does not answer for word {word}")
        return value >> regs.EERD_DATA_SHIFT

    def read_eeprom_image(self) -> bytes:
        """All its words, little-endian, as `ethtool -e raw on` writes them. Raises EepromError."""
        return struct.pack(f"<{EEPROM_WORDS}H", *(self.read_eeprom(word) for word in range(EEPROM_WORDS)))

    # --- PHY ---

    def read_phy(self, register: int) -> int:
        """One PHY register, by MDIC (§13.4.7). Raises PhyError."""
        return self._mdic(regs.MDIC_OP_READ, register) & 0xFFFF

    def write_phy(self, register: int, value: int) -> None:
        """Raises PhyError."""
        self._mdic(regs.MDIC_OP_WRITE | value, register)

    def _mdic(self, command: int, register: int) -> int:
        self.bus.write(regs.MDIC, command | PHY_ADDRESS << regs.MDIC_PHY_SHIFT | register << regs.MDIC_REG_SHIFT)
        value = self._wait(regs.MDIC, lambda value: value & regs.MDIC_READY)
        if value is None or value & regs.MDIC_ERROR:
            raise PhyError(errno.EIO, f"{self.bus!r}: the PHY does not answer for register {register}")
        return value

    def power_up_phy(self) -> None:
        """e1000_power_up_phy; the link comes later. Nothing is written to a PHY that has power."""
        control = self.read_phy(PHY_CTRL)
        if control & MII_CR_POWER_DOWN:
            self.write_phy(PHY_CTRL, control & ~MII_CR_POWER_DOWN)

    def power_down_phy(self) -> None:
        """e1000_power_down_phy: the link is lost."""
        self.write_phy(PHY_CTRL, self.read_phy(PHY_CTRL) | MII_CR_POWER_DOWN)

    # --- link ---

    def set_link_up(self) -> None:
        """CTRL: set link up, speed and duplex by the PHY (§14.3)."""
        self.bus.write(regs.CTRL, self.bus.read(regs.CTRL) | regs.CTRL_SLU | regs.CTRL_ASDE)

    def link(self) -> Link:
        """The link as the card has it now; none without a card."""
        status = self.bus.read(regs.STATUS)
        if status == ALL_ONES:
            return NO_LINK
        speed = (10, 100, 1000, 1000)[status >> regs.STATUS_SPEED_SHIFT & 3]
        return Link(bool(status & regs.STATUS_LU), speed, bool(status & regs.STATUS_FD), bool(status & regs.STATUS_TXOFF))
