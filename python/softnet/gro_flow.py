"""What GRO knows of a packet (Headers), and of those it merged (Flow): inet_gro_receive, tcp_gro_receive, udp_gro_receive_segment."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from fastring.checksum import checksum
from softnet.ethernet import ETH_P_IP
from softnet.gso import CHECKSUM_AT, IPPROTO_TCP, IPPROTO_UDP, TCP_CWR, TCP_FIN, TCP_PSH, GsoError, pseudo_checksum, transport_offset
from softnet.skbuff import CHECKSUM_PARTIAL, GSO_MAX_SIZE, MAX_SKB_FRAGS, GsoType, SkBuff

UDP_GRO_CNT_MAX = 64
TCP_SYN, TCP_RST, TCP_URG = 0x02, 0x04, 0x20
IP_DF = 0x4000


@dataclass(slots=True)
class Headers:
    """A packet's headers as far as merging goes. Offsets are from skb.data, which is at the network header."""

    key: bytes  # what packets of a flow have in common; all that makes `same_flow`
    addresses: bytes
    kind: int  # IPPROTO_*
    transport: int
    payload: int
    length: int  # of the payload
    alike: bytes  # what may change in a flow, but not in one merged packet
    unfit: bool  # not to be merged, nor held; but it ends what is held of its flow
    atomic: bool = True  # IPv4's DF, and IPv6: identification means nothing
    ip_id: int = 0
    seq: int = 0
    flags: int = 0

    @property
    def may_be_held(self) -> bool:
        """Whether more may follow it."""
        if self.kind == IPPROTO_TCP:
            return self.length > 0 and not self.flags & (TCP_FIN | TCP_SYN | TCP_RST | TCP_PSH | TCP_URG)
        return True


def parse(skb: SkBuff, *, udp: bool) -> Headers | None:
    """None: not a packet that GRO knows."""
    data = bytes(skb)
    try:
        transport, kind = transport_offset(data, 0, skb.protocol)
    except GsoError:
        return None
    if kind == IPPROTO_TCP and len(data) >= transport + 20:
        payload = transport + (data[transport + 12] >> 4) * 4
        if not transport + 20 <= payload <= len(data):
            return None
    elif kind == IPPROTO_UDP and udp and len(data) > transport + 8:
        payload = transport + 8
    else:
        return None
    common = struct.pack("!iHiB", -1 if skb.vlan_tci is None else skb.vlan_tci, skb.vlan_proto, skb.dev.ifindex if skb.dev else 0, kind)
    common += bytes(skb.head[skb.mac_header : skb.data_offset]) + data[transport : transport + 4]
    if skb.protocol == ETH_P_IP:
        if transport != 20 or checksum(data[:20]):  # options, or a broken header
            return None
        identification, fragment = struct.unpack_from("!HH", data, 4)
        headers = Headers(
            key=common + data[12:20],
            addresses=data[12:20],
            kind=kind,
            transport=transport,
            payload=payload,
            length=len(data) - payload,
            alike=bytes([data[1], data[8], fragment >> 8 & 0x40]),  # TOS, TTL, DF
            unfit=int.from_bytes(data[2:4], "big") != len(data) or bool(fragment & ~IP_DF),
            atomic=bool(fragment & IP_DF),
            ip_id=identification,
        )
    else:
        first_word = int.from_bytes(data[:4], "big")
        headers = Headers(
            key=common + struct.pack("!I", first_word & 0xF00FFFFF) + data[6:7] + data[8:transport],  # the flow label, too
            addresses=data[8:40],
            kind=kind,
            transport=transport,
            payload=payload,
            length=len(data) - payload,
            alike=bytes([first_word >> 20 & 0xFF, data[7]]),  # traffic class, hop limit
            unfit=int.from_bytes(data[4:6], "big") != len(data) - 40,
        )
    (_tcp if kind == IPPROTO_TCP else _udp)(headers, data)
    return headers


def _tcp(headers: Headers, data: bytes) -> None:
    at = headers.transport
    headers.seq = int.from_bytes(data[at + 4 : at + 8], "big")
    headers.flags = data[at + 13]
    same_flags = headers.flags & ~(TCP_CWR | TCP_FIN | TCP_PSH)
    headers.alike += data[at + 8 : at + 13] + bytes([same_flags]) + data[at + 20 : headers.payload]  # ack, length, options


def _udp(headers: Headers, data: bytes) -> None:
    length, check = struct.unpack_from("!HH", data, headers.transport + 4)
    if not check or length != len(data) - headers.transport:
        headers.unfit = True


class Flow:
    """A packet that is held, and those merged into it."""

    def __init__(self, skb: SkBuff, headers: Headers, now: int) -> None:
        self.skb = skb
        self.headers = headers
        self.since = now  # NAPI_GRO_CB(skb)->age
        self.merged: list[memoryview] = []  # payload behind its own
        self.count = 1
        self.length = len(skb)  # with all that was merged, from the network header on
        self.flags = headers.flags
        self.next_seq = headers.seq + headers.length & 0xFFFFFFFF
        self.size = headers.length  # gso_size
        self.fixed_id = headers.atomic

    def try_merge(self, skb: SkBuff, headers: Headers) -> tuple[bool, bool]:
        """Take its payload if it continues this packet: (whether it did, whether nothing more may follow)."""
        if headers.unfit or headers.alike != self.headers.alike or not self._identified(headers):
            return False, True
        tcp = headers.kind == IPPROTO_TCP
        if tcp and (headers.flags & TCP_CWR or headers.seq != self.next_seq):
            return False, True
        if not 0 < headers.length <= self.size or self.length + headers.length >= GSO_MAX_SIZE:
            return False, True
        self._merge(skb, headers)
        if tcp:
            return True, headers.length < self.size or bool(headers.flags & (TCP_URG | TCP_PSH | TCP_RST | TCP_SYN | TCP_FIN))
        return True, headers.length < self.size or self.count >= UDP_GRO_CNT_MAX

    def _identified(self, headers: Headers) -> bool:
        """IPv4's identification counts up; or, with DF, is that of the first. The second packet decides."""
        step = headers.ip_id - self.headers.ip_id & 0xFFFF
        if self.fixed_id and self.count == 1 and step == 1:
            self.fixed_id = False
        return step == (0 if self.fixed_id else self.count & 0xFFFF)

    def _merge(self, skb: SkBuff, headers: Headers) -> None:
        skip = headers.payload
        for piece in (skb.data, *skb.frags):
            if len(piece) > skip:
                self.merged.append(piece[skip:])
            skip = max(skip - len(piece), 0)
        self.count += 1
        self.length += headers.length
        self.next_seq = self.next_seq + headers.length & 0xFFFFFFFF
        self.flags |= headers.flags & (TCP_FIN | TCP_PSH)

    def complete(self) -> SkBuff:
        """napi_gro_complete: the one packet, its headers those of all of it, its checksum CHECKSUM_PARTIAL."""
        skb, headers = self.skb, self.headers
        if self.count == 1:
            return skb
        skb.may_pull(headers.payload)
        skb.cow_head()
        if len(skb.frags) >= MAX_SKB_FRAGS:
            skb.linearize()
        room = MAX_SKB_FRAGS - len(skb.frags)
        for piece in self.merged if len(self.merged) <= room else [b"".join(self.merged)]:  # instead of the kernel's frag_list
            skb.add_frag(piece)
        self._fix_headers()
        version = GsoType.TCPV4 if skb.protocol == ETH_P_IP else GsoType.TCPV6
        skb.gso_type = version if headers.kind == IPPROTO_TCP else GsoType.UDP_L4
        if headers.kind == IPPROTO_TCP and self.flags & TCP_CWR:
            skb.gso_type |= GsoType.TCP_ECN
        if skb.protocol == ETH_P_IP and self.fixed_id:
            skb.gso_type |= GsoType.TCP_FIXEDID
        skb.gso_size, skb.gso_segs = self.size, self.count
        return skb

    def _fix_headers(self) -> None:
        skb, headers = self.skb, self.headers
        data, at = skb.data, headers.transport
        if skb.protocol == ETH_P_IP:
            struct.pack_into("!H", data, 2, self.length)
            struct.pack_into("!H", data, 10, 0)
            struct.pack_into("!H", data, 10, checksum(data[:20]))
        else:
            struct.pack_into("!H", data, 4, self.length - 40)
        if headers.kind == IPPROTO_TCP:
            data[at + 13] = self.flags
        else:
            struct.pack_into("!H", data, at + 4, self.length - at)
        sum_at = CHECKSUM_AT[headers.kind]
        struct.pack_into("!H", data, at + sum_at, pseudo_checksum(data, 0, skb.protocol, headers.kind, self.length - at))
        skb.network_header = skb.data_offset
        skb.transport_header = skb.csum_start = skb.data_offset + at
        skb.csum_offset = sum_at
        skb.ip_summed = CHECKSUM_PARTIAL
