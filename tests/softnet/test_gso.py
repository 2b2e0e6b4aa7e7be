"""Segmentation in software; scapy judges the segments: every length and checksum, and the payload put together again."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from packets import MACS, headers, is_right, layer4, partial
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Dot1Q, Ether

from softnet import SkBuff
from softnet.gso import GsoError, skb_gso_segment
from softnet.skbuff import CHECKSUM_PARTIAL, GsoType
from softnet.validate_xmit import skb_checksum_help


def gso(packet, size, *, extra=0):
    """A packet to be cut, its checksum partial."""
    frame = bytes(packet)
    skb = partial(frame)
    packet = Ether(frame)
    skb.gso_size = size
    skb.gso_type = extra | (GsoType.UDP_L4 if UDP in packet else GsoType.TCPV4 if IP in packet else GsoType.TCPV6)
    return skb


@given(
    packet=headers(),
    size=st.integers(1, 300),
    length=st.integers(2, 1200),
    checksums=st.booleans(),
    flags=st.sampled_from(["A", "FPA", "PAC"]),
)
def test_segments_are_what_scapy_would_send(packet, size, length, checksums, flags):
    assume(size < length)
    payload = bytes(i * 7 & 0xFF for i in range(length))
    if TCP in packet:
        packet[TCP].flags = flags
    packet /= payload
    skb = gso(packet, size)
    before = bytes(skb)
    segments = skb_gso_segment(skb, checksums=checksums)
    assert (bytes(skb), skb.freed) == (before, False)
    assert [segment.ip_summed == CHECKSUM_PARTIAL for segment in segments] == [not checksums] * len(segments)
    if not checksums:
        for segment in segments:
            skb_checksum_help(segment)
    frames = [bytes(segment) for segment in segments]
    assert all(map(is_right, frames))
    parsed = [Ether(frame) for frame in frames]
    pieces = [bytes(layer4(each).payload) for each in parsed]
    assert b"".join(pieces) == payload
    assert [len(piece) for piece in pieces[:-1]] == [size] * (len(pieces) - 1)
    original, last = Ether(before), len(parsed) - 1
    for number, each in enumerate(parsed):
        if IP in each:
            assert each[IP].id == (original[IP].id + number) & 0xFFFF
            assert (each[IP].options, each[IP].flags, each[IP].ttl) == (original[IP].options, original[IP].flags, original[IP].ttl)
        if TCP in each:
            assert each[TCP].seq == (original[TCP].seq + number * size) & 0xFFFFFFFF
            assert (each[TCP].options, each[TCP].ack, each[TCP].window) == (original[TCP].options, original[TCP].ack, 500)
            wanted = {flag for flag in flags if flag == "A" or (flag == "C" and number == 0) or (flag in "FP" and number == last)}
            assert set(str(each[TCP].flags)) == wanted
        assert [tag.vlan for tag in tags(each)] == [tag.vlan for tag in tags(original)]


def tags(packet):
    return [layer for layer in packet.iterpayloads() if isinstance(layer, Dot1Q)]


TCP4 = Ether(**MACS) / IP(src="10.0.0.1", dst="10.0.0.2", id=0xFFFF) / TCP(flags="A") / bytes(100)
TCP6 = Ether(**MACS) / IPv6() / TCP() / bytes(100)
UDP4 = Ether(**MACS) / IP() / UDP() / bytes(100)


def test_an_identification_that_is_fixed_stays_and_others_wrap():
    assert [Ether(bytes(s))[IP].id for s in skb_gso_segment(gso(TCP4, 40))] == [0xFFFF, 0, 1]
    assert [Ether(bytes(s))[IP].id for s in skb_gso_segment(gso(TCP4, 40, extra=GsoType.TCP_FIXEDID))] == [0xFFFF] * 3


def test_segments_have_the_packets_fields_and_the_last_its_sender():
    told = []
    skb = gso(TCP4, 40)
    skb.priority, skb.mark, skb.queue_mapping, skb.vlan_tci, skb.hash, skb.tstamp, skb.sk = 6, 9, 1, 5, 77, 123, "socket"
    skb.destructor, skb.xmit_more = told.append, True
    segments = skb_gso_segment(skb)
    assert {(s.priority, s.mark, s.queue_mapping, s.vlan_tci, s.hash, s.tstamp, s.gso_size) for s in segments} == {(6, 9, 1, 5, 77, 123, 0)}
    assert [(s.sk, s.xmit_more) for s in segments] == [(None, False), (None, False), ("socket", True)]
    assert all(s.head[s.network_header] == 0x45 and s.transport_header == s.network_header + 20 for s in segments)
    for each in (skb, *segments[:-1]):
        each.consume()
    assert told == []
    segments[-1].consume()
    assert told == [segments[-1]]


def test_a_packet_in_pieces_is_cut_the_same():
    whole = gso(TCP4, 30)
    pieces = gso(TCP4, 30)
    content = bytes(pieces)
    pieces.trim(60)
    for start in range(60, len(content), 7):
        pieces.add_frag(content[start : start + 7])
    assert [bytes(s) for s in skb_gso_segment(pieces)] == [bytes(s) for s in skb_gso_segment(whole)]


@pytest.mark.parametrize(
    ("packet", "change"),
    [
        (TCP4, {"gso_size": 0}),
        (TCP4, {"gso_size": -5}),
        (TCP4, {"gso_size": 100}),  # nothing to cut
        (UDP4, {"gso_size": 100}),
        (TCP4, {"gso_type": GsoType(0)}),
        (TCP4, {"gso_type": GsoType.TCPV6}),
        (TCP6, {"gso_type": GsoType.TCPV4}),
        (TCP4, {"gso_type": GsoType.UDP_L4}),
        (UDP4, {"gso_type": GsoType.TCPV4}),
    ],
)
def test_what_is_not_what_it_says_is_refused(packet, change):
    skb = gso(packet, 40)
    for name, value in change.items():
        setattr(skb, name, value)
    with pytest.raises(GsoError):
        skb_gso_segment(skb)


@pytest.mark.parametrize("packet", [TCP4, TCP6, UDP4])
def test_a_packet_that_ends_in_its_headers_is_refused(packet):
    whole = bytes(packet)
    for length in range(len(whole) - 100 + 1):
        skb = SkBuff.from_bytes(whole[:length])
        skb.gso_size, skb.gso_type = 10, gso(packet, 10).gso_type
        with pytest.raises(GsoError):
            skb_gso_segment(skb)


@given(st.binary(max_size=200), st.integers(0, 3), st.sampled_from([b"", bytes(TCP4), bytes(TCP6), bytes(UDP4)]), st.data())
def test_any_bytes_give_segments_or_a_refusal(noise, kind, base, data):
    at = data.draw(st.integers(0, len(base)))
    skb = SkBuff.from_bytes(base[:at] + noise + base[at + len(noise) :])
    skb.gso_size, skb.gso_type = 20, [GsoType.TCPV4, GsoType.TCPV6, GsoType.UDP_L4, GsoType.TCPV4 | GsoType.UDP_L4][kind]
    try:
        segments = skb_gso_segment(skb, checksums=True)
    except GsoError:
        return
    assert len(segments) >= 2
    assert b"".join(bytes(s)[-20:] for s in segments[:-1]) in bytes(skb)
