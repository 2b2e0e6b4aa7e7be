"""RepeatSource: the packets of a burst over and over."""

import pytest

from e1000.bus import LocalBus
from e1000.device import E1000Device
from e1000.driver import probe
from fastring.burst import Burst, RepeatSource
from fastring.clock import VirtualClock
from fastring.wire import Wire
from softnet.stack import Stack


class RecordingWire(Wire):
    def __init__(self):
        self.sent = []
        self.bursts = 0

    def transmit_burst(self, burst):
        self.sent += list(burst)
        self.bursts += 1


@pytest.fixture
def played():
    """played(source, burst_size=...): what a card sends of it."""

    def play(source, burst_size=128):
        wire = RecordingWire()
        with Stack(clock=VirtualClock()) as stack, LocalBus(E1000Device(wire=wire)) as bus, probe(bus, stack) as device:
            sender = device.transmitter(burst_size=burst_size)
            while sender.play(source):
                pass
            stack.run()
            assert sender.packets == len(wire.sent)
        return wire.sent

    return play


PACKETS = [bytes([i]) * (60 + i) for i in range(7)]


@pytest.mark.parametrize("count", [0, 1, 6, 7, 8, 14, 100, 1000])
@pytest.mark.parametrize("burst_size", [1, 5, 7, 128])
def test_it_repeats_its_packets_in_order_as_often_as_asked(played, count, burst_size):
    source = RepeatSource(Burst.from_packets(PACKETS), packets=count)
    assert played(source, burst_size) == [PACKETS[i % 7] for i in range(count)]
    assert source.left == 0


def test_it_is_at_its_end_and_stays_there(played):
    source = RepeatSource(Burst.from_packets(PACKETS), packets=3)
    assert played(source) == PACKETS[:3]
    assert played(source) == []


def test_one_packet_is_repeated_too(played):
    assert played(RepeatSource(Burst.from_packets([b"x" * 99]), packets=50)) == [b"x" * 99] * 50


def test_it_keeps_its_packets_alive(played):
    burst = Burst.from_packets([bytes([1]) * 200])
    source = RepeatSource(burst, packets=3)
    del burst
    assert played(source) == [bytes([1]) * 200] * 3


def test_left_counts_down(played):
    source = RepeatSource(Burst.from_packets(PACKETS), packets=20)
    assert source.left == 20
    assert source.error is None
    wire = RecordingWire()
    with Stack(clock=VirtualClock()) as stack, LocalBus(E1000Device(wire=wire)) as bus, probe(bus, stack) as device:
        sender = device.transmitter(burst_size=8)
        assert sender.play(source, rounds=1)
        assert source.left == 12
        assert sender.packets == 8


def test_nothing_to_repeat_is_refused():
    with pytest.raises(ValueError, match="nothing to repeat"):
        RepeatSource(Burst(4), packets=1)


@pytest.mark.parametrize("count", [-1, 2**64])
def test_a_count_that_is_none_is_refused(count):
    with pytest.raises(OverflowError):
        RepeatSource(Burst.from_packets(PACKETS), packets=count)


def test_a_packet_of_more_pieces_than_the_burst_holds_is_an_error_and_no_end(played):
    source = RepeatSource(Burst.from_packets([[b"a" * 20, b"b" * 20, b"c" * 20]]), packets=2)
    with pytest.raises(ValueError, match="more pieces"):
        played(source, burst_size=2)
    assert source.left == 2
    assert played(source, burst_size=3) == [b"a" * 20 + b"b" * 20 + b"c" * 20] * 2
