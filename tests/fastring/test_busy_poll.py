"""Busy polling: who has the NAPI meanwhile, when interrupts are unmasked, and what comes between two polls."""

import errno

import pytest
from napi_poller import Poller, added, scheduled

from fastring.busy_poll import napi_busy_loop
from fastring.irq import IrqLine

SCHED, MISSED, IN_BUSY_POLL, PREFER_BUSY_POLL = 1, 2, 64, 128
TIMEOUT = 1000


class Device(Poller):
    """A device with an interrupt line: `arrive` is up to it; the handler masks and schedules. `log`: what happened, in order."""

    def __init__(self, softirq, **options):
        super().__init__(**options)
        self.masked, self.line, self.events, self.states = False, IrqLine(), [], []
        softirq.add_irq(self.line)
        self.line.request_irq(self.handler)
        added(softirq, self)

    def arrive(self, packets):
        self.backlog += packets
        if not self.masked:
            self.line.raise_irq()

    def handler(self):
        self.line.lower_irq()
        self.masked = True
        self.events.append(f"irq {self.napi_schedule()}")

    def on_poll(self, budget):
        self.states.append(self.state)
        work = min(budget, self.backlog)
        self.backlog -= work
        self.events.append(f"poll {work}")
        if work < budget and self.napi_complete_done(work):
            self.masked = False
            self.events.append("unmask")
            if self.backlog:
                self.line.raise_irq()
        return work


def times(count, do=lambda: None):
    """A loop_end that says so the `count`th time it is asked, and does something before."""
    left = iter(range(count - 1, -1, -1))

    def loop_end():
        do()
        return next(left) == 0

    return loop_end


def test_once_polls_once_and_then_to_complete(softirq):
    device = Device(softirq)
    device.backlog = 3
    assert napi_busy_loop(device) == 3
    assert (device.events, device.budgets, device.state) == (["poll 3", "poll 0", "unmask"], [], 0)
    assert device.states == [SCHED | IN_BUSY_POLL, SCHED]


def test_its_budget_is_small(softirq):
    napi = added(softirq, Poller(20))
    assert napi_busy_loop(napi, times(2)) == 20
    assert (napi.budgets, napi.busy_packets, napi.packets) == ([8, 8, 8], 20, 20)


def test_an_interrupt_meanwhile_leaves_only_a_mark_and_stays_masked_to_the_end(softirq):
    device = Device(softirq)
    napi_busy_loop(device, times(3, lambda: device.arrive(1)))
    assert device.events == ["poll 0", "poll 1", "irq False", "poll 1", "poll 1", "unmask"]
    assert device.states == [SCHED | IN_BUSY_POLL, SCHED | IN_BUSY_POLL, SCHED | MISSED | IN_BUSY_POLL, SCHED]
    assert (device.state, device.masked, device.backlog, device.misses) == (0, False, 0, 0)


def test_what_the_last_poll_leaves_the_softirq_goes_on_with(softirq):
    device = Device(softirq)
    device.backlog = 100
    assert napi_busy_loop(device) == 16
    assert (device.scheduled, softirq.work_pending) == (True, True)
    softirq.net_rx_action()
    assert (device.packets, device.state, device.events[-1]) == (100, 0, "unmask")


def test_who_polls_it_already_is_left_to_it_and_the_loop_takes_over_afterwards(softirq):
    napi = scheduled(softirq, Poller(70))
    assert napi_busy_loop(napi, times(2)) == 0
    assert (napi.packets, napi.busy_packets) == (70, 0)  # between its polls the softirq ran


def test_a_disabled_one_or_none_is_not_polled(softirq):
    napi = Poller(5)
    assert napi_busy_loop(napi) == 0
    softirq.add(napi)
    assert napi_busy_loop(napi) == 0
    assert (napi.polls, napi.disabled) == (0, True)


def test_between_two_polls_other_napis_run_and_timers_fire(softirq, clock):
    napi, other = added(softirq, Poller()), scheduled(softirq, Poller(5))
    fired = []
    clock.call_later(10, lambda: fired.append(clock.monotonic_ns()))
    napi_busy_loop(napi, times(3, lambda: clock.advance(5)))
    assert (other.packets, fired) == (5, [10])


def test_what_a_poll_or_the_condition_raises_comes_out_when_all_is_in_order(softirq):
    class Broken(Poller):
        def on_poll(self, budget):
            if self.polls == 1:
                raise KeyError("ring")
            return super().on_poll(budget)

    napi = added(softirq, Broken())
    with pytest.raises(KeyError, match="ring"):
        napi_busy_loop(napi, times(5))
    with pytest.raises(ZeroDivisionError):
        napi_busy_loop(napi, lambda: 1 / 0)
    assert napi.state == 0
    napi.disable()


def test_inside_the_softirq_it_is_refused(softirq):
    napi = added(softirq, Poller())

    class Waiting(Poller):
        def on_poll(self, budget):
            napi_busy_loop(napi)

    scheduled(softirq, Waiting())
    with pytest.raises(OSError, match="runs inside it") as error:
        softirq.net_rx_action()
    assert error.value.errno == errno.EDEADLK


def test_a_budget_of_nothing_is_refused(softirq):
    with pytest.raises(ValueError, match="at least 1"):
        napi_busy_loop(added(softirq, Poller()), budget=0)


# --- prefer_busy_poll


def preferring(softirq, *, defer=1):
    device = Device(softirq)
    device.gro_flush_timeout, device.defer_hard_irqs = TIMEOUT, defer
    return device


def test_preferred_one_busy_poll_follows_the_other_without_an_interrupt(softirq, clock):
    device = preferring(softirq)
    for _ in range(5):
        device.arrive(3)
        napi_busy_loop(device, times(2), prefer_busy_poll=True)
        clock.advance(TIMEOUT - 1)
    assert [event for event in device.events if event in ("irq True", "unmask")] == []
    assert (device.packets, device.masked) == (15, True)  # masked once, by an interrupt that could not schedule
    for _ in range(3):
        clock.advance(TIMEOUT)
        softirq.net_rx_action()
    assert (device.masked, device.state) == (False, 0)  # nobody came in time: interrupts again


def test_preferred_what_the_last_poll_leaves_waits_for_the_timer(softirq, clock):
    device = preferring(softirq)
    device.backlog = 50
    assert napi_busy_loop(device, prefer_busy_poll=True) == 16
    assert (device.state, softirq.work_pending, clock.next_deadline) == (0, False, TIMEOUT)
    clock.advance(TIMEOUT)
    softirq.net_rx_action()
    assert device.packets == 50


def test_preferred_the_softirq_gives_way_after_a_full_poll(softirq, clock):
    device = preferring(softirq)
    device.backlog = 200
    device.napi_schedule()
    assert napi_busy_loop(device, prefer_busy_poll=True) == 0  # it was the softirq's, and was marked
    assert (device.packets, device.state, softirq.work_pending) == (64, 0, False)
    assert napi_busy_loop(device, times(10), prefer_busy_poll=True) > 0  # before the timer
    for _ in range(5):
        clock.advance(TIMEOUT)
        softirq.net_rx_action()
    assert (device.packets, device.state) == (200, 0)


def test_preferred_without_a_timer_the_softirq_goes_on(softirq):
    device = Device(softirq)
    device.backlog = 200
    device.napi_schedule()
    napi_busy_loop(device, prefer_busy_poll=True)
    while softirq.work_pending:
        softirq.net_rx_action()
    assert (device.packets, device.state & PREFER_BUSY_POLL) == (200, 0)
