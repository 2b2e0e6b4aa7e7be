"""Burst as a sequence of packets, and the sources and sinks at its ends."""

import gc
import weakref

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastring.burst import Burst, BurstSink, BurstSource, CountingSink, RepeatSource

PACKETS = [b"a", b"bb" * 30, b"c" * 1514]


def test_a_burst_is_a_sequence_of_its_packets():
    burst = Burst.from_packets(PACKETS)
    assert (len(burst), burst.count, list(burst)) == (3, 3, PACKETS)
    assert [burst[0], burst[-1], burst[-3]] == [b"a", PACKETS[2], b"a"]
    assert burst.lengths == [1, 60, 1514]


@pytest.mark.parametrize("index", [3, -4, 2**40])
def test_a_packet_that_is_not_there_is_an_index_error(index):
    with pytest.raises(IndexError, match=f"packet {index} of a burst of 3"):
        Burst.from_packets(PACKETS)[index]


def test_packets_have_their_times_or_zero():
    assert Burst.from_packets(PACKETS, times=[5, 2**62, -1]).times == [5, 2**62, -1]
    assert Burst.from_packets(PACKETS).times == [0, 0, 0]


def test_as_many_times_as_packets_are_wanted():
    with pytest.raises(ValueError, match="3 packets but 2 times"):
        Burst.from_packets(PACKETS, times=[1, 2])


def test_an_empty_packet_is_refused():
    with pytest.raises(ValueError, match="packet 1 is empty"):
        Burst.from_packets([b"a", b""])


@pytest.mark.parametrize("kind", [bytearray, memoryview, lambda data: np.frombuffer(data, dtype=np.uint8)])
def test_anything_bytes_like_is_a_packet(kind):
    assert list(Burst.from_packets([kind(b"abc")])) == [b"abc"]


def test_no_packets_make_an_empty_burst():
    burst = Burst.from_packets([])
    assert (len(burst), list(burst), burst.times, burst.lengths) == (0, [], [], [])


def test_a_burst_keeps_its_packets_until_cleared():
    burst = Burst.from_packets(bytes([i]) * 100 for i in range(1, 50))
    gc.collect()
    assert burst[48] == bytes([49]) * 100
    burst.clear()
    assert (len(burst), burst.capacity) == (0, 49)


def test_leaving_a_with_block_empties_it():
    with Burst.from_packets(PACKETS) as burst:
        assert len(burst) == 3
    assert len(burst) == 0


@pytest.mark.parametrize("capacity", [0, 2**20 + 1])
def test_an_impossible_capacity_is_refused(capacity):
    with pytest.raises(ValueError, match=r"1 to 2\^20 frames"):
        Burst(capacity)


def test_packets_in_mapped_memory_are_not_copied():
    memory = bytearray(b"..abc.defg")
    burst = Burst.from_mapped(memory, iova=0x1000, offsets=[2, 6], lengths=[3, 4])
    assert list(burst) == [b"abc", b"defg"]
    memory[2] = ord("X")
    assert burst[0] == b"Xbc"
    with pytest.raises(BufferError):
        memory.append(0)
    burst.clear()
    memory.append(0)


@pytest.mark.parametrize(("offset", "length"), [(0, 0), (0, 11), (10, 1), (2**64 - 1, 2), (0, 2**32)])
def test_a_packet_outside_mapped_memory_is_refused(offset, length):
    with pytest.raises(IndexError, match="of a buffer of 10"):
        Burst.from_mapped(bytes(10), iova=0, offsets=[offset], lengths=[length])


@given(st.lists(st.tuples(st.binary(min_size=1, max_size=200), st.integers(-(2**63), 2**63 - 1)), max_size=50))
def test_what_goes_in_comes_out(packets):
    burst = Burst.from_packets([data for data, _ in packets], times=[time for _, time in packets])
    assert list(burst) == [data for data, _ in packets]
    assert burst.times == [time for _, time in packets]
    assert burst.lengths == [len(data) for data, _ in packets]


def test_a_burst_that_is_dropped_drops_its_packets():
    memory = np.ones(10, dtype=np.uint8)
    burst = Burst.from_mapped(memory, iova=0, offsets=[0], lengths=[10])
    alive = weakref.ref(memory)
    del memory
    gc.collect()
    assert burst[0] == b"\1" * 10
    del burst
    gc.collect()
    assert alive() is None


def test_repr_counts_packets_and_frames():
    assert repr(Burst.from_packets(PACKETS)) == "<Burst: 3 packets in 3 of 3 frames>"
    assert repr(CountingSink()) == "<CountingSink: 0 packets, 0 bytes in 0 bursts>"


def test_a_sink_that_overrides_nothing_says_so():
    with pytest.raises(NotImplementedError, match="neither deliver nor on_burst"):
        BurstSink().on_burst(Burst())


def test_nothing_cannot_be_repeated():
    with pytest.raises(ValueError, match="empty burst"):
        RepeatSource(Burst(), packets=5)
    with pytest.raises(TypeError):
        RepeatSource(None, packets=5)
    assert RepeatSource(Burst.from_packets(PACKETS), packets=5).left == 5


# --- the C side, through compiled loops


def test_a_source_fills_and_a_sink_counts(threads):
    sink = CountingSink()
    assert threads.carry(RepeatSource(Burst.from_packets(PACKETS), packets=100), sink, 7) == 0
    assert (sink.packets, sink.bytes, sink.bursts) == (100, 33 * 1575 + 1, 15)


def test_a_source_that_overrides_nothing_is_at_its_end(threads):
    sink = CountingSink()
    assert threads.carry(BurstSource(), sink, 7) == 0
    assert sink.bursts == 0


def test_a_python_sink_gets_every_burst(threads):
    class Collector(BurstSink):
        def __init__(self):
            self.got = []

        def on_burst(self, burst):
            self.got.extend(burst)

    sink = Collector()
    assert threads.carry(RepeatSource(Burst.from_packets(PACKETS), packets=7), sink, 4) == 0
    assert sink.got == (PACKETS * 3)[:7]
    assert sink.error is None


def test_what_a_python_sink_raises_is_kept_for_whoever_runs_it(threads):
    class Broken(BurstSink):
        def on_burst(self, burst):
            raise KeyError("disk")

    sink = Broken()
    assert threads.carry(RepeatSource(Burst.from_packets(PACKETS), packets=7), sink, 4) == -1
    assert isinstance(sink.error, KeyError)


def test_packets_in_pieces_are_joined_and_counted_as_one(threads):
    burst = threads.gather(Burst.from_packets([b"head", b"er", b"next"]), 2)
    assert (len(burst), burst.count, list(burst)) == (2, 3, [b"header", b"next"])
    assert burst.lengths == [6, 4]
    assert burst.times == [0, 0]
    sink = CountingSink()
    threads.carry(RepeatSource(burst, packets=3), sink, 2)      # the second packet does not fit behind the first
    assert (sink.packets, sink.bytes, sink.bursts) == (3, 16, 3)


def test_a_packet_may_come_in_pieces():
    burst = Burst.from_packets([b"one", [b"t", b"w", b"o"], (b"three",)], times=[1, 2, 3])
    assert list(burst) == [b"one", b"two", b"three"]
    assert (len(burst), burst.count, burst.lengths, burst.times) == (3, 5, [3, 3, 5], [1, 2, 3])


@pytest.mark.parametrize("packet", [b"", [], [b""], [b"a", b""]])
def test_a_packet_without_bytes_is_refused(packet):
    with pytest.raises(ValueError, match="packet 1 is empty"):
        Burst.from_packets([b"x", packet])


@pytest.mark.parametrize("packets", [[60], [True], ["x" * 60], "x" * 60, [[b"x" * 60, 4]]])
def test_what_is_not_bytes_is_no_packet(packets):
    with pytest.raises(TypeError, match="a packet is bytes-like"):
        Burst.from_packets(packets)
