"""UniqueIpSource: other addresses, the same checksums, both ways of a conversation alike; scapy is the judge."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import ARP, Dot1AD, Dot1Q, Ether
from scapy.packet import Raw

from fastring.burst import Burst, RepeatSource
from fastring.unique_ip import UniqueIpSource

LOWEST_32 = (1 << 32) - 1
MACS = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")


def changed(packet, shift):
    """The packet after a pass through a source, as scapy reads it."""
    raw = bytes(packet)
    source, burst = UniqueIpSource(RepeatSource(Burst.from_packets([raw]), packets=3), shift=shift), Burst(8)
    assert source.read(burst) in (3, 6)
    assert burst[0] == burst[1] == burst[2]
    assert len(burst[0]) == len(raw)
    return Ether(burst[0])


def with_right_checksums(packet):
    again = packet.copy()
    for layer in (IP, TCP, UDP, ICMP):
        if layer in again:
            del again[layer].chksum
    return bytes(again)


addresses = st.one_of(st.integers(0, LOWEST_32), st.integers(0, 300), st.integers(LOWEST_32 - 300, LOWEST_32))


def dotted(number):
    return ".".join(str(byte) for byte in number.to_bytes(4, "big"))


@settings(max_examples=50)
@given(addresses, addresses, st.one_of(st.integers(0, 400), st.integers(0, LOWEST_32)), st.sampled_from([TCP, UDP]), st.booleans())
def test_checksums_stay_right_for_any_addresses_and_both_ways_change_alike(a, b, shift, protocol, tagged):
    link = MACS / Dot1AD(vlan=5) / Dot1Q(vlan=6) if tagged else MACS
    there = link / IP(src=dotted(a), dst=dotted(b)) / protocol(sport=1, dport=2) / b"hello"
    back = link / IP(src=dotted(b), dst=dotted(a)) / protocol(sport=2, dport=1) / b"hello"
    one, other = changed(there, shift), changed(back, shift)
    for packet in (one, other):
        assert with_right_checksums(packet) == bytes(packet)
    if a != b:
        assert (one[IP].src, one[IP].dst) == (other[IP].dst, other[IP].src)
    if shift == 0:
        assert bytes(one) == bytes(there)


@pytest.mark.parametrize(
    ("a", "b", "shift", "expected"),
    [
        ("10.0.0.1", "10.0.0.9", 3, ("9.255.255.254", "10.0.0.12")),
        ("10.0.0.9", "10.0.0.1", 3, ("10.0.0.12", "9.255.255.254")),
        ("10.0.0.1", "10.0.0.1", 1, ("10.0.0.2", "10.0.0.0")),
        ("0.0.0.0", "0.0.0.9", 1, ("255.255.255.254", "0.0.0.10")),  # the lower one wrapped: one more step
        ("10.0.0.1", "255.255.255.255", 1, ("10.0.0.0", "0.0.0.1")),  # the higher one did
    ],
)
def test_the_lower_address_goes_down_and_the_higher_one_up_as_in_tcpreplay(a, b, shift, expected):
    packet = changed(MACS / IP(src=a, dst=b) / UDP() / b"x", shift)
    assert (packet[IP].src, packet[IP].dst) == expected


def test_the_last_32_bits_of_ipv6_addresses_are_changed():
    packet = changed(MACS / IPv6(src="2001:db8::1", dst="2001:db8::9") / UDP(sport=1, dport=2) / b"hello", 1)
    assert (packet[IPv6].src, packet[IPv6].dst) == ("2001:db8::", "2001:db8::a")
    assert with_right_checksums(packet) == bytes(packet)


@pytest.mark.parametrize(
    "packet",
    [
        MACS / ARP(),
        Ether(type=0x88B5) / (b"x" * 46),
        MACS / Raw(b"\x45" + bytes(18)),  # IP, and too short for it
        Ether(type=0x800) / Raw(b"\x65" + bytes(40)),  # not version 4
        Ether(type=0x8100) / Raw(b"\0"),
        MACS / Dot1Q() / Dot1Q() / Dot1Q() / IP() / UDP(),
        b"\0" * 13,
        b"\0",
    ],
    ids=range(8),
)
def test_what_is_no_ip_packet_passes_as_it_is(packet):
    raw = bytes(packet)
    source, burst = UniqueIpSource(RepeatSource(Burst.from_packets([raw]), packets=1), shift=7), Burst(8)
    assert source.read(burst) == 1
    assert list(burst) == [raw]
    assert (source.changed, source.unchanged) == (0, 1)


def test_a_packet_of_headers_alone_stays_in_one_piece():
    raw = bytes(MACS / IP(src="1.2.3.4", dst="5.6.7.8"))
    source, burst = UniqueIpSource(RepeatSource(Burst.from_packets([raw]), packets=1), shift=7), Burst(8)
    assert source.read(burst) == 1
    assert (source.changed, Ether(burst[0])[IP].src) == (1, "1.2.2.253")


def test_packets_in_pieces_are_changed_in_their_first():
    raw = bytes(MACS / IP(src="1.2.3.4", dst="5.6.7.8") / UDP() / b"hello")
    pieces = Burst.from_packets([[raw[:40], raw[40:]], [raw[:20], raw[20:]]])
    source, burst = UniqueIpSource(RepeatSource(pieces, packets=2), shift=1), Burst(16)
    source.read(burst)
    assert Ether(burst[0])[IP].src == "1.2.3.3"
    assert burst[1] == raw  # its headers are in two pieces
    assert (source.changed, source.unchanged) == (1, 1)
