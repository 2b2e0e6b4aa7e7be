"""Packets as SkBuffs that want something done, for the tests of the driver's offloads."""

from itertools import pairwise

from softnet import Feature, SkBuff
from softnet.skbuff import CHECKSUM_PARTIAL, GsoType

TX_OFFLOADS = Feature.SG | Feature.HW_CSUM | Feature.TSO | Feature.TSO6 | Feature.HW_VLAN_CTAG_RX  # with which HW_VLAN_CTAG_TX goes


def in_pieces(content, cuts, *, dev=None):
    """An SkBuff of bytes cut at the given places: the first piece linear, the others frags."""
    bounds = [0, *sorted(cuts), len(content)]
    skb = SkBuff.from_bytes(content[: bounds[1]], dev=dev)
    for start, end in pairwise(bounds[1:]):
        skb.add_frag(content[start:end])
    skb.protocol = int.from_bytes(content[12:14], "big")
    return skb


def wanting(layout, *, mss=0, tag=None, cuts=(), dev=None):
    """A Layout's packet as the stack hands it over: checksum to be inserted, to be cut by `mss`, `tag` beside it."""
    content = bytearray(layout.unsummed(len(layout.right) - layout.transport))
    if layout.v4:  # only the transport's checksum is asked for
        content[layout.ip + 10 : layout.ip + 12] = layout.right[layout.ip + 10 : layout.ip + 12]
    skb = in_pieces(bytes(content), cuts, dev=dev)
    skb.ip_summed, skb.csum_start, skb.csum_offset = CHECKSUM_PARTIAL, skb.data_offset + layout.transport, layout.sum_at - layout.transport
    skb.vlan_tci = tag
    if mss:
        skb.gso_size = mss
        skb.gso_type = GsoType.TCPV4 if layout.v4 else GsoType.TCPV6
    return skb


def tagged(frame, tag):
    """A frame with a tag as it is on the wire."""
    return frame if tag is None else frame[:12] + b"\x81\0" + tag.to_bytes(2, "big") + frame[12:]
