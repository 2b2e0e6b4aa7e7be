"""ethtool_ops as Python has it: what a driver answers to `ethtool`, by `device.ethtool_ops` (include/linux/ethtool.h).

Every one may be missing: what a driver lacks is EOPNOTSUPP to who asks for it. All are called under rtnl, and raise OSError.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from softnet.netdev import NetDevice

SPEED_UNKNOWN = -1
WAKE_LETTERS = "pumbagsf"  # WAKE_*: PHY, unicast, multicast, broadcast, ARP, magic packet, SecureOn, filters


def wake_letters(letters: str) -> str:
    """In ethtool's order, each once; "d" is none of them, and takes back those before it. Raises ValueError for others."""
    kept = letters.rpartition("d")[2]
    if set(letters) - set(WAKE_LETTERS + "d"):
        raise ValueError(f"{letters!r}: what wakes is some of {WAKE_LETTERS!r}, or 'd'")
    return "".join(letter for letter in WAKE_LETTERS if letter in kept) or "d"


class EthtoolOps(Protocol):
    """All there are. A `get_` gives a dict, by the fields' names in the kernel's structures; a `set_` takes them by the same names."""

    def get_drvinfo(self, device: NetDevice) -> dict[str, str]:
        """driver, version, fw_version, bus_info."""

    def get_link_ksettings(self, device: NetDevice) -> dict[str, Any]:
        """speed (Mbit/s, or SPEED_UNKNOWN), duplex ("full", "half", "unknown"), autoneg, port ("tp" ...).

        Also, if it tells: supported, advertising, lp_advertising (names of link modes, "1000baseT/Full", and of "Pause", "Asym_Pause"),
        phy_address, transceiver, eth_tp_mdix.
        """

    def set_link_ksettings(self, device: NetDevice, **settings: Any) -> None:
        """autoneg=True and advertising, names of link modes or None for all; or autoneg=False, speed and duplex."""

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

    def set_eeprom(self, device: NetDevice, data: bytes, *, magic: int, offset: int) -> None:
        """Write bytes, if the magic is right."""

    def get_regs(self, device: NetDevice) -> dict[str, int]:
        """Registers by name; none that a read changes."""

    def get_regs_raw(self, device: NetDevice) -> tuple[int, bytes]:
        """(version, bytes): as the kernel gives them to ethtool."""

    def get_ethtool_stats(self, device: NetDevice) -> dict[str, int]:
        """By name, in their order."""

    def self_test(self, device: NetDevice, *, offline: bool) -> dict[str, int]:
        """Each test by name; 0 is passed."""

    def get_wol(self, device: NetDevice) -> dict[str, str]:
        """supported, wolopts: some of WAKE_LETTERS, or "d"."""

    def set_wol(self, device: NetDevice, *, wolopts: str) -> None:
        """Likewise."""

    def get_msglevel(self, device: NetDevice) -> int:
        """NETIF_MSG_*."""

    def set_msglevel(self, device: NetDevice, level: int) -> None:
        """NETIF_MSG_*."""

    def set_phys_id(self, device: NetDevice, state: str) -> int | None:
        """ETHTOOL_ID_*: "active", "on", "off", "inactive". Answers "active" with how often a second "on" and "off" are to come.

        0: it blinks by itself.
        """
