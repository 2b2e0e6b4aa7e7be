"""StreamSource: streams interleaved and at their time, through a card that reads packets where they were made."""

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from e1000.bus import HostMemory, LocalBus
from e1000.device import E1000Device
from e1000.driver import probe
from fastring.checksum import checksum
from fastring.clock import MonotonicClock, VirtualClock
from fastring.stream import PacketStream
from fastring.stream_source import StreamSource
from fastring.wire import SinkWire, pair
from softnet.stack import Stack

from .sinks import RecordingSink

FRAME = (bytes.fromhex("525400000002525400000001") + b"\x08\0" + bytes.fromhex("45000000000040004011") + bytes(2)
         + bytes([10, 0, 0, 1, 10, 0, 0, 2]) + bytes.fromhex("0400003500000000")).ljust(60, b"\0")
MS = 1_000_000


def stream(number=0, count=20, **arguments):
    return PacketStream(FRAME, number=number, signature=42, count=count, **arguments)


def rate(pps, *, packets=1 << 40, duration=0):
    return (Fraction(10**9, pps) if pps else 0, 0, duration, packets if pps else 0)


def played(streams, *, clock=None, burst_size=16, limit=10_000, **arguments):
    """(time, stream's number, packet) of all that a card sends."""
    clock = VirtualClock(realtime=5 * 10**9) if clock is None else clock
    sink = RecordingSink()
    with HostMemory() as memory, Stack(clock=clock) as stack:
        wire = SinkWire(sink, clock=clock)
        with LocalBus(E1000Device(wire=wire), memory=memory) as bus, probe(bus, stack) as device:
            source = StreamSource(streams, clock, **arguments)
            iova = memory.map(source.memory)
            source.mapped_at(iova, device.xmit_target)
            sender = device.transmitter(burst_size=burst_size, replays=True)
            while sender.play(source, rounds=1) and len(sink.packets) < limit:
                pass
            stack.run()
            memory.unmap(iova)
    return [(time - 5 * 10**9, int.from_bytes(packet[44:46], "big"), packet) for time, packet in zip(sink.times, sink.packets, strict=True)]


@pytest.mark.parametrize("slots", [1, 5, 64, 1024])
def test_buffers_are_used_again_only_when_the_card_is_done_with_them(slots):
    """With the descriptors of one ring and fewer buffers every packet is still what it was when it was made."""
    sent = played([(stream(count=3000), {"phases": [rate(10**9)]})], slots=slots, burst_size=64)
    assert [int.from_bytes(packet[46:54], "big") for _, _, packet in sent] == list(range(3000))
    assert all(checksum(packet[14:34]) == 0 for _, _, packet in sent)


def test_a_card_that_holds_its_packets_has_them_as_they_were_made():
    """The other end takes nothing for a while: what is in the ring stays there while others are made, until there is no buffer left."""
    sink = RecordingSink()
    with HostMemory() as memory, Stack(clock=VirtualClock()) as stack, Stack(clock=VirtualClock()) as there:
        near, far = [LocalBus(E1000Device(wire=wire), memory=memory) for wire in pair()]
        with near, far, probe(far, there, flow_control="none", rx_usecs=0) as receiver, probe(near, stack, rx_usecs=0) as device:
            receiver.sink, receiver.promiscuous = sink, True
            source = StreamSource([(stream(count=700), {"phases": [rate(10**9)]})], stack.clock, slots=4)
            iova = memory.map(source.memory)
            source.mapped_at(iova, device.xmit_target)
            sender = device.transmitter(burst_size=6)
            with pytest.raises(TimeoutError):
                sender.play(source, rounds=200, patience=0.01)
            assert sink.packets == []
            going = True
            while going:
                there.run()
                going = sender.play(source, rounds=1)
            there.run()
            stack.run()
            memory.unmap(iova)
    assert [int.from_bytes(packet[46:54], "big") for packet in sink.packets] == list(range(700))
    assert 0 < source.copied < 700


def test_without_a_card_every_packet_is_one_that_is_copied():
    source = StreamSource([(stream(count=300), {"phases": [rate(10**9)]})], MonotonicClock())
    with Stack(clock=MonotonicClock()) as stack:
        sink = RecordingSink()
        with LocalBus(E1000Device(wire=SinkWire(sink, clock=stack.clock))) as bus, probe(bus, stack) as device:
            sender = device.transmitter(burst_size=64)
            while sender.play(source):
                pass
            stack.run()
    assert source.copied == source.packets == 300
    assert [int.from_bytes(packet[46:54], "big") for packet in sink.packets] == list(range(300))


def test_packets_are_sent_at_their_time_and_stamped_with_it():
    sent = played([(stream(), {"phases": [rate(3000)]})], paced=True)
    assert [time for time, _, _ in sent] == [i * 10**9 // 3000 for i in range(20)]
    assert [int.from_bytes(packet[54:60], "big") for _, _, packet in sent] == [time + 5 * 10**9 for time, _, _ in sent]


@settings(max_examples=25)
@given(st.lists(st.integers(1, 10**7), min_size=1, max_size=4), st.integers(1, 5))
def test_streams_are_merged_by_their_time_to_the_nanosecond(rates, burst):
    sent = played([(stream(i, 30), {"phases": [rate(pps)], "burst": burst}) for i, pps in enumerate(rates)], paced=True)
    for number, pps in enumerate(rates):
        own = [time for time, owner, _ in sent if owner == number]
        assert own == [i // burst * burst * 10**9 // pps for i in range(30)]
    assert [time for time, _, _ in sent] == sorted(time for time, _, _ in sent)


def test_streams_without_time_take_turns_by_weight():
    sent = played([(stream(i, 1 << 40), {"phases": [(Fraction(1, weight), 0, 0, 1)]}) for i, weight in enumerate((1, 3))], limit=400)
    owners = [owner for _, owner, _ in sent[:400]]
    assert (owners.count(0), owners.count(1)) == (100, 300)
    assert all(owners[i:i + 4].count(0) == 1 for i in range(0, 400, 4))


def test_bursts_come_with_gaps_between_them():
    sent = played([(stream(), {"phases": [(0, 0, 0, 1)], "burst": 4, "gap": MS})], paced=True)
    assert [time for time, _, _ in sent] == [i // 4 * MS for i in range(20)]


def test_phases_follow_each_other_by_time_and_by_packets_and_begin_again():
    phases = [rate(1000, packets=3), rate(0, duration=10 * MS), rate(500, duration=5 * MS)]
    sent = played([(stream(count=9), {"phases": phases})], paced=True)
    assert [time // MS for time, _, _ in sent] == [0, 1, 2, 13, 15, 17, 18, 19, 20]


def test_bits_take_time_too():
    frames = PacketStream(FRAME.ljust(100, b"\0"), lengths=[60, 100], order=[0, 1], signature=42, count=6)
    sent = played([(frames, {"phases": [(0, 8 * 1000, 0, 1)]})], paced=True)
    assert [time // 8000 for time, _, _ in sent] == [0, 60, 160, 220, 320, 380]


def test_a_duration_ends_a_schedule_and_no_packet_is_due_at_its_end():
    sent = played([(stream(count=1 << 40), {"phases": [rate(1000)]})], paced=True, duration=5 * MS)
    assert [time // MS for time, _, _ in sent] == [0, 1, 2, 3, 4]


def test_the_same_streams_make_the_same_packets_at_the_same_times():
    def once():
        fields = [(8 * 34, 16, "random", 0, 0, 65536, 1)]
        return played([(stream(i, 50, fields=fields, seed=i), {"phases": [rate(1000 * (i + 1))]}) for i in range(3)], paced=True)

    assert once() == once()


@pytest.mark.parametrize(
    ("schedule", "complaint"),
    [
        ({"phases": []}, "a phase in which packets are sent"),
        ({"phases": [rate(0, duration=5)]}, "a phase in which packets are sent"),
        ({"phases": [rate(5)], "burst": 0}, "bursts of 1 or more"),
        ({"phases": [rate(5), (0, 0, 0, 0)]}, "lasts for packets or for a time"),
        ({"phases": [(-1, 0, 0, 1)]}, "takes 0 to"),
        ({"phases": [(1 << 41, 0, 0, 1)]}, "takes 0 to"),
        ({"phases": [rate(5)], "gap": 1 << 63}, "shorter than"),
    ],
)
def test_a_schedule_that_is_none_is_refused(schedule, complaint):
    with pytest.raises(ValueError, match=complaint):
        StreamSource([(stream(), schedule)], MonotonicClock())


def test_a_source_has_streams_and_slots():
    with pytest.raises(ValueError, match="1 to 256 streams"):
        StreamSource([], MonotonicClock())
    with pytest.raises(ValueError, match="1 to 65536 slots"):
        StreamSource([(stream(), {"phases": [rate(5)]})], MonotonicClock(), slots=0)
