"""NAPI's state bits and the softirq's budget loop."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from napi_poller import Poller, added, scheduled

from fastring.clock import VirtualClock
from fastring.irq import IrqLine
from fastring.napi import Napi
from fastring.softirq import Softirq

SCHED, MISSED = 1, 2


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
