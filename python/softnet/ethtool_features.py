"""The features of `ethtool -k`: the kernel's names of them in its order (netdev_features_strings), and ethtool's older names of groups."""

from __future__ import annotations

from softnet.netdev_features import Feature

F = Feature

# What softnet has not is off and fixed, as on any device that cannot do it.
# fmt: off
KERNEL_FEATURES: dict[str, Feature] = {
    "tx-scatter-gather": F.SG, "tx-checksum-ipv4": F.IP_CSUM, "tx-checksum-ip-generic": F.HW_CSUM, "tx-checksum-ipv6": F.IPV6_CSUM,
    "highdma": F.HIGHDMA, "tx-scatter-gather-fraglist": F.NONE, "tx-vlan-hw-insert": F.HW_VLAN_CTAG_TX,
    "rx-vlan-hw-parse": F.HW_VLAN_CTAG_RX, "rx-vlan-filter": F.HW_VLAN_CTAG_FILTER, "vlan-challenged": F.NONE,
    "tx-generic-segmentation": F.GSO, "tx-lockless": F.LLTX, "netns-local": F.NONE, "rx-gro": F.GRO, "rx-lro": F.NONE,
    "tx-tcp-segmentation": F.TSO, "tx-gso-robust": F.NONE, "tx-tcp-ecn-segmentation": F.TSO_ECN, "tx-tcp-mangleid-segmentation": F.NONE,
    "tx-tcp6-segmentation": F.TSO6, "tx-fcoe-segmentation": F.NONE, "tx-gre-segmentation": F.NONE, "tx-gre-csum-segmentation": F.NONE,
    "tx-ipxip4-segmentation": F.NONE, "tx-ipxip6-segmentation": F.NONE, "tx-udp_tnl-segmentation": F.NONE,
    "tx-udp_tnl-csum-segmentation": F.NONE, "tx-gso-partial": F.NONE, "tx-tunnel-remcsum-segmentation": F.NONE,
    "tx-sctp-segmentation": F.NONE, "tx-esp-segmentation": F.NONE, "tx-udp-segmentation": F.GSO_UDP_L4, "tx-gso-list": F.NONE,
    "tx-checksum-fcoe-crc": F.NONE, "tx-checksum-sctp": F.NONE, "fcoe-mtu": F.NONE, "rx-ntuple-filter": F.NONE, "rx-hashing": F.NONE,
    "rx-checksum": F.RXCSUM, "tx-nocache-copy": F.NONE, "loopback": F.LOOPBACK, "rx-fcs": F.RXFCS, "rx-all": F.RXALL,
    "tx-vlan-stag-hw-insert": F.NONE, "rx-vlan-stag-hw-parse": F.NONE, "rx-vlan-stag-filter": F.NONE, "l2-fwd-offload": F.NONE,
    "hw-tc-offload": F.NONE, "esp-hw-offload": F.NONE, "esp-tx-csum-hw-offload": F.NONE, "rx-udp_tunnel-port-offload": F.NONE,
    "tls-hw-tx-offload": F.NONE, "tls-hw-rx-offload": F.NONE, "rx-gro-hw": F.NONE, "tls-hw-record": F.NONE, "rx-gro-list": F.NONE,
    "macsec-hw-offload": F.NONE, "rx-udp-gro-forwarding": F.NONE, "hsr-tag-ins-offload": F.NONE, "hsr-tag-rm-offload": F.NONE,
    "hsr-fwd-offload": F.NONE, "hsr-dup-offload": F.NONE,
}
# fmt: on

# A group's short and long name, and the features it is for.
GROUPS: tuple[tuple[str, str, str], ...] = (
    ("rx", "rx-checksumming", "rx-checksum"),
    ("tx", "tx-checksumming", "tx-checksum-*"),
    ("sg", "scatter-gather", "tx-scatter-gather*"),
    ("tso", "tcp-segmentation-offload", "tx-tcp*-segmentation"),
    ("gso", "generic-segmentation-offload", "tx-generic-segmentation"),
    ("gro", "generic-receive-offload", "rx-gro"),
    ("lro", "large-receive-offload", "rx-lro"),
    ("rxvlan", "rx-vlan-offload", "rx-vlan-hw-parse"),
    ("txvlan", "tx-vlan-offload", "tx-vlan-hw-insert"),
    ("ntuple", "ntuple-filters", "rx-ntuple-filter"),
    ("rxhash", "receive-hashing", "rx-hashing"),
)


def matching(pattern: str) -> list[str]:
    """The kernel's names that a group's pattern, with at most one asterisk, stands for."""
    start, star, end = pattern.partition("*")
    if not star:
        return [pattern] if pattern in KERNEL_FEATURES else []
    return [n for n in KERNEL_FEATURES if n.startswith(start) and n.endswith(end) and len(n) >= len(start) + len(end)]


def features_named(name: str) -> list[str]:
    """The kernel's names of what a user calls a feature: a group's short or long name, or its own."""
    for short, long, pattern in GROUPS:
        if name in (short, long):
            return matching(pattern)
    return [name]
