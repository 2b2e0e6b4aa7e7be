"""What is done to a packet that its device cannot send as it is (validate_xmit_skb): tag, segments, pieces, checksum in software."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastring.checksum import checksum
from softnet.ethernet import ETH_ALEN, ETH_HLEN, ETH_P_8021AD, ETH_P_8021Q, ETH_P_IP, ETH_P_IPV6, VLAN_HLEN
from softnet.gso import CHECKSUM_AT, GsoError, gso_headers, network_offset, skb_gso_ok, skb_gso_segment
from softnet.netdev_features import CSUM_MASK, GSO_SOFTWARE, Feature
from softnet.netdev_tx import count_tx_dropped
from softnet.skbuff import (
    CHECKSUM_COMPLETE,
    CHECKSUM_NONE,
    CHECKSUM_PARTIAL,
    CHECKSUM_UNNECESSARY,
    GSO_MAX_SIZE,
    DropReason,
    GsoType,
    SkBuff,
)

if TYPE_CHECKING:
    from softnet.netdev import NetDevice

MULTI_TAGGED_FEATURES = Feature.SG | Feature.HIGHDMA | Feature.HW_CSUM | Feature.HW_VLAN_CTAG_TX
VLAN_TYPES = (ETH_P_8021Q, ETH_P_8021AD)


class ChecksumError(ValueError):
    """csum_start and csum_offset lead outside of the packet."""


def skb_checksum_help(skb: SkBuff) -> None:
    """Work out the checksum that the device was to insert. Raises ChecksumError."""
    if skb.ip_summed == CHECKSUM_COMPLETE:
        skb.ip_summed = CHECKSUM_NONE
        return
    start = skb.csum_start - skb.data_offset
    at = start + skb.csum_offset
    if not 0 <= start < len(skb) or not start <= at <= len(skb) - 2:
        raise ChecksumError(f"the checksum from byte {start} would go to byte {at} of {len(skb)}")
    skb.linearize()
    skb.cow_head()
    data = skb.data
    data[at : at + 2] = (checksum(data[start:]) or 0xFFFF).to_bytes(2, "big")  # CSUM_MANGLED_0: 0 would say that UDP has none
    skb.ip_summed = CHECKSUM_NONE


def skb_vlan_push(skb: SkBuff) -> None:
    """Put the tag that lies beside the packet into it (__vlan_hwaccel_push_inside). Raises GsoError if it has no whole header."""
    assert skb.vlan_tci is not None
    if not skb.may_pull(2 * ETH_ALEN):
        raise GsoError(f"{len(skb)} bytes have no Ethernet addresses to put a tag behind")
    skb.cow_head(VLAN_HLEN)
    addresses = bytes(skb.data[: 2 * ETH_ALEN])
    skb.push(VLAN_HLEN)
    skb.data[: 2 * ETH_ALEN + VLAN_HLEN] = addresses + skb.vlan_proto.to_bytes(2, "big") + skb.vlan_tci.to_bytes(2, "big")
    skb.mac_header = skb.data_offset
    skb.protocol = skb.vlan_proto
    skb.vlan_tci = None


# --- what a device does for a packet ---


def network_protocol(skb: SkBuff) -> int:
    """ETH_P_* behind the tags in the packet, 0 if it ends before (vlan_get_protocol)."""
    if skb.protocol not in VLAN_TYPES:
        return skb.protocol
    try:
        return network_offset(bytes(skb.data))[1]
    except GsoError:
        return 0


def tags(skb: SkBuff) -> int:
    """How many VLAN tags it has, beside it and in it; from 2 on they are not told apart (skb_vlan_tagged_multi)."""
    count = skb.vlan_tci is not None
    if skb.protocol not in VLAN_TYPES:
        return count
    inner = int.from_bytes(skb.data[ETH_HLEN + 2 : ETH_HLEN + 4], "big")
    return count + 1 + (inner in VLAN_TYPES)


def intersect_features(one: Feature, other: Feature) -> Feature:
    """netdev_intersect_features: HW_CSUM does what IP_CSUM and IPV6_CSUM do."""
    if (one ^ other) & Feature.HW_CSUM:
        if one & Feature.HW_CSUM:
            one |= Feature.IP_CSUM | Feature.IPV6_CSUM
        else:
            other |= Feature.IP_CSUM | Feature.IPV6_CSUM
    return one & other


def features_for(skb: SkBuff, device: NetDevice) -> Feature:
    """netif_skb_features: what the device does for this very packet."""
    features = device.features
    if skb.gso_size and len(skb) >= GSO_MAX_SIZE:
        features &= ~GSO_SOFTWARE
    tagged = tags(skb)
    if tagged:
        features = intersect_features(features, device.vlan_features | Feature.HW_VLAN_CTAG_TX)
    check = getattr(device.netdev_ops, "features_check", None)
    if check is not None:
        features &= check(skb, device, features)
    elif tagged > 1:
        features &= MULTI_TAGGED_FEATURES
    if skb.ip_summed != CHECKSUM_NONE and not can_checksum(features, network_protocol(skb)):
        features &= ~(CSUM_MASK | GSO_SOFTWARE)  # harmonize_features: no segments without their checksums
    return features


def vlan_features_check(skb: SkBuff, features: Feature) -> Feature:
    """What a device without features_check does for it: few look behind a second tag. One that has it calls this itself."""
    return features & MULTI_TAGGED_FEATURES if tags(skb) > 1 else features


def can_checksum(features: Feature, protocol: int) -> bool:
    """can_checksum_protocol."""
    if features & Feature.HW_CSUM:
        return True
    return bool(features & {ETH_P_IP: Feature.IP_CSUM, ETH_P_IPV6: Feature.IPV6_CSUM}.get(protocol, Feature.NONE))


# --- the packet made fit ---


def validate_xmit_skb(skb: SkBuff, device: NetDevice) -> list[SkBuff]:
    """Make what its device can send of a packet: itself, its segments, or nothing, when it was dropped and counted."""
    if skb._shared is None and skb.ip_summed != CHECKSUM_PARTIAL and skb.vlan_tci is None:
        return [skb]  # nearly all of them
    features = features_for(skb, device)
    try:
        if skb.vlan_tci is not None and not (skb.vlan_proto == ETH_P_8021Q and features & Feature.HW_VLAN_CTAG_TX):
            skb_vlan_push(skb)
        if not skb.gso_size:
            finish(skb, features)
            return [skb]
        if netif_needs_gso(skb, features):
            segments = skb_gso_segment(skb, checksums=not can_checksum(features, network_protocol(skb)))
            skb.consume()
            return segments
        if skb.gso_type & GsoType.DODGY:  # from outside: the card must be able to rely on it
            payload = gso_headers(skb, bytes(skb))[2]
            skb.gso_segs = -(-(len(skb) - payload) // skb.gso_size)
        finish(skb, features)
        return [skb]
    except (ChecksumError, GsoError) as error:
        count_tx_dropped(device)
        skb.kfree(DropReason.SKB_GSO_SEG if isinstance(error, GsoError) else DropReason.SKB_CSUM)
        return []


def netif_needs_gso(skb: SkBuff, features: Feature) -> bool:
    """Whether a packet to be cut must be cut here. A device cuts only what has a checksum it can work out for each segment."""
    return not skb_gso_ok(skb, features) or skb.ip_summed not in (CHECKSUM_PARTIAL, CHECKSUM_UNNECESSARY)


def finish(skb: SkBuff, features: Feature) -> None:
    """One piece, and a checksum, for a device that can do neither. Raises ChecksumError."""
    if skb.frags and not features & Feature.SG:
        skb.linearize()
    if skb.ip_summed != CHECKSUM_PARTIAL:
        return
    skb.transport_header = skb.csum_start
    if features & Feature.HW_CSUM:
        return
    if not (features & CSUM_MASK and skb.csum_offset in CHECKSUM_AT.values()):  # skb_csum_hwoffload_help: TCP and UDP only
        skb_checksum_help(skb)
