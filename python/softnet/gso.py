"""Segmentation in software (net/core/gso.c, tcp_offload.c, udp_offload.c): one long packet into those its MTU allows."""

from __future__ import annotations

import struct

from fastring.checksum import checksum
from softnet.ethernet import ETH_HLEN, ETH_P_8021AD, ETH_P_8021Q, ETH_P_IP, ETH_P_IPV6, VLAN_HLEN
from softnet.netdev_features import Feature
from softnet.skbuff import CHECKSUM_PARTIAL, GsoType, SkBuff

IPPROTO_TCP, IPPROTO_UDP = 6, 17
TCP_FIN, TCP_PSH, TCP_CWR = 0x01, 0x08, 0x80


class GsoError(ValueError):
    """The packet is not what its gso_type says."""


def gso_feature(skb: SkBuff) -> Feature:
    """What a device needs to cut it itself; NONE: no device can."""
    features = Feature.NONE
    for kind, feature in (
        (GsoType.TCPV4, Feature.TSO),
        (GsoType.TCPV6, Feature.TSO6),
        (GsoType.UDP_L4, Feature.GSO_UDP_L4),
    ):
        if skb.gso_type & kind:
            features |= feature
    return features


def network_offset(packet: bytes) -> tuple[int, int]:
    """Where the network header begins in a frame, and its protocol, behind any VLAN tags. Raises GsoError."""
    offset = ETH_HLEN
    while offset + VLAN_HLEN <= len(packet):
        protocol = int.from_bytes(packet[offset - 2 : offset], "big")
        if protocol not in (ETH_P_8021Q, ETH_P_8021AD):
            return offset, protocol
        offset += VLAN_HLEN
    raise GsoError("no network header")


def skb_gso_segment(skb: SkBuff) -> list[SkBuff]:
    """Cut a packet by its gso_size and gso_type; the segments have CHECKSUM_PARTIAL. The packet stays the caller's. Raises GsoError."""
    packet = bytes(skb)
    size = skb.gso_size
    network, protocol = network_offset(packet)
    transport, kind = transport_offset(packet, network, protocol)
    if skb.gso_type & (GsoType.TCPV4 | GsoType.TCPV6) and kind == IPPROTO_TCP:
        if len(packet) < transport + 20:
            raise GsoError("no whole TCP header")
        header = transport + (packet[transport + 12] >> 4) * 4
        if header < transport + 20:
            raise GsoError("a TCP header of less than 20 bytes")
    elif skb.gso_type & GsoType.UDP_L4 and kind == IPPROTO_UDP:
        header = transport + 8
    else:
        raise GsoError(f"gso_type {skb.gso_type!r} of a packet of IP protocol {kind}")
    payload = packet[header:]
    if header > len(packet) or not payload:
        raise GsoError("no payload behind its headers")
    segments = []
    for number, start in enumerate(range(0, len(payload), size)):
        piece = payload[start : start + size]
        head = bytearray(packet[:header])
        _fix_network(head, network, protocol, len(piece) + header, number)
        if kind == IPPROTO_TCP:
            _fix_tcp(head, transport, start, first=not start, last=start + size >= len(payload))
        else:
            head[transport + 4 : transport + 6] = (len(piece) + 8).to_bytes(2, "big")
        segments.append(_segment(skb, head, piece, network, transport, protocol, kind))
    return segments


def transport_offset(packet: bytes, network: int, protocol: int) -> tuple[int, int]:
    """Where the transport header begins, and its protocol. Raises GsoError."""
    if protocol == ETH_P_IP and len(packet) >= network + 20:
        length = (packet[network] & 15) * 4
        if packet[network] >> 4 == 4 and length >= 20:
            return network + length, packet[network + 9]
    if protocol == ETH_P_IPV6 and len(packet) >= network + 40 and packet[network] >> 4 == 6:
        kind, at = packet[network + 6], network + 40
        while kind in (0, 43, 60) and at + 8 <= len(packet):  # options that may stand in every segment
            kind, at = packet[at], at + (packet[at + 1] + 1) * 8
        return at, kind
    raise GsoError(f"no IP header where protocol {protocol:#06x} has one")


def _fix_network(head: bytearray, network: int, protocol: int, length: int, number: int) -> None:
    """Total length and identification; IPv4's checksum."""
    if protocol == ETH_P_IP:
        size = (head[network] & 15) * 4
        struct.pack_into("!H", head, network + 2, length - network)
        identification = struct.unpack_from("!H", head, network + 4)[0]
        struct.pack_into("!HxxxxH", head, network + 4, (identification + number) & 0xFFFF, 0)
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


def _segment(skb: SkBuff, head: bytearray, piece: bytes, network: int, transport: int, protocol: int, kind: int) -> SkBuff:
    """An SkBuff of one segment, its checksum left for the device or for skb_checksum_help."""
    at = 16 if kind == IPPROTO_TCP else 6
    length = len(head) - transport + len(piece)
    addresses = bytes(head[network + 12 : network + 20] if protocol == ETH_P_IP else head[network + 8 : network + 40])
    pseudo = sum(struct.unpack(f"!{len(addresses) // 2}H", addresses)) + kind + length
    while pseudo >> 16:
        pseudo = (pseudo & 0xFFFF) + (pseudo >> 16)
    struct.pack_into("!H", head, transport + at, pseudo)
    segment = SkBuff.from_bytes(bytes(head) + piece, dev=skb.dev)
    base = segment.data_offset
    segment.protocol, segment.priority, segment.mark, segment.hash = skb.protocol, skb.priority, skb.mark, skb.hash
    segment.queue_mapping, segment.vlan_tci, segment.vlan_proto = skb.queue_mapping, skb.vlan_tci, skb.vlan_proto
    segment.mac_header, segment.network_header, segment.transport_header = base, base + network, base + transport
    segment.ip_summed = CHECKSUM_PARTIAL
    segment.csum_start, segment.csum_offset = base + transport, at
    return segment
