"""Packets to be segmented, as descriptors, and what scapy makes of them."""

from cards import EOP, IFCS, POPTS_IXSM, POPTS_TXSM, RS, TSE, TUCMD_IP, TUCMD_TCP, context, pieces
from scapy.layers.inet import IP, TCP
from scapy.layers.l2 import Ether
from scapy.packet import Raw
from scapy_packets import resummed

BOTH = POPTS_IXSM | POPTS_TXSM
PLAIN_TCP = [], IP(src="10.0.0.1", dst="10.0.0.2", id=0xFFFE), TCP(sport=1000, dport=2000, seq=2**32 - 1000, flags="FPA")


def setup(layout, mss, payload, **other):
    """The context descriptor for a packet."""
    cmd = TSE | (TUCMD_IP if layout.v4 else 0) | (TUCMD_TCP if layout.tcp else 0)
    fields = {"ip": layout.ip_sum, "transport": layout.transport_sum, "header": layout.header, "mss": mss, "payload": payload, "cmd": cmd}
    if not layout.v4:
        fields["ip"] = (layout.ip, 0, 0)
    return context(**fields | other)


def whole(card, layout, payload, mss, *, cuts=(), cmd=EOP | IFCS | RS, first=0, said=None, **other):
    """Context and data descriptors of a packet to be segmented, cut at the given places."""
    content = layout.unsummed(0)[: layout.header] + payload
    parts = pieces(card, content, [c for c in cuts if 0 < c < len(content)], cmd=cmd, first=TSE | first, popts=layout.popts)
    return [setup(layout, mss, len(payload) if said is None else said, **other), *parts]


def segment(card, *args, **kwargs):
    """Post a packet to be segmented and return the frames it became."""
    before = len(card.wire.sent)
    card.post(*whole(card, *args, **kwargs))
    return card.wire.sent[before:]


def expected(layout, payload, mss):
    """The frames by scapy: the packet's layers with each part of the payload, and the fields that differ."""
    parts = [payload[i : i + mss] for i in range(0, len(payload), mss)] or [b""]
    frames = []
    for i, part in enumerate(parts):
        frame = Ether(layout.right[: layout.header])
        if layout.v4:
            frame[IP].id = (frame[IP].id + i) & 0xFFFF
        if layout.tcp:
            frame[TCP].seq = (frame[TCP].seq + i * mss) & 0xFFFFFFFF
            if i < len(parts) - 1:
                frame[TCP].flags = int(frame[TCP].flags) & ~0x09
        frames.append(resummed(bytes(frame / Raw(part) if part else frame)).ljust(60, b"\0"))
    return frames


def check(frames, layout, payload, mss):
    assert frames == expected(layout, payload, mss)
