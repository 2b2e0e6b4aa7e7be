"""net_device_ops as Python has it: what a driver gives softnet.

`open` and `stop` are all that every driver has; of the others, those it has are called (a NULL pointer in the kernel's table is a
missing method here). Transmit is `start_xmit`, packet by packet, or the XmitTarget that `open` returns, by bursts, or both.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Protocol

from fastring.txq import XmitTarget

if TYPE_CHECKING:
    from softnet.netdev import NetDevice
    from softnet.netdev_features import Feature
    from softnet.skbuff import SkBuff
    from softnet.stats import Stats64


class NetdevTx(enum.IntEnum):
    """What start_xmit answers (netdev_tx_t)."""

    OK = 0x00  # the packet is the driver's, also if it dropped it
    BUSY = 0x10  # the packet is still the caller's: the driver's flow control is broken


NETDEV_TX_OK, NETDEV_TX_BUSY = NetdevTx.OK, NetdevTx.BUSY


class NetDeviceOps(Protocol):
    """The least a driver has. Called by one control thread that holds rtnl."""

    def open(self, device: NetDevice) -> XmitTarget | None:
        """ndo_open: bring the card up; return what bursts are transmitted to, if the driver takes bursts. Raises OSError, leaving
        nothing behind.
        """

    def stop(self, device: NetDevice) -> None:
        """ndo_stop: no DMA, delivery or interrupt after it returns; packets in flight are given up and counted."""


class OptionalOps(NetDeviceOps, Protocol):
    """All there are. Comments name the lock each is called under, as the kernel's networking/netdevices document does."""

    def init(self, device: NetDevice) -> None:
        """ndo_init: at register_netdev, before others see it. rtnl. Raises OSError."""

    def uninit(self, device: NetDevice) -> None:
        """ndo_uninit: at its unregistering. rtnl."""

    def start_xmit(self, skb: SkBuff, device: NetDevice) -> NetdevTx:
        """ndo_start_xmit: the packet to the ring. Queue's transmit lock (not with LLTX), BHs disabled: must not sleep."""

    def select_queue(self, device: NetDevice, skb: SkBuff) -> int:
        """ndo_select_queue: which transmit queue. BHs disabled."""

    def features_check(self, skb: SkBuff, device: NetDevice, features: Feature) -> Feature:
        """ndo_features_check: the features that are good for this packet. BHs disabled."""

    def tx_timeout(self, device: NetDevice, queue: int) -> None:
        """ndo_tx_timeout: a queue has been stopped too long. Every queue is frozen, BHs disabled: must not sleep."""

    def get_stats64(self, device: NetDevice, stats: Stats64) -> None:
        """ndo_get_stats64: add to the statistics, at any time, also while down. rtnl or RCU."""

    def set_rx_mode(self, device: NetDevice) -> None:
        """ndo_set_rx_mode: program flags and address lists. Address lock, BHs disabled: must not sleep."""

    def set_mac_address(self, device: NetDevice, address: bytes) -> None:
        """ndo_set_mac_address: the card gets this one; the caller then sets `dev_addr`. rtnl. Raises OSError."""

    def validate_addr(self, device: NetDevice) -> None:
        """ndo_validate_addr: raises OSError EADDRNOTAVAIL if `dev_addr` will not do. rtnl."""

    def change_carrier(self, device: NetDevice, carrier: bool) -> None:
        """ndo_change_carrier: as a user says, where no hardware does (`ip link set ... carrier on`). rtnl. Raises OSError."""

    def change_mtu(self, device: NetDevice, mtu: int) -> None:
        """ndo_change_mtu: get ready for it; the caller then sets `mtu`. rtnl. Raises OSError."""

    def fix_features(self, device: NetDevice, features: Feature) -> Feature:
        """ndo_fix_features: those of them that go together. rtnl. Changes nothing."""

    def set_features(self, device: NetDevice, features: Feature) -> None:
        """ndo_set_features: switch them; the caller then sets `features`. rtnl. Raises OSError."""

    def vlan_rx_add_vid(self, device: NetDevice, proto: int, vid: int) -> None:
        """ndo_vlan_rx_add_vid: let a VLAN's packets in. rtnl. Raises OSError."""

    def vlan_rx_kill_vid(self, device: NetDevice, proto: int, vid: int) -> None:
        """ndo_vlan_rx_kill_vid: and out. rtnl. Raises OSError."""

    def eth_ioctl(self, device: NetDevice, command: int, argument: object) -> object:
        """ndo_eth_ioctl: SIOCGMIIREG and so on. rtnl. Raises OSError."""

    def bpf(self, device: NetDevice, command: int, program: object) -> object:
        """ndo_bpf: an XDP program for it, or None. rtnl. Raises OSError."""
