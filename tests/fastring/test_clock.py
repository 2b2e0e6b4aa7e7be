"""Clock and timers: order, time inside handlers, and what a capture's timestamps do to a virtual clock."""

import gc
import time
import weakref

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastring.clock import Clock, MonotonicClock, TimerHandle, VirtualClock

GREATEST = 2**63 - 1


def note(clock, calls, name=None):
    return lambda: calls.append((clock.monotonic_ns(), name))


def test_virtual_time_stands_still_until_advanced(clock):
    assert (clock.monotonic_ns(), clock.time_ns()) == (0, 0)
    clock.advance(7)
    assert (clock.monotonic_ns(), clock.time_ns()) == (7, 7)


def test_virtual_time_starts_where_told():
    clock = VirtualClock(start=100, realtime=1_700_000_000_000_000_000)
    assert (clock.monotonic_ns(), clock.time_ns()) == (100, 1_700_000_000_000_000_000)


@pytest.mark.parametrize("options", [{"start": -1}, {"realtime": -1}])
def test_virtual_time_cannot_start_below_zero(options):
    with pytest.raises(ValueError, match="starts at 0"):
        VirtualClock(**options)


def test_each_timer_fires_at_its_own_time_in_order_of_deadline(clock):
    calls = []
    for when in (30, 10, 20):
        clock.call_at(when, note(clock, calls))
    clock.advance(25)
    assert calls == [(10, None), (20, None)]
    assert clock.next_deadline == 30
    assert clock.monotonic_ns() == 25


def test_equal_deadlines_fire_first_in_first_out(clock):
    calls = []
    for name in "abc":
        clock.call_at(5, note(clock, calls, name))
    clock.advance(5)
    assert calls == [(5, "a"), (5, "b"), (5, "c")]


def test_a_deadline_in_the_past_fires_at_the_next_advance_without_turning_time_back():
    clock, calls = VirtualClock(start=50), []
    clock.call_at(10, note(clock, calls))
    assert calls == []
    clock.advance(0)
    assert calls == [(50, None)]


def test_a_handler_may_arm_itself_again(clock):
    calls = []

    def tick():
        calls.append(clock.monotonic_ns())
        clock.call_later(10, tick)

    clock.call_later(10, tick)
    clock.advance(35)
    assert calls == [10, 20, 30]


def test_a_handler_that_arms_itself_without_delay_does_not_stop_time(clock):
    calls = []

    def again():
        calls.append(clock.monotonic_ns())
        clock.call_later(0, again)

    clock.call_later(0, again)
    clock.advance(3)
    assert calls == [0, 1, 2, 3]


def test_a_handler_may_cancel_a_timer_due_at_the_same_time(clock):
    calls = []
    clock.call_at(5, lambda: victim.cancel())
    victim = clock.call_at(5, note(clock, calls))
    clock.advance(10)
    assert calls == []


def test_a_handler_may_advance_the_clock_itself(clock):
    calls = []
    clock.call_at(1, lambda: clock.advance(100))
    clock.call_at(50, note(clock, calls))
    clock.advance(10)
    assert calls == [(50, None)]
    assert clock.monotonic_ns() == 101


def test_cancel_is_harmless_twice_and_after_the_call(clock):
    calls = []
    cancelled, called = clock.call_at(1, note(clock, calls)), clock.call_at(2, note(clock, calls))
    cancelled.cancel()
    cancelled.cancel()
    clock.advance(5)
    called.cancel()
    assert calls == [(2, None)]
    assert (cancelled.armed, called.armed, called.when) == (False, False, 2)
    assert clock.next_deadline is None


def test_the_clock_keeps_an_armed_timer_alive_and_then_lets_go(clock):
    calls = []

    class Callback:
        def __call__(self):
            calls.append(1)

    callback = Callback()
    alive = weakref.ref(callback)
    clock.call_at(5, callback)
    del callback
    gc.collect()
    clock.advance(5)
    gc.collect()
    assert calls == [1]
    assert alive() is None


def test_a_clock_dropped_with_armed_timers_is_collected():
    class Callback:
        def __call__(self):
            pass

    callback = Callback()
    alive = weakref.ref(callback)
    clock = VirtualClock()
    clock.call_at(5, callback)
    del callback, clock
    gc.collect()
    assert alive() is None


def test_what_a_callback_raises_is_raised_by_advance_after_the_others_fired(clock):
    calls = []
    clock.call_at(1, lambda: 1 / 0)
    clock.call_at(2, note(clock, calls))
    with pytest.raises(ZeroDivisionError):
        clock.advance(5)
    assert calls == [(2, None)]
    clock.advance(1)


def test_a_step_forward_passes_that_time_and_fires_timers(clock):
    calls = []
    clock.call_at(40, note(clock, calls))
    clock.set_time(100)
    assert calls == [(40, None)]
    assert (clock.monotonic_ns(), clock.time_ns()) == (100, 100)


def test_a_step_backward_sets_only_the_wall_clock(clock):
    clock.advance(1000)
    clock.set_time(400)
    assert (clock.monotonic_ns(), clock.time_ns()) == (1000, 400)
    clock.set_time(500)
    assert (clock.monotonic_ns(), clock.time_ns()) == (1100, 500)


def test_a_step_to_the_end_of_time_stays_there():
    clock = VirtualClock(start=10)
    clock.set_time(GREATEST)
    assert (clock.monotonic_ns(), clock.time_ns()) == (GREATEST, GREATEST)
    clock.set_time(0)
    assert (clock.monotonic_ns(), clock.time_ns()) == (GREATEST, 0)


@pytest.mark.parametrize("bad", [-1, GREATEST])
def test_advance_refuses_to_go_back_or_past_the_end_of_time(bad):
    clock = VirtualClock(start=1)
    with pytest.raises(ValueError, match="can advance by 0 to"):
        clock.advance(bad)
    with pytest.raises(ValueError, match="a delay is 0 to"):
        clock.call_later(bad, print)
    assert clock.monotonic_ns() == 1


def test_set_time_refuses_times_before_1970(clock):
    with pytest.raises(ValueError, match="1970"):
        clock.set_time(-1)


@given(st.lists(st.integers(0, GREATEST), max_size=30))
def test_monotonic_time_never_goes_back_whatever_the_timestamps(stamps):
    clock = VirtualClock()
    for stamp in stamps:
        before = clock.monotonic_ns()
        clock.set_time(stamp)
        assert clock.monotonic_ns() >= before
        assert clock.time_ns() == stamp


@given(st.lists(st.tuples(st.integers(0, 50), st.booleans()), max_size=40), st.lists(st.integers(0, 10), min_size=1, max_size=10))
def test_timers_fire_as_a_stable_sort_of_their_deadlines(timers, steps):
    clock, calls = VirtualClock(), []
    handles = [clock.call_at(when, note(clock, calls, index)) for index, (when, _) in enumerate(timers)]
    for handle, (_, cancelled) in zip(handles, timers, strict=True):
        if cancelled:
            handle.cancel()
    for step in steps:
        clock.advance(step)
    expected = [(when, index) for index, (when, cancelled) in enumerate(timers) if not cancelled and when <= sum(steps)]
    assert calls == sorted(expected, key=lambda call: call[0])


def test_monotonic_clock_reads_the_machine_s_clocks():
    clock = MonotonicClock()
    assert time.monotonic_ns() <= clock.monotonic_ns() <= time.monotonic_ns()
    assert abs(clock.time_ns() - time.time_ns()) < 10**9


def test_monotonic_clock_fires_what_is_due_and_nothing_else():
    clock, calls = MonotonicClock(), []
    clock.call_later(0, lambda: calls.append("due"))
    clock.call_later(10**15, lambda: calls.append("later"))
    assert clock.fire_due() == 1
    assert calls == ["due"]


def test_what_a_handler_arms_waits_for_the_next_fire_due():
    clock, calls = MonotonicClock(), []

    def again():
        calls.append(1)
        clock.call_at(0, again)

    clock.call_at(0, again)
    assert clock.fire_due() == 1
    time.sleep(0.000001)
    assert clock.fire_due() == 1
    assert calls == [1, 1]


def test_fire_due_raises_what_a_callback_raised():
    clock = MonotonicClock()
    clock.call_at(0, lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        clock.fire_due()


def test_clock_itself_cannot_be_made():
    with pytest.raises(TypeError, match="MonotonicClock or VirtualClock"):
        Clock()


def test_a_callback_must_be_callable(clock):
    with pytest.raises(TypeError, match="callable"):
        clock.call_at(0, None)


def test_a_timer_handle_made_by_hand_is_not_armed(clock):
    handle = TimerHandle(clock, print)
    handle.cancel()
    assert not handle.armed


def test_repr_tells_the_time_and_the_next_timer(clock):
    assert repr(clock) == "<VirtualClock: 0 ns, no timer>"
    handle = clock.call_at(5, print)
    assert "next timer at 5" in repr(clock)
    assert "at 5" in repr(handle)
    handle.cancel()
    assert "not armed" in repr(handle)
