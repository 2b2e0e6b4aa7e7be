"""pump and BurstSource.read: packets from a source to a sink, or to Python, without a card."""

import pytest

from fastring.burst import Burst, BurstSink, BurstSource, CountingSink, RepeatSource
from fastring.pump import pump


def test_packets_go_from_source_to_sink_until_the_end():
    source, sink, burst = RepeatSource(Burst.from_packets([bytes(60), bytes(70)]), packets=1000), CountingSink(), Burst(64)
    assert pump(source, sink, burst, rounds=2)
    assert (sink.packets, sink.bursts) == (128, 2)
    assert not pump(source, sink, burst)
    assert (sink.packets, len(burst)) == (1000, 0)


def test_what_a_sink_raises_is_raised():
    class Full(BurstSink):
        def on_burst(self, burst):
            raise OSError(28, "No space left on device")

    sink = Full()
    with pytest.raises(OSError, match="No space"):
        pump(RepeatSource(Burst.from_packets([bytes(60)]), packets=1), sink, Burst(4))
    assert sink.error is None


def test_what_a_source_says_is_wrong_is_raised():
    pieces = RepeatSource(Burst.from_packets([[bytes(30)] * 4]), packets=1)
    with pytest.raises(ValueError, match="more pieces"):
        pump(pieces, CountingSink(), Burst(2))
    with pytest.raises(ValueError, match="more pieces"):
        pieces.read(Burst(2))


def test_a_burst_is_read_from_any_source():
    source, burst = RepeatSource(Burst.from_packets([b"a" * 60, b"b" * 60]), packets=5), Burst(4)
    assert source.read(burst, 3) == 3
    assert list(burst) == [b"a" * 60, b"b" * 60, b"a" * 60]
    assert (source.read(burst), source.read(burst)) == (2, 0)
    assert BurstSource().read(burst) == 0
