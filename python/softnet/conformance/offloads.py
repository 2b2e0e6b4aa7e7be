"""The packets of the offloads scenario: in pieces, with a checksum to insert, to be segmented; and what software makes of each.

They are sent whatever features the device has: what it does not advertise is done before ndo_start_xmit (validate_xmit_skb).
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from fastring.checksum import checksum
from softnet.conformance.bench import FAR, MS, NEAR, Bench, frame
from softnet.ethernet import ETH_P_IP
from softnet.gso import CHECKSUM_AT, pseudo_checksum, skb_gso_segment
from softnet.skbuff import CHECKSUM_PARTIAL, GsoType, SkBuff
from softnet.validate_xmit import skb_checksum_help

NETWORK, TRANSPORT, HEADERS = 14, 34, 54
IPPROTO_TCP = 6
PIECE = 700  # bytes in a fragment


def in_pieces(number: int, size: int) -> SkBuff:
    """A frame whose bytes after the 14th are fragments."""
    return _split(frame(number, size), NETWORK)


def _split(packet: bytes, linear: int) -> SkBuff:
    skb = SkBuff.from_bytes(packet[:linear])
    for start in range(linear, len(packet), PIECE):
        skb.add_frag(packet[start : start + PIECE])
    return skb


def tcp(number: int, payload: int, *, gso_size: int = 0) -> SkBuff:
    """A TCP packet without its checksum, of `payload` bytes in fragments; cut into segments by `gso_size`, if there is one."""
    data = bytes((i * 7 + number) & 0xFF for i in range(payload))
    ip = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 40 + payload, number & 0xFFFF, 0x4000, 64, IPPROTO_TCP, 0, b"\x0a\0\0\1", b"\x0a\0\0\2")
    ip = ip[:10] + checksum(ip).to_bytes(2, "big") + ip[12:]
    head = FAR + NEAR + ETH_P_IP.to_bytes(2, "big") + ip
    segment = struct.pack(">HHIIBBHHH", 1024, 5001, number, 0, 0x50, 0x18, 1000, 0, 0)
    pseudo = pseudo_checksum(head, NETWORK, ETH_P_IP, IPPROTO_TCP, len(segment) + payload)
    segment = segment[:16] + pseudo.to_bytes(2, "big") + segment[18:]
    skb = _split(head + segment + data, HEADERS)
    skb.ip_summed = CHECKSUM_PARTIAL
    skb.csum_start, skb.csum_offset = skb.data_offset + TRANSPORT, CHECKSUM_AT[IPPROTO_TCP]
    skb.network_header, skb.transport_header = skb.data_offset + NETWORK, skb.data_offset + TRANSPORT
    if gso_size:
        skb.gso_size, skb.gso_segs, skb.gso_type = gso_size, -(-payload // gso_size), GsoType.TCPV4
    return skb


def by_software(skb: SkBuff) -> list[bytes]:
    """What is to arrive: done here, on a copy."""
    copy = skb.copy()
    if copy.gso_size:
        return [bytes(segment) for segment in skb_gso_segment(copy, checksums=True)]
    if copy.ip_summed == CHECKSUM_PARTIAL:
        skb_checksum_help(copy)
    return [bytes(copy)]


def send_kind(bench: Bench, what: str, make: Callable[[int], SkBuff]) -> None:
    """Ten packets, and what arrives is what software makes of them. Raises Failed."""
    wanted: list[bytes] = []
    for number in range(10):
        skb = make(number)
        frames = by_software(skb)
        bench.send_skb(skb, segments=len(frames))
        wanted += frames
    bench.run(50 * MS)
    bench.expect_arrived(what, wanted)


KINDS: dict[str, Callable[[int], SkBuff]] = {
    "packets in pieces": lambda n: in_pieces(n, 60 + 100 * n),
    "TCP packets without a checksum": lambda n: tcp(n, 1 + 130 * n),
    "TCP packets to be segmented": lambda n: tcp(n, 5000 + n, gso_size=1000 + n),
}
