"""ethtool_ops as Python has it: what a driver answers to `ethtool`, by `device.ethtool_ops` (include/linux/ethtool.h).

Every one may be missing: what a driver lacks is EOPNOTSUPP to who asks for it. All are called under rtnl, and raise OSError.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from softnet.netdev import NetDevice

SPEED_UNKNOWN = -1


class Wake(enum.IntFlag):
    """WAKE_*: what wakes a machine up; `letter` is ethtool's."""

    PHY = 1 << 0
    UCAST = 1 << 1
    MCAST = 1 << 2
    BCAST = 1 << 3
    ARP = 1 << 4
    MAGIC = 1 << 5
    MAGICSECURE = 1 << 6
    FILTER = 1 << 7

    @classmethod
    def from_letters(cls, letters: str) -> Wake:
        """From ethtool's "pumbagsf"; "d" is none of them. Raises ValueError."""
        wake = cls(0)
        for letter in letters:
            wake = cls(0) if letter == "d" else wake | cls(1 << WAKE_LETTERS.index(letter))
        return wake

    @property
    def letters(self) -> str:
        """As ethtool shows them."""
        return "".join(letter for bit, letter in enumerate(WAKE_LETTERS) if self & 1 << bit) or "d"


WAKE_LETTERS = "pumbagsf"


class PhysId(enum.IntEnum):
    """ETHTOOL_ID_*: what the card's light is to do."""

    INACTIVE = 0
    ACTIVE = 1


class EthtoolOps(Protocol):
    """All there are. A `get_` gives a dict, by the fields' names in the kernel's structures; a `set_` takes them by the same names."""

    def get_drvinfo(self, device: NetDevice) -> dict[str, str]:
        """driver, version, fw_version, bus_info."""

    def get_link_ksettings(self, device: NetDevice) -> dict[str, Any]:
        """speed (Mbit/s, or SPEED_UNKNOWN), duplex ("full", "half", "unknown"), autoneg, port ("tp" ...).

        Also, if it tells: supported, advertising, lp_advertising (names of link modes, "1000baseT/Full", and of "Autoneg", "TP", "Pause",
        "Asym_Pause" ...), phy_address, transceiver, eth_tp_mdix, eth_tp_mdix_ctrl.
        """

    def set_link_ksettings(self, device: NetDevice, **settings: Any) -> None:
        """Those of speed, duplex, autoneg and advertising that are to change."""

    def get_link(self, device: NetDevice) -> bool:
        """Whether there is a link, asked of the card."""

    def nway_reset(self, device: NetDevice) -> None:
        """Negotiate anew."""

    def get_pauseparam(self, device: NetDevice) -> dict[str, bool]:
        """autoneg, rx_pause, tx_pause."""

    def set_pauseparam(self, device: NetDevice, *, autoneg: bool, rx_pause: bool, tx_pause: bool) -> None:
        """All three."""

    def get_ringparam(self, device: NetDevice) -> dict[str, int]:
        """rx_max_pending, tx_max_pending, rx_pending, tx_pending."""

    def set_ringparam(self, device: NetDevice, *, rx_pending: int, tx_pending: int) -> None:
        """Both."""

    def get_coalesce(self, device: NetDevice) -> dict[str, int]:
        """Those it has of rx_coalesce_usecs, rx_max_coalesced_frames, use_adaptive_rx_coalesce ...: no other can be set."""

    def set_coalesce(self, device: NetDevice, **settings: int) -> None:
        """All that get_coalesce gives."""

    def get_eeprom_len(self, device: NetDevice) -> int:
        """In bytes."""

    def get_eeprom(self, device: NetDevice, offset: int, length: int) -> tuple[int, bytes]:
        """(magic, bytes)."""

    def set_eeprom(self, device: NetDevice, magic: int, offset: int, data: bytes) -> None:
        """Write bytes, if the magic is right."""

    def get_regs(self, device: NetDevice) -> dict[str, int]:
        """Registers by name; none that a read changes."""

    def show_regs(self, device: NetDevice) -> str:
        """The text of `ethtool -d` for this card, which ethtool itself has for the drivers it knows."""

    def get_ethtool_stats(self, device: NetDevice) -> dict[str, int]:
        """By name, in their order."""

    def self_test(self, device: NetDevice, *, offline: bool) -> dict[str, int]:
        """Each test by name; 0 is passed."""

    def get_wol(self, device: NetDevice) -> dict[str, int]:
        """supported, wolopts: Wake."""

    def set_wol(self, device: NetDevice, *, wolopts: int) -> None:
        """Wake."""

    def get_msglevel(self, device: NetDevice) -> int:
        """NETIF_MSG_*."""

    def set_msglevel(self, device: NetDevice, level: int) -> None:
        """NETIF_MSG_*."""

    def set_phys_id(self, device: NetDevice, state: PhysId) -> None:
        """Have the card's light blink, or not."""
