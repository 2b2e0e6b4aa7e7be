"""StreamSink: what arrived of each stream, held against a slow model of it."""

import struct
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.all import ICMP, IP, TCP, UDP, Dot1Q, Ether, ICMPv6EchoRequest, IPv6

from fastring.burst import Burst
from fastring.clock import VirtualClock
from fastring.stream import PacketStream
from fastring.stream_sink import StreamSink

WINDOW = 4096
FRAME = (bytes(12) + b"\x08\0" + bytes.fromhex("45000000000040004011") + bytes(2) + bytes([10, 0, 0, 1, 10, 0, 0, 2])
         + bytes.fromhex("0400003500000000")).ljust(60, b"\0")


def signed(number, sequence, sent, frame=FRAME, at=42):
    return frame[:at] + struct.pack(">HHQQ", 0xFA57, number, sequence, sent << 16 & 2**64 - 1)[:18] + frame[at + 18:]


def arrived(packets, *, numbers=(3,), times=None, burst=7):
    sink = StreamSink(numbers, VirtualClock(realtime=10**9))
    times = [0] * len(packets) if times is None else times
    for start in range(0, len(packets), burst):
        sink.put(Burst.from_packets(packets[start:start + burst], times=times[start:start + burst]))
    return sink


SEQUENCES = st.lists(st.one_of(st.integers(0, 30), st.integers(0, 3 * WINDOW), st.integers(0, 2**64 - 2)), max_size=40)


@given(SEQUENCES)
def test_every_packet_is_new_a_duplicate_reordered_or_stale(sequences):
    told = arrived([signed(3, sequence, 0) for sequence in sequences]).arrivals(3)
    seen, highest, duplicates, reordered, stale = set(), -1, 0, 0, 0
    for sequence in sequences:
        if sequence <= highest - WINDOW:
            stale += 1
        elif sequence in seen:
            duplicates += 1
        else:
            reordered += sequence < highest
            seen.add(sequence)
            highest = max(highest, sequence)
    assert told[:7] == (len(sequences), 60 * len(sequences), len(seen), duplicates, reordered, stale, 0)
    assert told.lost() == highest + 1 - len(seen)
    assert told.lost(highest + 11) == highest + 11 - len(seen)


@given(st.lists(st.tuples(st.integers(0, 2**45), st.integers(0, 2**44)), min_size=1, max_size=30))
def test_latency_and_jitter_are_those_of_rfc_3550(sent_and_late):
    packets = [signed(3, i, sent) for i, (sent, _) in enumerate(sent_and_late)]
    told = arrived(packets, times=[sent + late or 1 for sent, late in sent_and_late]).arrivals(3)
    transits = [(sent + late or 1) - sent for sent, late in sent_and_late]
    jitter = 0.0
    for before, after in pairwise(transits):
        jitter += (abs(after - before) - jitter) / 16
    assert told.jitter == pytest.approx(jitter, abs=1)
    assert (told.latency.min, told.latency.max) == (min(transits), max(transits))


def test_a_stamp_of_48_bits_is_told_apart_across_its_end():
    told = arrived([signed(3, 0, 2**48 - 5)], times=[2**48 + 7]).arrivals(3)
    assert (told.latency.max, told.early) == (12, 0)


def test_a_packet_that_came_before_it_was_sent_is_counted():
    told = arrived([signed(3, 0, 500)], times=[400]).arrivals(3)
    assert (told.latency.max, told.latency.total, told.early) == (0, 1, 1)


def test_a_packet_without_a_time_came_now():
    assert arrived([signed(3, 0, 10**9 - 250)]).arrivals(3).latency.max == 250


def test_the_signature_is_found_behind_other_headers_than_those_of_the_packet_before():
    tagged = FRAME[:12] + b"\x81\0\0\x05" + FRAME[12:]
    packets = [signed(3, 0, 0), signed(3, 1, 0, tagged, 46), signed(3, 2, 0), signed(4, 0, 0, bytes(12) + b"\x88\xb5" + bytes(46), 14)]
    sink = arrived(packets, numbers=(3, 4))
    assert (sink.arrivals(3).unique, sink.arrivals(4).unique, sink.foreign) == (3, 1, 0)


@given(st.lists(st.binary(min_size=1, max_size=80), max_size=20))
def test_packets_of_others_are_foreign_whatever_they_are(packets):
    sink = arrived([FRAME, *packets, signed(5, 0, 0)])
    assert (sink.packets, sink.foreign, sink.arrivals(3).packets) == (len(packets) + 2, len(packets) + 2, 0)


def test_a_packet_in_pieces_is_one():
    sink = StreamSink([3], VirtualClock())
    packet = signed(3, 0, 0)
    sink.put(Burst.from_packets([[packet[:60], b"more"], [packet[:20], packet[20:]]]))
    assert (sink.packets, sink.bytes, sink.arrivals(3).bytes, sink.foreign) == (2, 124, 64, 1)


def test_what_a_stream_makes_it_understands():
    stream = PacketStream(FRAME, number=9, signature=42)
    told = arrived(stream.make(5, time=10**9 - 3), numbers=[9]).arrivals(9)
    assert (told.unique, told.expected, told.latency.min, told.latency.max) == (5, 5, 3, 3)


def test_numbers_that_are_none_are_refused():
    for numbers in ([1, 1], [-1], [65536]):
        with pytest.raises(ValueError, match="different numbers"):
            StreamSink(numbers, VirtualClock())
    with pytest.raises(KeyError):
        StreamSink([1], VirtualClock()).arrivals(2)


ABOVE = {
    "udp": IP() / UDP(), "tcp": IP() / TCP(), "icmp": IP() / ICMP(),
    "udp6": IPv6() / UDP(), "tcp6": IPv6() / TCP(), "icmp6": IPv6() / ICMPv6EchoRequest(),
}


@pytest.mark.parametrize("above", ABOVE)
@given(bit=st.integers(0, 8 * 18 - 1), where=st.integers(1, 48))
def test_a_wrong_bit_in_one_signature_changes_nothing_for_other_packets(above, bit, where):
    template = bytes(Ether() / Dot1Q(vlan=5) / ABOVE[above] / bytes(19))
    at = len(template) - 19
    packets = PacketStream(template, number=3, signature=at).make(50)
    packets[where] = (int.from_bytes(packets[where]) ^ 1 << 8 * (len(template) - at) - 1 - bit).to_bytes(len(template))
    sink = arrived(packets)
    told = sink.arrivals(3)
    assert (told.packets, told.unique, told.duplicates, told.reordered, told.stale, sink.foreign) in [
        (49, 49, 0, 0, 0, 1),
        (50, 50, 0, 0, 0, 0),  # in its time, so little that nobody looks
    ]
    assert told.lost() == sink.foreign
    if told.packets == 50:
        assert bit >= 8 * 18 - 21


def test_a_packet_in_pieces_is_looked_at_as_a_whole():
    template = bytes(Ether() / IP() / UDP() / bytes(2000))
    packets = PacketStream(template, number=3, signature=42).make(5)
    wrong = packets[3][:-1] + b"\x01"
    sink = StreamSink((3,), VirtualClock(realtime=10**9))
    sink.put(Burst.from_packets([[packet[:1000], packet[1000:]] for packet in (packets[0], packets[2], wrong, packets[4])]))
    assert (sink.arrivals(3).packets, sink.foreign) == (4, 0)  # that one is in order, and its signature is right
    sink.put(Burst.from_packets([[packet[:1001], packet[1001:]] for packet in (packets[1], wrong)]))
    assert (sink.arrivals(3).reordered, sink.foreign) == (1, 1)
