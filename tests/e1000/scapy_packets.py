"""Random packets made by scapy, as a host gives them to a card that inserts their checksums; and scapy's own sums to check against."""

import struct

from hypothesis import strategies as st
from scapy.layers.inet import IP, TCP, UDP, IPOption_NOP, IPOption_Router_Alert
from scapy.layers.inet6 import IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrHopByHop
from scapy.layers.l2 import Dot1Q, Ether
from scapy.packet import Raw

PORT = st.integers(1, 65535)
TAGS = st.lists(st.integers(0, 4094), max_size=2)
IP4 = st.builds(
    lambda src, dst, ident, ttl, tos, flags, options: IP(src=src, dst=dst, id=ident, ttl=ttl, tos=tos, flags=flags, options=options),
    st.ip_addresses(v=4).map(str),
    st.ip_addresses(v=4).map(str),
    st.integers(0, 65535),
    st.integers(1, 255),
    st.integers(0, 255),
    st.sampled_from(["", "DF"]),
    st.sampled_from([[], [IPOption_Router_Alert()], [IPOption_NOP()] * 8]),
)
IP6 = st.builds(
    lambda src, dst, hops, flow, extra: IPv6(src=src, dst=dst, hlim=hops, fl=flow) / extra if extra else IPv6(src=src, dst=dst),
    st.ip_addresses(v=6).map(str),
    st.ip_addresses(v=6).map(str),
    st.integers(1, 255),
    st.integers(0, 2**20 - 1),
    st.sampled_from([None, IPv6ExtHdrHopByHop(), IPv6ExtHdrHopByHop() / IPv6ExtHdrDestOpt()]),
)
TCP_OPTIONS = [[], [("NOP", None), ("NOP", None), ("Timestamp", (123456, 654321))], [("MSS", 1460), ("SAckOK", b""), ("WScale", 7)]]
TCPS = st.builds(
    lambda sport, dport, seq, ack, flags, window, options: TCP(
        sport=sport, dport=dport, seq=seq, ack=ack, flags=flags, window=window, options=options
    ),
    PORT,
    PORT,
    st.one_of(st.integers(0, 2**32 - 1), st.integers(2**32 - 3000, 2**32 - 1)),
    st.integers(0, 2**32 - 1),
    st.sampled_from(["A", "PA", "FA", "FPA", "PUA", "EA", "CA", "FPUECA"]),
    st.integers(0, 65535),
    st.sampled_from(TCP_OPTIONS),
)
UDPS = st.builds(lambda sport, dport: UDP(sport=sport, dport=dport), PORT, PORT)
HEADERS = st.tuples(TAGS, st.one_of(IP4, IP6), st.one_of(TCPS, UDPS))


def body(length, seed):
    return bytes((i * 31 + (i >> 8) * 7 + seed * 17 + 5) & 0xFF for i in range(length))


class Layout:
    """A packet of random headers, as bytes without valid checksums, and where its headers lie."""

    def __init__(self, headers, payload):
        tags, network, transport = headers
        packet = Ether(dst="52:54:00:12:34:56", src="02:00:00:00:00:01")
        for tag in tags:
            packet /= Dot1Q(vlan=tag)
        self.ip = len(packet)
        self.packet = packet / network.copy() / transport.copy() / Raw(payload) if payload else packet / network.copy() / transport.copy()
        self.right = bytes(self.packet)
        self.v4 = IP in self.packet
        self.tcp = TCP in self.packet
        self.header = len(self.right) - len(payload)
        self.transport = self.header - (len(transport) if self.tcp else 8)
        self.sum_at = self.transport + (16 if self.tcp else 6)
        self.popts = 2 | self.v4

    @property
    def ip_sum(self):
        """CSS, CSO and CSE of the IP checksum, of the first IPv4 header."""
        return (self.ip, self.ip + 10, self.transport - 1) if self.v4 else (0, 0, 0)

    @property
    def transport_sum(self):
        return (self.transport, self.sum_at, 0)

    def pseudo_sum(self, length):
        """The pseudo header's sum, over a packet whose transport part counts as `length` bytes."""
        first = self.ip + (12 if self.v4 else 8)
        addresses = self.right[first : first + (8 if self.v4 else 32)]
        return fold(sum(struct.unpack(f">{len(addresses) // 2}H", addresses)) + (6 if self.tcp else 17) + length)

    def unsummed(self, length):
        """What the host hands over: IP checksum 0, and in the transport's its pseudo header's sum."""
        content = bytearray(self.right)
        if self.v4:
            content[self.ip + 10 : self.ip + 12] = b"\0\0"
        content[self.sum_at : self.sum_at + 2] = self.pseudo_sum(length).to_bytes(2, "big")
        return bytes(content)


def fold(total):
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def resummed(content):
    """The frame as scapy builds it again, with lengths and checksums of its own; but a UDP checksum of 0 stays 0, as in the manual."""
    packet = Ether(content)
    for layer in (IP, TCP, UDP):
        if layer in packet:
            del packet[layer].chksum
            if layer is not TCP:
                del packet[layer].len
    if IPv6 in packet:
        del packet[IPv6].plen
    rebuilt = Ether(bytes(packet))
    if UDP in rebuilt and rebuilt[UDP].chksum == 0xFFFF:
        packet[UDP].chksum = 0
    return bytes(packet)
