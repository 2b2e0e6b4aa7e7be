"""MeasuringSink: every packet passes, and is counted by its size and the gap before it."""

import pytest
from sinks import RecordingSink

from fastring.burst import Burst, BurstSink
from fastring.measure import MeasuringSink


def test_packets_pass_and_are_counted_by_size_and_gap():
    inner = RecordingSink()
    sink = MeasuringSink(inner)
    sink.put(Burst.from_packets([b"a" * 60, [b"b" * 40, b"c" * 60], b"d" * 60], times=[1000, 1010, 1110]))
    sink.put(Burst.from_packets([b"e" * 60], times=[1120]))
    assert inner.packets == [b"a" * 60, b"b" * 40 + b"c" * 60, b"d" * 60, b"e" * 60]
    assert sink.sizes.buckets() == [(60, 3), (100, 1)]
    assert sink.gaps.buckets() == [(10, 2), (100, 1)]


def test_without_a_time_stamp_or_backwards_there_is_no_gap():
    sink = MeasuringSink(RecordingSink())
    sink.put(Burst.from_packets([b"a"] * 5, times=[0, 1000, 900, 0, 1000]))
    assert (sink.sizes.total, sink.gaps.total) == (5, 0)


def test_what_the_inner_sink_raises_is_raised():
    class Bad(BurstSink):
        def on_burst(self, burst):
            raise KeyError("mine")

    inner = Bad()
    with pytest.raises(KeyError, match="mine"):
        MeasuringSink(inner).put(Burst.from_packets([b"a"]))
