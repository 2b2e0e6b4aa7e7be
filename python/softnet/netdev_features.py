"""What a device can do, and what it is: NETIF_F_* and IFF_* (include/linux/netdev_features.h, include/uapi/linux/if.h)."""

from __future__ import annotations

import enum


class Feature(enum.IntFlag):
    """NETIF_F_*. `ethtool -k` has other names for them: see `ETHTOOL_NAMES`."""

    NONE = 0
    SG = 1 << 0  # takes packets in pieces
    IP_CSUM = 1 << 1  # TCP and UDP checksums over IPv4
    HW_CSUM = 1 << 3  # any checksum, by csum_start and csum_offset
    IPV6_CSUM = 1 << 4
    HIGHDMA = 1 << 5
    HW_VLAN_CTAG_TX = 1 << 7
    HW_VLAN_CTAG_RX = 1 << 8
    HW_VLAN_CTAG_FILTER = 1 << 9
    GSO = 1 << 11  # segments are cut for it in software, late
    LLTX = 1 << 12  # takes its own transmit lock
    GRO = 1 << 14
    TSO = 1 << 16
    TSO_ECN = 1 << 18
    TSO6 = 1 << 20
    GSO_UDP_L4 = 1 << 30
    RXCSUM = 1 << 37
    RXFCS = 1 << 40
    RXALL = 1 << 41
    LOOPBACK = 1 << 42

    @property
    def names(self) -> list[str]:
        """Its bits by ethtool's names."""
        return [name for bit, name in ETHTOOL_NAMES.items() if self & bit]


ETHTOOL_NAMES = {
    Feature.RXCSUM: "rx-checksumming",
    Feature.IP_CSUM: "tx-checksum-ipv4",
    Feature.HW_CSUM: "tx-checksum-ip-generic",
    Feature.IPV6_CSUM: "tx-checksum-ipv6",
    Feature.SG: "tx-scatter-gather",
    Feature.TSO: "tx-tcp-segmentation",
    Feature.TSO_ECN: "tx-tcp-ecn-segmentation",
    Feature.TSO6: "tx-tcp6-segmentation",
    Feature.GSO_UDP_L4: "tx-udp-segmentation",
    Feature.GSO: "generic-segmentation-offload",
    Feature.GRO: "generic-receive-offload",
    Feature.HW_VLAN_CTAG_RX: "rx-vlan-offload",
    Feature.HW_VLAN_CTAG_TX: "tx-vlan-offload",
    Feature.HW_VLAN_CTAG_FILTER: "rx-vlan-filter",
    Feature.HIGHDMA: "highdma",
    Feature.LLTX: "tx-lockless",
    Feature.RXFCS: "rx-fcs",
    Feature.RXALL: "rx-all",
    Feature.LOOPBACK: "loopback",
}

CSUM_MASK = Feature.IP_CSUM | Feature.HW_CSUM | Feature.IPV6_CSUM
ALL_TSO = Feature.TSO | Feature.TSO_ECN | Feature.TSO6
GSO_SOFTWARE = ALL_TSO | Feature.GSO_UDP_L4
ALWAYS_ON = Feature.GSO | Feature.GRO  # NETIF_F_SOFT_FEATURES: the stack's own, for every device


class Flag(enum.IntFlag):
    """IFF_*: what `ip link` shows between angle brackets."""

    UP = 1 << 0
    BROADCAST = 1 << 1
    LOOPBACK = 1 << 3
    POINTOPOINT = 1 << 4
    RUNNING = 1 << 6
    NOARP = 1 << 7
    PROMISC = 1 << 8
    ALLMULTI = 1 << 9
    MULTICAST = 1 << 12
    LOWER_UP = 1 << 16
    DORMANT = 1 << 17


class OperState(enum.Enum):
    """RFC 2863's ifOperStatus, as /sys/class/net/*/operstate has it."""

    UNKNOWN = "unknown"
    NOTPRESENT = "notpresent"
    DOWN = "down"
    LOWERLAYERDOWN = "lowerlayerdown"
    TESTING = "testing"
    DORMANT = "dormant"
    UP = "up"


class LinkMode(enum.IntEnum):
    """IF_LINK_MODE_*: what a link that comes up is first (`ip link set ... mode`)."""

    DEFAULT = 0
    DORMANT = 1  # until a supplicant says up
    TESTING = 2


class RegState(enum.Enum):
    """dev->reg_state: where a device is between alloc_netdev and its end."""

    UNINITIALIZED = enum.auto()
    REGISTERED = enum.auto()
    UNREGISTERED = enum.auto()
    RELEASED = enum.auto()  # free_netdev, and the last reference is gone


def fix_features(features: Feature) -> tuple[Feature, list[str]]:
    """Drop what cannot be without something else that is missing; with the reasons, in the kernel's words (netdev_fix_features)."""
    why = []

    def drop(unwanted: Feature, reason: str) -> None:
        nonlocal features
        if features & unwanted:
            features &= ~unwanted
            why.append(reason)

    if features & Feature.HW_CSUM:
        drop(Feature.IP_CSUM | Feature.IPV6_CSUM, "mixed HW and IP checksum settings.")
    if not features & Feature.SG:
        drop(ALL_TSO, "Dropping TSO features since no SG feature.")
    if features & Feature.TSO and not features & (Feature.HW_CSUM | Feature.IP_CSUM):
        drop(Feature.TSO | Feature.TSO_ECN, "Dropping TSO features since no CSUM feature.")
    if not features & (Feature.HW_CSUM | Feature.IPV6_CSUM):
        drop(Feature.TSO6, "Dropping TSO6 features since no CSUM feature.")
    if features & ALL_TSO == Feature.TSO_ECN:
        drop(Feature.TSO_ECN, "Dropping TSO ECN since no TSO feature.")
    if not features & Feature.SG:
        drop(Feature.GSO, "Dropping NETIF_F_GSO since no SG feature.")
    both = Feature.IP_CSUM | Feature.IPV6_CSUM
    if not features & Feature.HW_CSUM and features & both != both:
        drop(Feature.GSO_UDP_L4, "Dropping USO feature since no CSUM feature.")
    return features, why
