"""The packets of the offloads scenario: in pieces, with a checksum to insert, to be segmented; and what software makes of each.

They are sent whatever features the device has: what it does not advertise is done before ndo_start_xmit (validate_xmit_skb).
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from fastring.checksum import checksum
from softnet.conformance.bench import FAR, MS, NEAR, Bench, frame
from softnet.ethernet import ETH_P_8021Q, ETH_P_IP, ETH_P_IPV6
from softnet.gso import CHECKSUM_AT, IPPROTO_TCP, IPPROTO_UDP, pseudo_checksum, skb_gso_segment
from softnet.skbuff import CHECKSUM_PARTIAL, GsoType, SkBuff
from softnet.validate_xmit import skb_checksum_help, skb_vlan_push

NETWORK = 14
UDP_HLEN = 8
PIECE = 700  # bytes in a fragment


def in_pieces(number: int, size: int) -> SkBuff:
    """A frame whose bytes after the 14th are fragments."""
    return _split(frame(number, size), NETWORK)


def _split(packet: bytes, linear: int) -> SkBuff:
    skb = SkBuff.from_bytes(packet[:linear])
    for start in range(linear, len(packet), PIECE):
        skb.add_frag(packet[start : start + PIECE])
    return skb


def packet(number: int, payload: int, *, kind: int = IPPROTO_TCP, ipv6: bool = False, gso_size: int = 0) -> SkBuff:
    """A TCP or UDP packet without its checksum, `payload` bytes in fragments; to be cut into segments of `gso_size`, if there is one."""
    data = bytes((i * 7 + number) & 0xFF for i in range(payload))
    port = 1024 + number
    if kind == IPPROTO_TCP:
        segment = struct.pack(">HHIIBBHHH", port, 5001, number, 0, 0x50, 0x18, 1000, 0, 0)
    else:
        segment = struct.pack(">HHHH", port, 5001, UDP_HLEN + payload, 0)
    ethertype = ETH_P_IPV6 if ipv6 else ETH_P_IP
    head = FAR + NEAR + ethertype.to_bytes(2, "big") + _ip_header(number, len(segment) + payload, kind, ipv6=ipv6)
    at, transport = CHECKSUM_AT[kind], len(head)
    pseudo = pseudo_checksum(head, NETWORK, ethertype, kind, len(segment) + payload)
    head += segment[:at] + pseudo.to_bytes(2, "big") + segment[at + 2 :]
    skb = _split(head + data, len(head))
    skb.ip_summed = CHECKSUM_PARTIAL
    skb.csum_start, skb.csum_offset = skb.data_offset + transport, at
    skb.network_header, skb.transport_header = skb.data_offset + NETWORK, skb.data_offset + transport
    if gso_size:
        skb.gso_size, skb.gso_segs = gso_size, -(-payload // gso_size)
        skb.gso_type = GsoType.TCPV6 if ipv6 else GsoType.TCPV4
    return skb


def _ip_header(number: int, length: int, kind: int, *, ipv6: bool) -> bytes:
    if ipv6:
        return struct.pack(">IHBB16s16s", 6 << 28, length, kind, 64, bytes(15) + b"\1", bytes(15) + b"\2")
    ip = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + length, number & 0xFFFF, 0x4000, 64, kind, 0, b"\x0a\0\0\1", b"\x0a\0\0\2")
    return ip[:10] + checksum(ip).to_bytes(2, "big") + ip[12:]


def tagged(number: int) -> SkBuff:
    """A packet whose VLAN tag lies beside it, its checksum to insert."""
    skb = packet(number, 100 + number)
    skb.vlan_proto, skb.vlan_tci = ETH_P_8021Q, 0x2000 | 100 + number
    return skb


def by_software(skb: SkBuff) -> list[bytes]:
    """What is to arrive: done here, on a copy."""
    copy = skb.copy()
    if copy.gso_size:
        return [bytes(segment) for segment in skb_gso_segment(copy, checksums=True)]
    if copy.ip_summed == CHECKSUM_PARTIAL:
        skb_checksum_help(copy)
    if copy.vlan_tci is not None:
        skb_vlan_push(copy)
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
    "TCP packets without a checksum": lambda n: packet(n, 1 + 130 * n),
    "UDP packets without a checksum": lambda n: packet(n, 1 + 130 * n, kind=IPPROTO_UDP),
    "TCP packets over IPv6 without a checksum": lambda n: packet(n, 1 + 130 * n, ipv6=True),
    "UDP packets over IPv6 without a checksum": lambda n: packet(n, 1 + 130 * n, kind=IPPROTO_UDP, ipv6=True),
    "TCP packets to be segmented": lambda n: packet(n, 5000 + n, gso_size=1000 + n),
    "TCP packets over IPv6 to be segmented": lambda n: packet(n, 5000 + n, ipv6=True, gso_size=1000 + n),
    "packets with a VLAN tag beside them": tagged,
}
