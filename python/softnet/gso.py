"""Segmentation in software (net/core/gso.c, tcp_offload.c, udp_offload.c): one long packet into those its MTU allows."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from fastring.checksum import checksum
from softnet.ethernet import ETH_HLEN, ETH_P_8021AD, ETH_P_8021Q, ETH_P_IP, ETH_P_IPV6, VLAN_HLEN
from softnet.netdev_features import Feature
from softnet.skbuff import CHECKSUM_NONE, CHECKSUM_PARTIAL, GsoType, SkBuff

if TYPE_CHECKING:
    from typing_extensions import Buffer

IPPROTO_TCP, IPPROTO_UDP = 6, 17
CHECKSUM_AT = {IPPROTO_TCP: 16, IPPROTO_UDP: 6}  # where their headers have it
IPV6_EXTENSIONS = (0, 43, 60)  # hop-by-hop, routing, destination: they may stand in every segment
TCP_FIN, TCP_PSH, TCP_CWR = 0x01, 0x08, 0x80


class GsoError(ValueError):
    """The packet is not what its gso_type says."""


GSO_FEATURES = {
    GsoType.TCPV4: Feature.TSO,
    GsoType.TCPV6: Feature.TSO6,
    GsoType.TCP_ECN: Feature.TSO_ECN,
    GsoType.UDP_L4: Feature.GSO_UDP_L4,
}


def skb_gso_ok(skb: SkBuff, features: Feature) -> bool:
    """Whether a device with these features cuts it itself. None keeps IPv4's identification as it is (NETIF_F_TSO_MANGLEID)."""
    needed = [feature for kind, feature in GSO_FEATURES.items() if skb.gso_type & kind]
    return bool(needed) and not skb.gso_type & GsoType.TCP_FIXEDID and all(features & feature for feature in needed)


def network_offset(packet: bytes) -> tuple[int, int]:
    """Where the network header begins in a frame, and its protocol, behind any VLAN tags. Raises GsoError."""
    offset = ETH_HLEN
    while offset <= len(packet):
        protocol = int.from_bytes(packet[offset - 2 : offset], "big")
        if protocol not in (ETH_P_8021Q, ETH_P_8021AD):
            return offset, protocol
        offset += VLAN_HLEN
    raise GsoError("no network header")


def skb_gso_segment(skb: SkBuff, *, checksums: bool = False) -> list[SkBuff]:
    """Cut a packet by its gso_size and gso_type, as `skb_gso_segment` does; the packet stays the caller's. Raises GsoError.

    The segments have CHECKSUM_PARTIAL, or with `checksums` their checksum. The last one carries the packet's socket and destructor,
    so that the sender is told when all of it has been sent.
    """
    packet = bytes(skb)
    network, transport, header, protocol, kind = gso_headers(skb, packet)
    size, fixed_id = skb.gso_size, bool(skb.gso_type & GsoType.TCP_FIXEDID)
    payload = packet[header:]
    segments = []
    for number, start in enumerate(range(0, len(payload), size)):
        piece = payload[start : start + size]
        head = bytearray(packet[:header])
        _fix_network(head, network, protocol, len(piece) + header, 0 if fixed_id else number)
        if kind == IPPROTO_TCP:
            _fix_tcp(head, transport, start, first=not start, last=start + size >= len(payload))
        else:
            head[transport + 4 : transport + 6] = (len(piece) + 8).to_bytes(2, "big")
        segments.append(_segment(skb, head, piece, network, transport, protocol, kind))
        if checksums:
            gso_make_checksum(segments[-1], kind)
    last = segments[-1]
    last.sk, last.destructor, last.xmit_more = skb.sk, skb.destructor, skb.xmit_more
    skb.sk = skb.destructor = None
    return segments


def gso_headers(skb: SkBuff, packet: bytes) -> tuple[int, int, int, int, int]:
    """Check a packet against its gso_type: offsets of network header, transport header and payload, ETH_P_*, IPPROTO_*.

    Raises GsoError, also for a packet that is no longer than one segment: there is nothing to cut.
    """
    network, protocol = network_offset(packet)
    transport, kind = transport_offset(packet, network, protocol)
    tcp = GsoType.TCPV4 if protocol == ETH_P_IP else GsoType.TCPV6
    if skb.gso_type & tcp and kind == IPPROTO_TCP:
        if len(packet) < transport + 20:
            raise GsoError("no whole TCP header")
        header = transport + (packet[transport + 12] >> 4) * 4
        if header < transport + 20:
            raise GsoError("a TCP header of less than 20 bytes")
    elif skb.gso_type & GsoType.UDP_L4 and kind == IPPROTO_UDP:
        header = transport + 8
    else:
        raise GsoError(f"gso_type {skb.gso_type!r} of a packet of ETH_P {protocol:#06x}, IP protocol {kind}")
    if skb.gso_size < 1 or len(packet) - header <= skb.gso_size:
        raise GsoError(f"{max(len(packet) - header, 0)} bytes of payload are not to be cut by a gso_size of {skb.gso_size}")
    return network, transport, header, protocol, kind


def gso_make_checksum(segment: SkBuff, kind: int) -> None:
    """Work out a segment's checksum. Unlike skb_checksum_help a TCP checksum of 0 stays one."""
    start = segment.csum_start - segment.data_offset
    data, at = segment.data, start + segment.csum_offset
    result = checksum(data[start:])
    data[at : at + 2] = (result or (0xFFFF if kind == IPPROTO_UDP else 0)).to_bytes(2, "big")
    segment.ip_summed = CHECKSUM_NONE


def transport_offset(packet: bytes, network: int, protocol: int) -> tuple[int, int]:
    """Where the transport header begins, and its protocol. Raises GsoError."""
    if protocol == ETH_P_IP and len(packet) >= network + 20:
        length = (packet[network] & 15) * 4
        if packet[network] >> 4 == 4 and length >= 20:
            return network + length, packet[network + 9]
    if protocol == ETH_P_IPV6 and len(packet) >= network + 40 and packet[network] >> 4 == 6:
        kind, at = packet[network + 6], network + 40
        while kind in IPV6_EXTENSIONS and at + 8 <= len(packet):
            kind, at = packet[at], at + (packet[at + 1] + 1) * 8
        return at, kind
    raise GsoError(f"no IP header where protocol {protocol:#06x} has one")


def _fix_network(head: bytearray, network: int, protocol: int, length: int, number: int) -> None:
    """Total length and identification; IPv4's checksum."""
    if protocol == ETH_P_IP:
        size = (head[network] & 15) * 4
        struct.pack_into("!H", head, network + 2, length - network)
        identification = struct.unpack_from("!H", head, network + 4)[0]
        struct.pack_into("!H", head, network + 4, (identification + number) & 0xFFFF)
        struct.pack_into("!H", head, network + 10, 0)
        struct.pack_into("!H", head, network + 10, checksum(head[network : network + size]))
    else:
        struct.pack_into("!H", head, network + 4, length - network - 40)


def _fix_tcp(head: bytearray, transport: int, sent: int, *, first: bool, last: bool) -> None:
    """Sequence number; FIN and PSH on the last alone, CWR on the first."""
    sequence = struct.unpack_from("!I", head, transport + 4)[0]
    struct.pack_into("!I", head, transport + 4, (sequence + sent) & 0xFFFFFFFF)
    if not last:
        head[transport + 13] &= ~(TCP_FIN | TCP_PSH) & 0xFF
    if not first:
        head[transport + 13] &= ~TCP_CWR & 0xFF


def pseudo_checksum(head: Buffer, network: int, protocol: int, kind: int, length: int) -> int:
    """Sum over the pseudo header, what a CHECKSUM_PARTIAL packet has in its checksum field (~tcp_v4_check, ~tcp_v6_check)."""
    view = memoryview(head)
    addresses = view[network + 12 : network + 20] if protocol == ETH_P_IP else view[network + 8 : network + 40]
    return ~checksum(bytes(addresses) + struct.pack("!II", length, kind)) & 0xFFFF


def _segment(skb: SkBuff, head: bytearray, piece: bytes, network: int, transport: int, protocol: int, kind: int) -> SkBuff:
    """An SkBuff of one segment, its checksum left for the device or for skb_checksum_help."""
    at = CHECKSUM_AT[kind]
    length = len(head) - transport + len(piece)
    struct.pack_into("!H", head, transport + at, pseudo_checksum(head, network, protocol, kind, length))
    segment = SkBuff.from_bytes(bytes(head) + piece, dev=skb.dev)
    base = segment.data_offset
    segment.protocol, segment.priority, segment.mark, segment.hash = skb.protocol, skb.priority, skb.mark, skb.hash
    segment.tstamp, segment.pkt_type = skb.tstamp, skb.pkt_type
    segment.queue_mapping, segment.vlan_tci, segment.vlan_proto = skb.queue_mapping, skb.vlan_tci, skb.vlan_proto
    segment.mac_header, segment.network_header, segment.transport_header = base, base + network, base + transport
    segment.ip_summed = CHECKSUM_PARTIAL
    segment.csum_start, segment.csum_offset = base + transport, at
    return segment
