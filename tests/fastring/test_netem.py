"""NetemWire: what tc-netem does to packets, from a seed and the clock."""

import gc
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sinks import RecordingSink

from e1000.bus import LocalBus
from e1000.device import E1000Device
from e1000.driver import probe
from fastring.burst import Burst
from fastring.clock import MonotonicClock, VirtualClock
from fastring.netem import NetemWire
from fastring.port import WirePort
from fastring.wire import pair
from softnet import Stack

MS = 1_000_000
PACKETS = [i.to_bytes(2, "big") * (30 + i % 700) for i in range(1000)]


class Line:
    """Two ports with a bad line between them, whose clock is virtual."""

    def __init__(self, **options):
        self.clock = VirtualClock(realtime=1)
        near, far = pair()
        self.wire = NetemWire(near, clock=self.clock, **options)
        self.left, self.right = RecordingSink(), RecordingSink()
        self.near = WirePort(self.wire, sink=self.left, clock=self.clock)
        self.far = WirePort(far, sink=self.right, clock=self.clock)

    def send(self, *packets, back=False):
        (self.far if back else self.near).send(Burst.from_packets(packets))

    def counts(self, way="out"):
        return {what: n for what, n in self.wire.counts[way].items() if n}


def numbers(packets):
    return [int.from_bytes(packet[:2], "big") for packet in packets]


def test_without_options_nothing_happens():
    line = Line(direction="both")
    line.send(*PACKETS, [b"in ", b"pieces"])
    line.send(*PACKETS, back=True)
    assert line.right.packets == [*PACKETS, b"in pieces"]
    assert line.left.packets == PACKETS
    assert line.wire.drops == line.counts() == {}


def test_packets_are_lost_in_one_direction_alone_unless_told_otherwise():
    line = Line(loss=0.3, seed=5)
    line.send(*PACKETS)
    line.send(*PACKETS, back=True)
    assert line.left.packets == PACKETS
    lost = line.counts()["loss"]
    assert 200 < lost < 400
    assert len(line.right.packets) == 1000 - lost
    assert line.wire.drops == {"netem_loss": lost}
    assert line.wire.rx_drops == {}
    inward = Line(loss=0.3, seed=5, direction="in")
    inward.send(*PACKETS, back=True)
    assert inward.wire.drops == inward.wire.rx_drops == {"netem_loss": 1000 - len(inward.left.packets)}


def test_duplicates_follow_their_packet():
    line = Line(duplicate=0.2, seed=1)
    line.send(*PACKETS)
    got = numbers(line.right.packets)
    assert len(got) == 1000 + line.counts()["duplicate"]
    assert got == sorted(got)
    assert 100 < line.counts()["duplicate"] < 300


def test_corruption_is_one_bit_and_the_original_is_untouched():
    line = Line(corrupt=1, seed=2)
    kept = list(PACKETS)
    line.send(*PACKETS)
    for before, after in zip(kept, line.right.packets, strict=True):
        assert (int.from_bytes(before) ^ int.from_bytes(after)).bit_count() == 1
    assert kept == PACKETS


def test_a_delay_is_the_clocks_to_the_nanosecond():
    line = Line(delay=10 * MS)
    line.send(PACKETS[1])
    line.clock.advance(3 * MS)
    line.send(PACKETS[2])
    line.clock.advance(7 * MS - 1)
    assert line.right.packets == []
    line.clock.advance(1)
    assert line.right.packets == [PACKETS[1]]
    line.clock.advance(3 * MS)
    assert line.right.packets == PACKETS[1:3]
    assert line.counts() == {}


def test_jitter_lets_packets_overtake_each_other_within_its_bounds():
    line = Line(delay=10 * MS, jitter=5 * MS, seed=3)
    line.send(*PACKETS[:500])
    line.clock.advance(5 * MS - 1)
    assert line.right.packets == []
    line.clock.advance(10 * MS + 1)
    got = numbers(line.right.packets)
    assert sorted(got) == list(range(500))
    assert got != sorted(got)


def test_a_rate_spaces_packets_by_their_length():
    line = Line(rate=8_000_000)     # a byte a microsecond
    line.send(bytes(1000), bytes(500), bytes(100))
    seen = []
    for _ in range(1600):
        line.clock.advance(1000)
        seen.append(len(line.right.packets))
    assert [seen.count(n) for n in range(4)] == [999, 500, 100, 1]


def test_reordering_sends_some_at_once_and_the_others_late():
    line = Line(delay=10 * MS, reorder=0.25, gap=5, seed=4)
    line.send(*PACKETS)
    at_once = len(line.right.packets)
    assert at_once == line.counts()["reorder"]
    assert 20 < at_once < 200       # a quarter of those after every fourth
    line.clock.advance(10 * MS)
    assert sorted(numbers(line.right.packets)) == list(range(1000))


def test_no_more_wait_than_the_limit():
    line = Line(delay=MS, limit=100)
    line.send(*PACKETS)
    assert line.counts() == {"limit": 900, "waiting": 100}
    assert line.wire.drops == {"netem_limit": 900}
    line.clock.advance(MS)
    assert line.right.packets == PACKETS[:100]


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "loss": st.sampled_from([0.1, 0.9]),
            "duplicate": st.sampled_from([0.1, 1]),
            "corrupt": st.sampled_from([0.2]),
            "rate": st.sampled_from([10**6, 10**9]),
            "limit": st.sampled_from([1, 7, 1000]),
            "jitter": st.sampled_from([1, 3000]),
            "direction": st.sampled_from(["in", "out", "both"]),
        },
    ),
    st.sampled_from([0, 3000, 10**6]),
    st.lists(st.integers(1, 40), max_size=10),
    st.integers(0, 2**64 - 1),
)
def test_a_run_is_the_same_each_time_and_loses_nothing_unseen(options, delay, bursts, seed):
    if not delay:
        options.pop("jitter", None)

    def run(cut):
        line, sent = Line(delay=delay, seed=seed, **options), 0
        for size in bursts:
            for start in range(0, size, cut):
                line.send(*PACKETS[sent + start : sent + min(start + cut, size)])
                line.send(*PACKETS[sent + start : sent + min(start + cut, size)], back=True)
            sent += size
            line.clock.advance(1000)
        line.clock.advance(10**12)
        for way, sink in (("out", line.right), ("in", line.left)):
            counts = line.wire.counts[way]
            assert counts["waiting"] == 0
            assert len(sink.packets) == sent + counts["duplicate"] - counts["loss"] - counts["limit"]
        return line.left.packets, line.right.packets, line.right.times, line.wire.counts

    assert run(1000) == run(1000) == run(1)     # however it is cut into bursts


chances = st.one_of(st.sampled_from([0.0, 1.0, float("nan"), float("inf"), -1.0, 5e-324]), st.floats(0, 1), st.floats())
times = st.one_of(st.sampled_from([0, 1, 3600 * 10**9, 3600 * 10**9 + 1]), st.integers(-1, 3600 * 10**9))
sizes = st.one_of(st.integers(0, 3), st.integers(0, 2**64 - 1))


@given(
    st.fixed_dictionaries(
        {},
        optional=dict.fromkeys(("loss", "duplicate", "corrupt", "reorder"), chances)
        | {"delay": times, "jitter": times, "rate": sizes, "limit": sizes, "gap": sizes, "seed": sizes},
    ),
    st.lists(st.one_of(st.integers(1, 10**6), st.integers(1, 2**59)), max_size=5),
)
def test_options_of_any_size_are_refused_or_lose_nothing_unseen(options, steps):
    try:
        line = Line(direction="both", **options)
    except (ValueError, OverflowError):
        return
    for step in steps:
        line.send(*PACKETS[:5])
        line.send(*PACKETS[:5], back=True)
        line.clock.advance(step)
    for way, sink in (("out", line.right), ("in", line.left)):
        counts = line.wire.counts[way]
        assert counts["waiting"] <= options.get("limit", 1000)
        assert len(sink.packets) + counts["waiting"] == 5 * len(steps) + counts["duplicate"] - counts["loss"] - counts["limit"]


def test_a_receiver_without_room_holds_the_sender_up_and_nothing_is_lost():
    clock = VirtualClock()
    near, far = pair()
    wire = NetemWire(near, clock=clock, duplicate=0.2, corrupt=0.2, seed=9)
    sink = RecordingSink()
    with Stack(clock=clock) as stack, probe(LocalBus(E1000Device(wire=far)), stack, flow_control="none", rx_usecs=0) as device:
        device.promiscuous, device.sink = True, sink
        with WirePort(wire) as port:
            sent = 0
            while sent < 1000:
                before = port.tx_packets
                with suppress(TimeoutError):
                    port.send(Burst.from_packets(PACKETS[sent:]), patience=0.0001)
                sent += port.tx_packets - before
                stack.run()
            stack.run()
    assert wire.drops == {}
    assert len(sink.packets) == 1000 + wire.counts["out"]["duplicate"]
    straight = Line(duplicate=0.2, corrupt=0.2, seed=9)
    straight.send(*PACKETS)
    assert sink.packets == straight.right.packets


def test_between_two_cards_both_ways():
    clock = VirtualClock()
    near, far = pair()
    wire = NetemWire(near, clock=clock, delay=MS, direction="both", limit=5000)
    with Stack(clock=clock) as stack:
        cards = [probe(LocalBus(E1000Device(wire=end)), stack, flow_control="none", rx_usecs=0) for end in (wire, far)]
        with cards[0] as left, cards[1] as right:
            for device in (left, right):
                device.promiscuous, device.sink = True, RecordingSink()
            for device in (left, right):
                assert device.xmit(Burst.from_packets(PACKETS[:200])) == 200
            stack.run()
            assert left.sink.packets == right.sink.packets == []
            clock.advance(MS)
            stack.run()
            assert [len(p) for p in left.sink.packets] == [len(p) for p in right.sink.packets] == [len(p) for p in PACKETS[:200]]


def test_on_a_real_clock_a_poll_lets_go_what_is_due():
    near, far = pair()
    clock = MonotonicClock()
    with WirePort(NetemWire(near, clock=clock, delay=1000)) as left, WirePort(far, sink=(sink := RecordingSink())):
        left.send(Burst.from_packets(PACKETS[:3]))
        while len(sink.packets) < 3:
            left.poll()
        assert sink.packets == PACKETS[:3]


def test_one_that_goes_away_with_packets_waiting_leaves_no_timer():
    line = Line(delay=MS)
    line.send(*PACKETS[:10])
    clock = line.clock
    line.near.close()
    del line
    gc.collect()
    assert clock.next_deadline is None
    clock.advance(2 * MS)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"loss": 1.5}, "loss: a chance"),
        ({"delay": -1}, "a delay is"),
        ({"delay": 5, "jitter": 6}, "no more than it"),
        ({"reorder": 0.5}, "takes a delay"),
        ({"limit": 0}, "limit and gap"),
        ({"direction": "up"}, "direction"),
    ],
)
def test_options_that_make_no_sense_are_refused(options, match):
    near, _ = pair()
    with pytest.raises(ValueError, match=match):
        NetemWire(near, clock=VirtualClock(), **options)
    with WirePort(near):
        pass
