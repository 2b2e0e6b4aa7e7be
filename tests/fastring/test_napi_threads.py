"""Threaded NAPI, ksoftirqd's part and Kthread: on one CPU that is given in turn, and on one that is taken."""

import errno
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from napi_poller import Poller, added, scheduled

from fastring.clock import MonotonicClock, VirtualClock
from fastring.kthread import Kthread
from fastring.softirq import Softirq

SCHED, MISSED, NPSVC, THREADED, SCHED_THREADED = 1, 2, 8, 256, 512
NAME = "napi/eth0-8193"


def until(condition):
    """Wait for another thread, five seconds at most."""
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.0001)


def until_idle(softirq, napi):
    """Run the softirq until this NAPI is not scheduled any more; with preemption a run has nothing to do with it."""

    def idle():
        softirq.net_rx_action()
        return not napi.scheduled

    until(idle)


class Telling(Poller):
    """Notes by which thread it was polled."""

    def on_poll(self, budget):
        self.threads = [*getattr(self, "threads", []), threading.current_thread().name]
        return super().on_poll(budget)


def threaded(softirq, napi):
    softirq.add(napi)
    napi.set_threaded(NAME)
    napi.enable()
    return napi


@pytest.fixture(params=[False, True], ids=["in turn", "preempting"])
def any_softirq(request):
    return Softirq(MonotonicClock(), preempt=request.param)


# --- Kthread


def test_a_thread_sleeps_until_it_is_woken_and_bears_its_name():
    turns = []
    comm = Path("/proc/thread-self/comm")
    thread = Kthread("napi/eth0-8193-long", lambda: turns.append((threading.current_thread().name, comm.read_text())))
    thread.start()
    assert (turns, thread.running) == ([], True)
    thread.wake_up()
    until(lambda: turns)
    thread.stop()
    assert turns == [("napi/eth0-8193-long", "napi/eth0-8193-\n")]
    assert not [each for each in threading.enumerate() if each.name.startswith("napi/")]
    thread.stop()


def test_a_thread_woken_in_its_turn_has_another():
    turns = []

    def turn():
        turns.append(len(turns))
        if len(turns) < 5:
            thread.wake_up()

    thread = Kthread("worker", turn)
    thread.wake_up()  # not started yet: kept
    thread.start()
    until(lambda: len(turns) == 5)
    thread.stop()
    assert turns == [0, 1, 2, 3, 4]


def test_a_thread_keeps_what_its_work_raised_and_goes_on():
    thread = Kthread("worker", lambda: 1 / 0)
    thread.start()
    for _ in range(2):
        thread.wake_up()
        until(lambda: thread.error is not None)
        assert isinstance(thread.error, ZeroDivisionError)
        thread.error = None
    thread.stop()


def test_a_thread_is_started_once_and_cannot_wait_for_itself():
    errors = []

    def turn():
        try:
            thread.stop()
        except RuntimeError as error:
            errors.append(str(error))

    thread = Kthread("worker", turn)
    thread.start()
    with pytest.raises(RuntimeError, match="runs already"):
        thread.start()
    thread.wake_up()
    until(lambda: errors)
    thread.stop()
    assert "own end" in errors[0]


# --- threaded NAPI


def test_its_own_thread_polls_it(any_softirq):
    napi = threaded(any_softirq, Telling(200))
    assert (napi.threaded, napi.thread.name, napi.state) == (True, NAME, THREADED)
    napi.napi_schedule()
    until_idle(any_softirq, napi)
    assert napi.packets == 200
    assert set(napi.threads) == {NAME}
    assert (napi.unmasked, napi.state) == ([True], THREADED)
    napi.disable()
    assert (napi.thread, napi.state) == (None, SCHED | NPSVC)
    assert NAME not in [thread.name for thread in threading.enumerate()]


def test_without_preemption_a_run_ends_when_the_thread_is_done_within_the_same_budget():
    softirq = Softirq(VirtualClock(), budget=100)
    napi = threaded(softirq, Telling(300))
    napi.napi_schedule()
    assert napi.state == SCHED | THREADED | SCHED_THREADED
    assert not getattr(napi, "threads", [])
    assert [softirq.net_rx_action() for _ in range(4)] == [128, 128, 44, 0]
    assert softirq.time_squeezes == 2
    napi.disable()


def test_without_preemption_the_order_is_that_of_the_softirq(softirq):
    log = []
    for name in "abc":
        threaded(softirq, Poller(65, name=name, log=log)).napi_schedule()
    scheduled(softirq, Poller(65, name="d", log=log))
    softirq.net_rx_action()
    assert "".join(log) == "abcdabcd"
    for napi_id in range(8193, 8196):
        softirq.napi_by_id(napi_id).disable()


def test_with_preemption_it_is_polled_without_a_run():
    softirq = Softirq(MonotonicClock(), preempt=True)
    napi = threaded(softirq, Telling(1000))
    napi.napi_schedule()
    until(lambda: napi.packets == 1000)
    assert softirq.runs == 0
    napi.disable()


def test_it_is_switched_while_it_runs(any_softirq):
    napi = added(any_softirq, Telling(1))
    for mode in (None, NAME, None, NAME):
        napi.set_threaded(mode)
        napi.threads, napi.backlog = [], 1
        napi.napi_schedule()
        until_idle(any_softirq, napi)
        assert napi.threads == [mode or "MainThread"]
    napi.disable()
    napi.enable()
    assert (napi.thread.name, napi.state) == (NAME, THREADED)
    napi.disable()


def test_disabled_before_it_is_threaded_it_gets_its_thread_with_enable(any_softirq):
    napi = Telling(1)
    any_softirq.add(napi)
    napi.set_threaded(NAME)
    assert napi.thread is None
    napi.enable()
    assert napi.thread.running
    napi.disable()
    napi.set_threaded(None)
    napi.enable()
    assert napi.thread is None
    napi.disable()


def test_disable_waits_for_the_thread_however_much_there_is(any_softirq):
    for _ in range(20):
        napi = threaded(any_softirq, Poller(10**9))
        napi.napi_schedule()
        napi.disable()
        assert (napi.disabled, napi.thread) == (True, None)
        any_softirq.remove(napi)
    assert any_softirq.net_rx_action() == 0


def test_what_its_poll_raises_comes_out_of_the_next_run(any_softirq):
    class Broken(Poller):
        def on_poll(self, budget):
            raise KeyError("ring")

    napi = threaded(any_softirq, Broken())
    napi.napi_schedule()
    with pytest.raises(KeyError, match="ring"):
        until(any_softirq.net_rx_action)
    assert not napi.scheduled
    napi.disable()


def test_inside_its_poll_it_is_in_the_softirq_and_cannot_be_disabled(any_softirq):
    class Suicidal(Poller):
        def on_poll(self, budget):
            if not self.polls:
                self.inside = any_softirq.in_softirq
                self.disable()
            return super().on_poll(budget)

    napi = threaded(any_softirq, Suicidal())
    napi.napi_schedule()
    any_softirq.run_ksoftirqd()
    until(lambda: napi.error is not None)
    assert (napi.inside, napi.error.errno, any_softirq.in_softirq) == (True, errno.EDEADLK, False)
    napi.disable()


@pytest.mark.parametrize("preempt", [False, True], ids=["in turn", "preempting"])
def test_its_timer_is_armed_on_the_clocks_thread(preempt):
    clock = MonotonicClock()
    softirq = Softirq(clock, preempt=preempt)
    napi = threaded(softirq, Poller(1))
    napi.defer_hard_irqs, napi.gro_flush_timeout = 1, 1000
    softirq.net_rx_action()  # this is the thread
    napi.napi_schedule()

    def polled_twice():
        clock.fire_due()
        softirq.net_rx_action()
        return napi.polls == 2 and not napi.scheduled

    until(polled_twice)
    assert napi.unmasked == [False, True]
    napi.disable()


def test_ksoftirqd_runs_what_is_left():
    softirq = Softirq(MonotonicClock(), budget=64, preempt=True)
    napi = scheduled(softirq, Telling(64 * 50))
    softirq.net_rx_action()
    assert (napi.packets, softirq.work_pending) == (64, True)

    def rest():
        while softirq.run_ksoftirqd():
            pass

    thread = Kthread("ksoftirqd/0", rest)
    thread.start()
    thread.wake_up()
    until(lambda: napi.packets == 64 * 50)
    thread.stop()
    assert set(napi.threads) == {"MainThread", "ksoftirqd/0"}
    napi.disable()  # the softirq is still this thread's


def test_numbers_are_not_used_again(softirq):
    first, second = Poller(), Poller()
    softirq.add(first)
    softirq.add(second)
    assert (first.napi_id, second.napi_id) == (8193, 8194)
    softirq.remove(second)
    softirq.add(second)
    assert (second.napi_id, softirq.napi_by_id(8194), softirq.napi_by_id(8195)) == (8195, None, second)


# --- races


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="on a single core hardly anything meets")
@pytest.mark.parametrize("preempt", [False, True], ids=["in turn", "preempting"])
def test_no_event_is_lost_between_who_schedules_and_a_thread_that_completes(napi_race, preempt):
    softirq = Softirq(MonotonicClock(), preempt=preempt)
    napi = napi_race.Events(64)
    threaded(softirq, napi)
    stop = threading.Event()

    def run():
        while not stop.is_set():
            if softirq.work_pending:
                softirq.net_rx_action()

    with ThreadPoolExecutor(1) as pool:
        runner = None if preempt else pool.submit(run)
        try:
            lost = napi.produce(30_000 if preempt else 300)
        finally:
            stop.set()
            if runner is not None:
                runner.result()
    assert lost == 0
    assert min(napi.misses, napi.completions) > 10
    napi.disable()
