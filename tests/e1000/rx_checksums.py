"""Frames of every kind of Table 3-5, and cards that verify their checksums."""

from cards import DD, IPCS, RX_EOP, TCPCS
from scapy.layers.inet import IP, TCP, UDP, IPOption_NOP, IPOption_Timestamp
from scapy.layers.inet6 import IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrHopByHop, IPv6ExtHdrRouting, PadN
from scapy.layers.l2 import LLC, SNAP, Dot1Q, Dot3, Ether
from scapy.packet import Raw

from e1000 import regs
from fastring.checksum import checksum

ALL = regs.RXCSUM_IPOFL | regs.RXCSUM_TUOFL | regs.RXCSUM_IPV6OFL
MACS = {"dst": "52:54:00:12:34:56", "src": "02:00:00:00:00:01"}
CHECKED = IPCS | TCPCS


def verifying_card(make_card, rxcsum=ALL, *, vet=0x8100, **options):
    card = make_card()
    card.write(regs.VET, vet)
    card.write(regs.RXCSUM, rxcsum)
    card.rx_ring(**options)
    return card


def patched(content, *changes):
    """`content` with other bytes at some places."""
    content = bytearray(content)
    for at, value in changes:
        content[at] = value
    return bytes(content)


def frame(*layers, length=60):
    """A frame of scapy's, all checksums right, padded to `length`."""
    packed = layers[0]
    for layer in layers[1:]:
        packed = packed / layer
    return bytes(packed).ljust(length, b"\0")


def verdict(card, content):
    """(status without DD and EOP, errors) of the descriptor `content` ends in."""
    card.receive(content)
    *_, (desc, _) = card.take_descs()
    card.give((card.rx_head - 1 - card.rx_tail) % card.rx_count)
    assert desc.status & (DD | RX_EOP) == DD | RX_EOP
    return desc.status & ~(DD | RX_EOP), desc.errors


V4 = IP(src="10.1.2.3", dst="10.4.5.6")
V6 = IPv6(src="fd00::1", dst="fd00::2")
BODY = Raw(bytes(range(200)))
FILLED = {"options": [PadN(optdata=bytes(60))]}         # a header of 64 bytes
SUPPORTED = {                                           # Table 3-5: what is calculated
    "ipv4-tcp": ((Ether(**MACS), V4, TCP(), BODY), CHECKED),
    "ipv4-udp": ((Ether(**MACS), V4, UDP(), BODY), CHECKED),
    "odd-length": ((Ether(**MACS), V4, UDP(), Raw(b"abc")), CHECKED),
    "no-payload": ((Ether(**MACS), V4, TCP()), CHECKED),
    "ipv4-options": ((Ether(**MACS), IP(src="10.1.2.3", options=[IPOption_NOP(), IPOption_Timestamp()]), TCP(), BODY), CHECKED),
    "ipv4-most-options": ((Ether(**MACS), IP(options=[IPOption_NOP()] * 40), UDP(), BODY), CHECKED),
    "tcp-options": ((Ether(**MACS), V4, TCP(options=[("MSS", 1460), ("Timestamp", (1, 2))]), BODY), CHECKED),
    "vlan": ((Ether(**MACS), Dot1Q(vlan=5), V4, TCP(), BODY), CHECKED),
    "snap": ((Dot3(**MACS), LLC(), SNAP(code=0x0800), V4, TCP(), BODY), CHECKED),
    "vlan-snap": ((Ether(**MACS, type=0x8100), Dot1Q(type=248), LLC(), SNAP(code=0x0800), V4, UDP(), BODY), CHECKED),
    "other-protocol": ((Ether(**MACS), IP(proto=47), BODY), IPCS),
    "icmp": ((Ether(**MACS), IP(proto=1), BODY), IPCS),
    "first-fragment": ((Ether(**MACS), IP(flags="MF"), UDP(), BODY), IPCS),
    "last-fragment": ((Ether(**MACS), IP(frag=8, proto=17), BODY), IPCS),
    "udp-without-checksum": ((Ether(**MACS), V4, UDP(chksum=0), BODY), IPCS),
    "ipv6-tcp": ((Ether(**MACS), V6, TCP(), BODY), TCPCS),
    "ipv6-udp": ((Ether(**MACS), V6, UDP(), BODY), TCPCS),
    "ipv6-vlan": ((Ether(**MACS), Dot1Q(), V6, UDP(), BODY), TCPCS),
    "ipv6-hop-by-hop": ((Ether(**MACS), V6, IPv6ExtHdrHopByHop(), TCP(), BODY), TCPCS),
    "ipv6-destination": ((Ether(**MACS), V6, IPv6ExtHdrDestOpt(), UDP(), BODY), TCPCS),
    "ipv6-routing-arrived": ((Ether(**MACS), V6, IPv6ExtHdrRouting(addresses=["fd00::9"], segleft=0), TCP(), BODY), TCPCS),
    "ipv6-three-extensions": (
        (Ether(**MACS), V6, IPv6ExtHdrHopByHop(**FILLED), IPv6ExtHdrRouting(segleft=0), IPv6ExtHdrDestOpt(**FILLED), TCP(), BODY), TCPCS,
    ),
    "ipv6-in-ipv4": ((Ether(**MACS), V4, V6, TCP(), BODY), CHECKED),
}
V4_TCP = frame(Ether(**MACS), V4, TCP(), BODY)
V4_UDP = frame(Ether(**MACS), V4, UDP(), BODY)
V6_TCP = frame(Ether(**MACS), V6, TCP(), BODY)


def packet_checksum(content, start):
    return checksum(content[start:])
