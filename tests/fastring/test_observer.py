"""Who observes a softirq or timers is told of what happens, in its order; and what it raises is not lost."""

import pytest
from napi_poller import Poller, added

from fastring import clock as clocks
from fastring.clock import VirtualClock
from fastring.irq import IrqLine
from fastring.napi import EVENTS


@pytest.fixture
def told(softirq):
    events = []
    softirq.observer = lambda event, source, value: events.append((event, value))
    yield events
    softirq.observer = None


def test_an_observer_is_told_of_interrupts_and_polls_in_their_order(softirq, told):
    line, napi = IrqLine(), added(softirq, Poller(3, weight=16))

    def handler():
        line.lower_irq()
        napi.napi_schedule()

    line.request_irq(handler)
    softirq.add_irq(line)
    line.raise_irq()
    softirq.net_rx_action()
    napi.disable()
    softirq.remove(napi)
    softirq.remove_irq(line)
    assert told == [
        ("napi_added", 0), ("napi_enabled", 0), ("irq_added", 0),
        ("irq", 0), ("napi_scheduling", 0), ("irq_done", 1),
        ("napi_poll", 16), ("napi_completing", 3), ("napi_polled", 3),
        ("napi_disabling", 0), ("napi_removed", 0), ("irq_removed", 0),
    ]
    assert {event for event, _ in told} == set(EVENTS)


def test_what_an_observer_raises_the_softirq_raises(softirq):
    napi = added(softirq, Poller(1))

    def refuse(event, source, value):
        if event == "napi_poll":
            raise ValueError("seen")

    softirq.observer = refuse
    napi.napi_schedule()
    with pytest.raises(ValueError, match="seen"):
        softirq.net_rx_action()
    assert napi.polls == 1


def test_a_watcher_of_timers_is_told_when_they_are_armed_and_fire():
    clock, events = VirtualClock(), []

    def watcher(event, timer):
        events.append((event, timer.function, timer.of_clock, timer.when))

    clocks.timer_watchers.append(watcher)
    try:
        clock.call_later(5, callback := lambda: events.append("called"))
        clock.call_later(9, lambda: None).cancel()
        clock.advance(10)
    finally:
        clocks.timer_watchers.remove(watcher)
    timer = (callback, clock, 5)
    assert [events[0], *events[2:]] == [("armed", *timer), ("fired", *timer), "called", ("done", *timer)]
