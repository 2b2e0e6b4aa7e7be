"""What is done to a packet that its device cannot send as it is (validate_xmit_skb): tag, segments, pieces, checksum in software."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastring.checksum import checksum
from softnet.ethernet import ETH_ALEN, ETH_P_8021Q, ETH_P_IP, ETH_P_IPV6, VLAN_HLEN
from softnet.gso import GsoError, gso_feature, skb_gso_segment
from softnet.netdev_features import CSUM_MASK, Feature
from softnet.skbuff import CHECKSUM_NONE, CHECKSUM_PARTIAL, DropReason, SkBuff

if TYPE_CHECKING:
    from softnet.netdev import NetDevice


class ChecksumError(ValueError):
    """csum_start and csum_offset lead outside of the packet."""


def skb_checksum_help(skb: SkBuff) -> None:
    """Work out the checksum that the device was to insert. Raises ChecksumError."""
    start = skb.csum_start - skb.data_offset
    at = start + skb.csum_offset
    if not 0 <= start <= len(skb) or at + 2 > len(skb):
        raise ChecksumError(f"the checksum from byte {start} would go to byte {at} of {len(skb)}")
    skb.linearize()
    skb.cow_head()
    data = skb.data
    data[at : at + 2] = (checksum(data[start:]) or 0xFFFF).to_bytes(2, "big")  # 0 would say that UDP has none
    skb.ip_summed = CHECKSUM_NONE


def skb_vlan_push(skb: SkBuff) -> None:
    """Put the tag that lies beside the packet into it (__vlan_hwaccel_push_inside)."""
    assert skb.vlan_tci is not None
    skb.cow_head(VLAN_HLEN)
    addresses = bytes(skb.data[: 2 * ETH_ALEN])
    skb.push(VLAN_HLEN)[:] = addresses[:VLAN_HLEN]
    skb.data[: 2 * ETH_ALEN + VLAN_HLEN] = addresses + skb.vlan_proto.to_bytes(2, "big") + skb.vlan_tci.to_bytes(2, "big")
    skb.mac_header = skb.data_offset
    skb.vlan_tci = None


def features_for(skb: SkBuff, device: NetDevice) -> Feature:
    """netif_skb_features: what the device does for this very packet."""
    features = device.features
    if skb.vlan_tci is not None or skb.protocol == ETH_P_8021Q:
        features &= device.vlan_features | Feature.HW_VLAN_CTAG_TX
    check = getattr(device.netdev_ops, "features_check", None)
    return check(skb, device, features) if check is not None else features


def can_checksum(features: Feature, protocol: int) -> bool:
    """can_checksum_protocol."""
    if features & Feature.HW_CSUM:
        return True
    return bool(features & {ETH_P_IP: Feature.IP_CSUM, ETH_P_IPV6: Feature.IPV6_CSUM}.get(protocol, Feature.NONE))


def validate_xmit_skb(skb: SkBuff, device: NetDevice) -> list[SkBuff]:
    """Make what its device can send of a packet: itself, its segments, or nothing, when it was dropped and counted."""
    if skb._shared is None and skb.ip_summed != CHECKSUM_PARTIAL and skb.vlan_tci is None:
        return [skb]  # nearly all of them
    features = features_for(skb, device)
    try:
        if skb.vlan_tci is not None and not features & Feature.HW_VLAN_CTAG_TX:
            skb_vlan_push(skb)
        if not skb.gso_size or (features & gso_feature(skb) and can_checksum(features, skb.protocol)):
            finish(skb, features)
            return [skb]
        segments = skb_gso_segment(skb)
        for segment in segments:
            finish(segment, features)
        skb.consume()
        return segments
    except (ChecksumError, GsoError) as error:
        device.tx_dropped += 1
        skb.kfree(DropReason.SKB_GSO_SEG if isinstance(error, GsoError) else DropReason.SKB_CSUM)
        return []


def finish(skb: SkBuff, features: Feature) -> None:
    """One piece, and a checksum, for a device that can do neither."""
    if skb.frags and not features & Feature.SG:
        skb.linearize()
    if skb.ip_summed == CHECKSUM_PARTIAL and not (features & CSUM_MASK and can_checksum(features, skb.protocol)):
        skb_checksum_help(skb)
