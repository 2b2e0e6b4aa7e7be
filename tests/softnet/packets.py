"""Packets for the tests of checksums, segmentation and merging, made and judged by scapy."""

from hypothesis import strategies as st
from scapy.layers.inet import IP, TCP, UDP, IPOption_NOP
from scapy.layers.inet6 import IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrHopByHop, IPv6ExtHdrRouting
from scapy.layers.l2 import Dot1Q, Ether

from softnet import SkBuff
from softnet.skbuff import CHECKSUM_PARTIAL

MACS = {"dst": "52:54:00:00:00:01", "src": "52:54:00:00:00:09"}
EXTENSIONS = {"hop": IPv6ExtHdrHopByHop, "routing": IPv6ExtHdrRouting, "destination": IPv6ExtHdrDestOpt}


@st.composite
def headers(draw, *, kinds=("tcp", "udp"), tags=2, options=True):
    """Ethernet, VLAN tags, IP with options or extension headers, TCP with options or UDP, as scapy has them, without checksums."""
    packet = Ether(**MACS)
    for i in range(draw(st.integers(0, tags))):
        packet /= Dot1Q(vlan=draw(st.integers(1, 4094)), prio=i)
    if draw(st.booleans()):
        ip = IP(src="10.0.0.1", dst="10.9.8.7", id=draw(st.integers(0, 0xFFFF)), ttl=draw(st.integers(1, 255)))
        ip.tos = draw(st.integers(0, 255))
        ip.flags = draw(st.sampled_from(["DF", 0]))
        if options:
            ip.options = [IPOption_NOP()] * draw(st.sampled_from([0, 4, 40]))
        packet /= ip
    else:
        packet /= IPv6(src="fd00::1", dst="fd00::2", tc=draw(st.integers(0, 255)), fl=draw(st.integers(0, 0xFFFFF)))
        if options:
            for name in draw(st.lists(st.sampled_from(sorted(EXTENSIONS)), max_size=2, unique=True)):
                packet /= EXTENSIONS[name](addresses=[]) if name == "routing" else EXTENSIONS[name]()
    ports = {"sport": draw(st.integers(1024, 65535)), "dport": 5001}
    if draw(st.sampled_from(kinds)) == "udp":
        return packet / UDP(**ports)
    stamp = draw(st.sampled_from([[], [("NOP", None), ("NOP", None), ("Timestamp", (1, 2))]])) if options else []
    return packet / TCP(**ports, seq=draw(st.integers(0, 0xFFFFFFFF)), ack=draw(st.integers(0, 9)), flags="A", options=stamp, window=500)


def layer4(packet):
    """TCP or UDP of a scapy packet."""
    return packet[TCP] if TCP in packet else packet[UDP]


def is_right(frame):
    """Whether all lengths and checksums of a frame are what scapy works out."""
    packet = Ether(frame)
    if IP in packet:
        del packet[IP].chksum, packet[IP].len
    else:
        del packet[IPv6].plen
    del layer4(packet).chksum
    if UDP in packet:
        del packet[UDP].len
    return bytes(packet) == frame


def partial(frame, *, dev=None):
    """A finished frame as an SkBuff whose checksum the device is to insert."""
    packet = Ether(frame)
    transport = layer4(packet)
    offset = len(frame) - len(bytes(transport))
    skb = SkBuff.from_bytes(frame, dev=dev)
    skb.protocol = packet.type
    at = 16 if TCP in packet else 6
    skb.data[offset + at : offset + at + 2] = pseudo_sum(packet, len(frame) - offset)
    skb.ip_summed, skb.csum_start, skb.csum_offset = CHECKSUM_PARTIAL, skb.data_offset + offset, at
    return skb


def pseudo_sum(packet, length):
    """The ones' complement sum over the pseudo header, slowly."""
    ip = packet[IP] if IP in packet else packet[IPv6]
    cls = type(ip)
    addresses = b"".join(cls.get_field(cls(), name).i2m(ip, getattr(ip, name)) for name in ("src", "dst"))
    total = sum(int.from_bytes(addresses[i : i + 2], "big") for i in range(0, len(addresses), 2)) + length + (6 if TCP in packet else 17)
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total.to_bytes(2, "big")
