"""NAPI's state bits and the softirq's budget loop."""

import errno
import gc
import threading
import time
import weakref

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastring.clock import MonotonicClock, VirtualClock
from fastring.irq import IrqLine
from fastring.napi import Napi, Softirq

SCHED, MISSED = 1, 2


class Poller(Napi):
    """Receives `backlog` packets; completes when it finds less than its budget, as the contract asks."""

    def __init__(self, backlog=0, *, weight=64, name=None, log=None):
        super().__init__(weight)
        self.backlog, self.name, self.log, self.unmasked, self.budgets = backlog, name, log, [], []

    def on_poll(self, budget):
        self.budgets.append(budget)
        if self.log is not None:
            self.log.append(self.name)
        work = min(budget, self.backlog)
        self.backlog -= work
        if work < budget:
            self.unmasked.append(self.napi_complete_done(work))
        return work


@pytest.fixture
def clock():
    return VirtualClock()


@pytest.fixture
def softirq(clock):
    return Softirq(clock)


def added(softirq, napi):
    softirq.add(napi)
    napi.enable()
    return napi


def scheduled(softirq, napi):
    assert added(softirq, napi).napi_schedule()
    return napi


# --- schedule and complete


def test_an_idle_napi_is_not_polled(softirq):
    napi = added(softirq, Poller(5))
    assert softirq.net_rx_action() == 0
    assert (napi.polls, softirq.runs) == (0, 1)


def test_a_scheduled_napi_is_polled_with_its_weight_and_completes(softirq):
    napi = scheduled(softirq, Poller(5, weight=16))
    assert softirq.work_pending
    assert softirq.net_rx_action() == 5
    assert (napi.budgets, napi.unmasked, napi.state) == ([16], [True], 0)
    assert (napi.polls, napi.packets, napi.completions) == (1, 5, 1)
    assert not softirq.work_pending


def test_scheduling_a_scheduled_napi_sets_missed_and_says_no(softirq):
    napi = scheduled(softirq, Poller())
    assert napi.napi_schedule() is False
    assert napi.state == SCHED | MISSED


def test_after_a_miss_complete_says_no_and_it_is_polled_again(softirq):
    napi = scheduled(softirq, Poller(5))
    napi.napi_schedule()
    assert softirq.net_rx_action() == 5
    assert napi.unmasked == [False, True]
    assert (napi.polls, napi.misses, napi.completions, napi.state) == (2, 1, 1, 0)


def test_an_interrupt_during_the_poll_is_a_miss_not_a_loss(softirq):
    class Interrupted(Poller):
        def on_poll(self, budget):
            if not self.polls:
                assert self.napi_schedule() is False
            return super().on_poll(budget)

    napi = scheduled(softirq, Interrupted(1))
    softirq.net_rx_action()
    assert napi.unmasked == [False, True]


def test_work_equal_to_weight_touches_nothing_and_is_polled_again(softirq):
    napi = scheduled(softirq, Poller(64 + 3))
    assert softirq.net_rx_action() == 67
    assert (napi.polls, napi.unmasked) == (2, [True])


def test_complete_without_being_scheduled_says_no(softirq):
    assert added(softirq, Poller()).napi_complete_done(0) is False


def test_a_poll_that_never_completes_is_left_alone(softirq):
    class Forgetful(Napi):
        def on_poll(self, budget):
            return 1

    napi = scheduled(softirq, Forgetful())
    softirq.net_rx_action()
    softirq.net_rx_action()
    assert (napi.polls, napi.scheduled) == (1, True)


@pytest.mark.parametrize(("claimed", "counted"), [(65, 64), (10**6, 64), (-1, 0)])
def test_a_poll_that_claims_the_impossible_is_clamped_and_counted(softirq, claimed, counted):
    class Liar(Napi):
        def on_poll(self, budget):
            self.napi_complete_done(0)
            return claimed

    napi = scheduled(softirq, Liar())
    assert softirq.net_rx_action() == counted
    assert (napi.overruns, napi.packets, napi.scheduled) == (1, counted, False)


def test_what_on_poll_raises_comes_out_and_ends_its_polling(softirq):
    class Broken(Napi):
        def on_poll(self, budget):
            raise KeyError("ring")

    napi, other = scheduled(softirq, Broken()), scheduled(softirq, Poller(2))
    with pytest.raises(KeyError, match="ring"):
        softirq.net_rx_action()
    assert (napi.scheduled, other.packets) == (False, 2)
    assert softirq.net_rx_action() == 0


def test_a_napi_that_overrides_nothing_says_so(softirq):
    scheduled(softirq, Napi())
    with pytest.raises(NotImplementedError, match="on_poll"):
        softirq.net_rx_action()


# --- the budget loop


def test_napis_are_polled_first_in_first_out_and_leftovers_go_to_the_tail(softirq):
    log = []
    for name, backlog in (("a", 64 * 2), ("b", 10), ("c", 64)):
        scheduled(softirq, Poller(backlog, name=name, log=log))
    softirq.net_rx_action()
    assert log == ["a", "b", "c", "a", "c", "a"]


def test_the_budget_ends_a_run_and_the_rest_waits_for_the_next(clock):
    softirq = Softirq(clock, budget=100)
    napi = scheduled(softirq, Poller(1000, weight=32))
    assert softirq.net_rx_action() == 128       # four polls: the last one may overshoot
    assert (softirq.time_squeezes, napi.scheduled, softirq.work_pending) == (1, True, True)
    assert softirq.net_rx_action() == 128
    assert napi.packets == 256


def test_a_run_that_ends_with_its_work_is_not_squeezed(clock):
    softirq = Softirq(clock, budget=64)
    scheduled(softirq, Poller(63))
    softirq.net_rx_action()
    assert softirq.time_squeezes == 0


def test_the_time_limit_ends_a_run(clock):
    class Slow(Poller):
        def on_poll(self, budget):
            clock.advance(1_000_000)
            return super().on_poll(budget)

    softirq = Softirq(clock, budget=10**6, time_limit_us=2000)
    napi = scheduled(softirq, Slow(64 * 10))
    softirq.net_rx_action()
    assert (napi.polls, softirq.time_squeezes) == (2, 1)


def test_a_napi_that_misses_for_ever_cannot_hold_a_run_on_a_still_clock(clock):
    class Stormy(Napi):
        def on_poll(self, budget):
            self.napi_schedule()
            self.napi_complete_done(0)
            return 0

    softirq = Softirq(clock, budget=20)
    napi = scheduled(softirq, Stormy())
    softirq.net_rx_action()
    assert (napi.polls, softirq.time_squeezes) == (20, 1)


@pytest.mark.parametrize("options", [{"budget": 0}, {"time_limit_us": 0}])
def test_a_budget_or_time_limit_of_nothing_is_refused(clock, options):
    with pytest.raises(ValueError, match="at least 1"):
        Softirq(clock, **options)


def test_a_weight_of_nothing_is_refused():
    with pytest.raises(ValueError, match="at least 1"):
        Napi(0)


@given(st.lists(st.tuples(st.integers(0, 300), st.integers(1, 64)), max_size=8), st.integers(1, 400))
def test_every_packet_is_received_once_whatever_the_budget(pollers, budget):
    softirq = Softirq(VirtualClock(), budget=budget)
    napis = [scheduled(softirq, Poller(backlog, weight=weight)) for backlog, weight in pollers]
    received, runs = 0, 0
    while softirq.work_pending:
        received += softirq.net_rx_action()
        runs += 1
    assert received == sum(backlog for backlog, _ in pollers)
    assert [napi.packets for napi in napis] == [backlog for backlog, _ in pollers]
    assert all(napi.state == 0 for napi in napis)
    assert softirq.time_squeezes == max(runs - 1, 0)


# --- interrupts


def test_a_run_services_the_lines_that_are_up_before_it_polls(softirq):
    line, napi = IrqLine(), added(softirq, Poller(3))
    softirq.add_irq(line)

    def handler():
        line.lower_irq()
        napi.napi_schedule()

    line.request_irq(handler)
    line.raise_irq()
    assert softirq.work_pending
    assert softirq.net_rx_action() == 1 + 3
    assert not softirq.work_pending


def test_interrupts_are_serviced_between_polls(softirq):
    line, log = IrqLine(), []
    softirq.add_irq(line)

    class Raising(Poller):
        def on_poll(self, budget):
            line.raise_irq()
            return super().on_poll(budget)

    def handler():
        line.lower_irq()
        log.append("irq")

    line.request_irq(handler)
    scheduled(softirq, Raising(64, name="poll", log=log))
    softirq.net_rx_action()
    assert log == ["poll", "irq", "poll", "irq"]


def test_a_line_nobody_lowers_is_handled_again_each_time_but_holds_no_run(softirq):
    line = IrqLine()
    softirq.add_irq(line)
    line.request_irq(lambda: None)
    line.raise_irq()
    assert softirq.net_rx_action() == 1
    assert softirq.net_rx_action() == 1


def test_what_a_handler_raises_comes_out_of_the_run(softirq):
    line = IrqLine()
    softirq.add_irq(line)
    line.request_irq(lambda: 1 / 0)
    line.raise_irq()
    with pytest.raises(ZeroDivisionError):
        softirq.net_rx_action()


def test_a_removed_line_is_not_serviced(softirq):
    lines = [IrqLine() for _ in range(3)]
    for line in lines:
        softirq.add_irq(line)
        line.request_irq(line.lower_irq)
        line.raise_irq()
    softirq.remove_irq(lines[1])
    assert softirq.net_rx_action() == 2
    assert [line.asserted for line in lines] == [False, True, False]


def test_a_handler_may_remove_its_own_line(softirq):
    line = IrqLine()
    softirq.add_irq(line)
    line.request_irq(lambda: softirq.remove_irq(line))
    line.raise_irq()
    assert softirq.net_rx_action() == 1
    assert softirq.net_rx_action() == 0


def test_lines_are_added_once_and_removed_once(softirq):
    line = IrqLine()
    softirq.add_irq(line)
    with pytest.raises(ValueError, match="already"):
        softirq.add_irq(line)
    softirq.remove_irq(line)
    with pytest.raises(ValueError, match="not serviced here"):
        softirq.remove_irq(line)


# --- enable, disable, add, remove


def test_a_new_napi_is_disabled_and_cannot_be_scheduled(softirq):
    napi = Poller()
    assert (napi.disabled, napi.napi_schedule()) == (True, False)
    softirq.add(napi)
    assert napi.napi_schedule() is False
    assert not softirq.work_pending


def test_enable_needs_a_softirq_and_a_disabled_napi(softirq):
    napi = Poller()
    with pytest.raises(RuntimeError, match=r"after Softirq\.add"):
        napi.enable()
    added(softirq, napi)
    with pytest.raises(RuntimeError, match="not disabled"):
        napi.enable()
    napi.napi_schedule()
    with pytest.raises(RuntimeError, match="not disabled"):
        napi.enable()


def test_disable_of_an_idle_napi_keeps_it_from_being_scheduled(softirq):
    napi = added(softirq, Poller(5))
    napi.disable()
    assert napi.napi_schedule() is False
    assert softirq.net_rx_action() == 0
    napi.enable()
    assert napi.napi_schedule()


def test_disable_runs_what_is_scheduled_to_its_end_first(softirq):
    napi = scheduled(softirq, Poller(5))
    napi.disable()
    assert (napi.packets, napi.disabled) == (5, True)


def test_disable_ends_a_napi_that_always_has_more(softirq):
    napi = scheduled(softirq, Poller(10**9))
    napi.disable()
    assert (napi.polls, napi.disabled) == (1, True)


def test_disable_twice_is_refused(softirq):
    napi = added(softirq, Poller())
    napi.disable()
    with pytest.raises(RuntimeError, match="disabled already"):
        napi.disable()


def test_disable_gives_up_on_a_poll_that_never_completes(softirq):
    class Forgetful(Napi):
        def on_poll(self, budget):
            return 0

    napi = scheduled(softirq, Forgetful())
    with pytest.raises(TimeoutError, match="did not complete"):
        napi.disable(timeout=0.01)
    assert not napi.disabled
    napi.napi_complete_done(0)
    napi.disable(timeout=0.01)


def test_disable_from_inside_its_own_poll_is_a_deadlock_and_refused(softirq):
    class Suicidal(Poller):
        def on_poll(self, budget):
            self.disable()

    napi = scheduled(softirq, Suicidal())
    with pytest.raises(OSError, match="from inside the softirq") as error:
        softirq.net_rx_action()
    assert error.value.errno == errno.EDEADLK
    assert not napi.disabled


def test_only_a_disabled_napi_can_be_removed_and_then_added_elsewhere(softirq, clock):
    napi = added(softirq, Poller())
    with pytest.raises(RuntimeError, match="disable a NAPI"):
        softirq.remove(napi)
    napi.disable()
    with pytest.raises(ValueError, match="does not belong"):
        Softirq(clock).remove(napi)
    with pytest.raises(ValueError, match="belongs to a Softirq"):
        softirq.add(napi)
    softirq.remove(napi)
    other = Softirq(clock)
    other.add(napi)
    napi.enable()


def test_a_napi_cannot_be_removed_from_inside_a_run(softirq):
    idle = added(softirq, Poller())
    idle.disable()

    class Remover(Poller):
        def on_poll(self, budget):
            softirq.remove(idle)

    scheduled(softirq, Remover())
    with pytest.raises(OSError, match="cannot be removed from inside") as error:
        softirq.net_rx_action()
    assert error.value.errno == errno.EDEADLK


def test_many_napis_can_be_added_from_inside_a_run(softirq):
    class Adder(Poller):
        def on_poll(self, budget):
            self.more = [scheduled(softirq, Poller(1)) for _ in range(50)]
            return super().on_poll(budget)

    scheduled(softirq, Adder())
    while softirq.work_pending:
        softirq.net_rx_action()
    assert softirq.net_rx_action() == 0
    assert "51 NAPIs" in repr(softirq)


def test_the_softirq_keeps_its_napis_and_lines_alive_and_lets_go_of_them(clock):
    softirq, napi = Softirq(clock), Poller(3)
    softirq.add(napi)
    napi.enable()
    napi.napi_schedule()
    alive = weakref.ref(napi)
    del napi
    gc.collect()
    assert softirq.net_rx_action() == 3
    del softirq
    gc.collect()
    assert alive() is None


def test_a_run_inside_a_run_does_nothing(softirq):
    class Nested(Poller):
        def on_poll(self, budget):
            self.inner = softirq.net_rx_action()
            return super().on_poll(budget)

    napi, other = scheduled(softirq, Nested(1)), scheduled(softirq, Poller(1))
    assert softirq.net_rx_action() == 2
    assert (napi.inner, other.polls, softirq.runs) == (0, 1, 1)


# --- other threads


@pytest.fixture
def running():
    """A Softirq that another thread runs, on the machine's clock."""
    softirq, stop = Softirq(MonotonicClock()), threading.Event()

    def loop():
        while not stop.is_set():
            softirq.net_rx_action()

    thread = threading.Thread(target=loop)
    thread.start()
    yield softirq
    stop.set()
    thread.join()


def test_disable_waits_for_the_poll_on_the_other_thread(running):
    class Slow(Poller):
        def on_poll(self, budget):
            self.polling = True
            time.sleep(0.02)
            self.polling = False
            return super().on_poll(budget)

    napi = scheduled(running, Slow(1))
    napi.disable()
    assert napi.disabled
    assert not getattr(napi, "polling", False)
    assert napi.packets == 1
    running.remove(napi)


def test_napis_come_and_go_while_the_other_thread_polls(running):
    steady = scheduled(running, Poller(10**9))
    for _ in range(200):
        napi = scheduled(running, Poller(3))
        napi.disable()
        assert napi.packets == 3
        running.remove(napi)
    assert steady.scheduled
    assert steady.packets > 0
    steady.disable()


def test_a_softirq_whose_thread_has_ended_is_run_by_whoever_disables(softirq):
    thread = threading.Thread(target=softirq.net_rx_action)
    thread.start()
    thread.join()
    napi = scheduled(softirq, Poller(5))
    napi.disable()
    assert napi.packets == 5


def test_repr_tells_the_state(softirq):
    napi = Poller()
    assert "disabled" in repr(napi)
    added(softirq, napi)
    assert "idle" in repr(napi)
    napi.napi_schedule()
    assert "scheduled" in repr(napi)
    assert "1 NAPIs" in repr(softirq)
