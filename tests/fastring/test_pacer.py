"""Pacer: the deadlines are exact, whatever the loop; packets leave at them; what is late is told."""

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sinks import RecordingSink

from e1000.bus import LocalBus
from e1000.device import E1000Device
from e1000.driver import probe
from fastring.burst import Burst, RepeatSource
from fastring.clock import MonotonicClock, VirtualClock
from fastring.pacer import Pacer
from fastring.wire import pair
from softnet.stack import Stack

SECOND = 10**9


def packets(count, size=60):
    return [i.to_bytes(4, "big") * (size // 4) for i in range(count)]


class Line:
    """Two cards on a cable; the near one's transmitter keeps a schedule."""

    def __init__(self, clock, *, burst_size=128, **schedule):
        self.stack = Stack(clock=clock)
        self.pacer = Pacer(clock, **schedule)
        self.near, self.far = (probe(LocalBus(E1000Device(wire=wire)), self.stack, rx_usecs=0) for wire in pair())
        self.sink = self.far.sink = RecordingSink()
        self.far.promiscuous = True
        for device in (self.near, self.far):
            device.register()
            device.open()
        self.sender = self.near.transmitter(pacer=self.pacer, burst_size=burst_size)

    def play(self, source):
        while self.sender.play(source):
            pass
        self.stack.run()

    def arrivals(self, source):
        """When each packet arrived, from the start, on a virtual clock."""
        begun = self.stack.clock.time_ns()
        self.play(source)
        return [time - begun for time in self.sink.times]


@pytest.fixture
def line():
    lines = []

    def make(clock=None, **options):
        lines.append(Line(VirtualClock(realtime=SECOND) if clock is None else clock, **options))
        return lines[-1]

    yield make
    for made in lines:
        made.stack.close()


def repeated(count, size=60, times=None):
    source = packets(count, size) if times is None else packets(len(times), size)
    return RepeatSource(Burst.from_packets(source, times=times), packets=count)


# --- the schedule ---


@pytest.mark.parametrize("rate", [1, 3, 7, 50_000, 1_488_095, Fraction("0.25"), Fraction("33.333333"), Fraction(10**12)])
def test_packet_n_is_due_n_intervals_from_the_start_to_the_nanosecond(rate, line):
    arrived = line(by="packets", rate=rate).arrivals(repeated(1000))
    assert arrived == [n * SECOND * Fraction(rate).denominator // Fraction(rate).numerator for n in range(1000)]


def test_no_fraction_is_lost_however_many_packets(line):
    """A schedule that lost the thirds of a nanosecond of each interval would be 1.6 µs off after this many."""
    made = line(by="packets", rate=3_000_000)
    made.play(repeated(5000))
    assert made.pacer.scheduled == 4999 * SECOND // 3_000_000


@pytest.mark.parametrize("group", [1, 2, 7, 500])
def test_a_group_leaves_together_at_the_time_of_its_first(group, line):
    arrived = line(by="packets", rate=1000, group=group).arrivals(repeated(300))
    assert arrived == [n // group * group * 1_000_000 for n in range(300)]


@pytest.mark.parametrize("rate", [10**6, 10**9, 8, Fraction("12345.678")])
def test_a_bit_rate_counts_the_bits_of_the_packets_before(rate, line):
    sizes = [60, 1500, 64, 700, 60] * 20
    source = RepeatSource(Burst.from_packets([bytes([2]) * size for size in sizes]), packets=len(sizes))
    arrived = line(by="bits", rate=rate).arrivals(source)
    assert arrived == [int(sum(sizes[:n]) * 8 * SECOND / Fraction(rate)) for n in range(len(sizes))]


@pytest.mark.parametrize("speed", [1, 2, Fraction("0.7"), Fraction("1000000"), Fraction("0.000001")])
def test_time_stamps_are_kept_at_a_multiple_of_their_speed(speed, line):
    times = [10**18 + gap for gap in (0, 0, 5, 1000, 10**6, 10**9, 10**9 + 1)]
    arrived = line(by="times", rate=speed).arrivals(repeated(7, times=times))
    assert arrived == [int((time - times[0]) / Fraction(speed)) for time in times]


def test_time_stamps_that_go_back_are_due_at_once_until_they_are_past_the_latest(line):
    arrived = line(by="times").arrivals(repeated(6, times=[100, 500, 200, 499, 500, 700]))
    assert arrived == [0, 400, 400, 400, 400, 600]


def test_what_a_gap_has_over_the_longest_is_taken_from_the_schedule(line):
    arrived = line(by="times", longest_gap=1000).arrivals(repeated(4, times=[0, 10, 10**12, 10**12 + 5]))
    assert arrived == [0, 10, 1010, 1015]


def test_a_pause_begins_a_new_pass_at_any_time_stamp(line):
    made = line(by="times")
    begun = made.stack.clock.time_ns()
    for delay in (0, 50, 0):
        made.pacer.pause(delay)
        made.play(repeated(3, times=[10**15, 10**15 + 10, 10**15 + 20]))
    assert [time - begun for time in made.sink.times] == [0, 10, 20, 70, 80, 90, 90, 100, 110]


def test_a_pause_lengthens_the_interval_of_a_rate(line):
    made = line(by="packets", rate=1000)
    begun = made.stack.clock.time_ns()
    for _ in range(2):
        made.play(repeated(2))
        made.pacer.pause(5)
    assert [time - begun for time in made.sink.times] == [0, 1_000_000, 2_000_005, 3_000_005]


def test_what_is_due_after_the_duration_is_not_sent(line):
    made = line(by="packets", rate=1000, duration=10_000_000)
    assert not made.pacer.ended
    made.play(repeated(100))
    assert made.sender.packets == 10
    assert made.pacer.ended
    assert made.sender.play(repeated(5)) is False
    assert made.sender.packets == 10


@settings(max_examples=30)
@given(
    st.lists(st.integers(0, (1 << 63) - 1), min_size=1, max_size=20),
    st.fractions(Fraction(1, 10**6), 10**6, max_denominator=10**6),
    st.sampled_from(["packets", "bits", "times"]),
)
def test_any_time_stamps_at_any_rate_give_a_schedule_that_never_goes_back(times, rate, by):
    made = Line(VirtualClock(), by=by, rate=rate)
    try:
        made.play(repeated(len(times), times=times))
        assert made.sink.times == sorted(made.sink.times)
        assert made.sender.packets == len(times)
    finally:
        made.stack.close()


def test_timers_on_the_way_fire_at_their_own_time(line):
    made = line(by="packets", rate=1000)
    fired = []
    for when in (0, 500_000, 1_999_999):
        made.stack.clock.call_at(when, lambda: fired.append(made.stack.clock.monotonic_ns()))
    made.play(repeated(3))
    assert fired == [0, 500_000, 1_999_999]


def test_a_packet_in_pieces_is_one_packet(line):
    source = RepeatSource(Burst.from_packets([[b"\2" * 14, b"a" * 46, b"b" * 40]]), packets=4)
    made = line(by="bits", rate=800)
    assert made.arrivals(source) == [0, SECOND, 2 * SECOND, 3 * SECOND]
    assert made.pacer.lateness.total == 4


@pytest.mark.parametrize("burst_size", [1, 3, 128])
def test_a_schedule_does_not_depend_on_the_bursts(burst_size, line):
    arrived = line(by="packets", rate=7, burst_size=burst_size).arrivals(repeated(50))
    assert arrived == [n * SECOND // 7 for n in range(50)]


def test_packets_too_long_keep_their_place_in_the_schedule_and_are_not_recorded(line):
    source = RepeatSource(Burst.from_packets([b"a" * 60, b"b" * 2000, b"c" * 60]), packets=6)
    made = line(by="packets", rate=1000)
    assert made.arrivals(source) == [0, 2_000_000, 3_000_000, 5_000_000]
    assert (made.pacer.lateness.total, made.sender.oversize) == (4, 2)


# --- on a real clock ---


@pytest.mark.parametrize("spins", [False, True])
def test_nothing_leaves_before_its_time_and_the_schedule_is_kept(spins, line):
    made = line(MonotonicClock(), by="packets", rate=2000, spins=spins)
    begun = made.stack.clock.monotonic_ns()
    made.play(repeated(200))
    assert made.stack.clock.monotonic_ns() - begun >= 199 * SECOND // 2000
    assert made.sink.packets == packets(200)
    assert made.pacer.scheduled == 199 * SECOND // 2000
    assert made.pacer.lateness.total == 200
    assert 0 < made.pacer.lateness.percentile(50) <= made.pacer.lateness.max


def test_late_packets_leave_at_once_and_those_after_them_keep_their_deadlines(line):
    made = line(MonotonicClock(), by="packets", rate=1000)
    source = repeated(40)
    begun = made.stack.clock.monotonic_ns()
    assert made.sender.play(source, rounds=1) in (True, False)
    while made.stack.clock.monotonic_ns() < begun + 60_000_000:  # nobody plays: all but the first are late
        pass
    made.play(source)
    assert made.sink.packets == packets(40)
    assert made.pacer.scheduled == 39_000_000
    assert made.pacer.lateness.max < 10 * SECOND


def test_who_waits_long_comes_back_to_python_now_and_then(line):
    made = line(MonotonicClock(), by="packets", rate=1)
    source = repeated(2)
    assert made.sender.play(source) is True
    assert made.sender.packets == 1


def test_timers_fire_while_it_waits(line):
    made = line(MonotonicClock(), by="packets", rate=10)
    fired = []
    made.stack.clock.call_later(1_000_000, lambda: fired.append(made.sender.packets))
    made.play(repeated(2))
    assert fired == [1]


# --- what is refused ---


@pytest.mark.parametrize(
    "options",
    [
        {"by": "water"},
        {"by": "packets", "rate": 0},
        {"by": "packets", "rate": -1},
        {"by": "bits", "rate": 10**12 + 1},
        {"by": "bits", "rate": Fraction(1, 10**7)},
        {"by": "times", "group": 0},
        {"by": "times", "longest_gap": 0},
        {"by": "times", "duration": 0},
        {"by": "times", "duration": 1 << 62},
    ],
)
def test_a_schedule_that_makes_no_sense_is_refused(options):
    with pytest.raises(ValueError, match=r"\w"):
        Pacer(VirtualClock(), **options)


def test_a_transmitter_and_its_pacer_go_by_the_same_clock(line):
    made = line(by="packets", rate=1)
    with pytest.raises(ValueError, match="the same clock"):
        made.near.transmitter(pacer=Pacer(VirtualClock(), by="packets"))


def test_a_pause_before_now_is_refused():
    pacer = Pacer(VirtualClock(), by="packets")
    assert pacer.lateness.total == 0
    with pytest.raises(ValueError, match="pause"):
        pacer.pause(-1)
