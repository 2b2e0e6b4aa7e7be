"""NAPI's control plane: enable and disable, add and remove, and threads other than the softirq's."""

import errno
import gc
import threading
import time
import weakref
from types import SimpleNamespace

import pytest
from napi_poller import Poller, added, scheduled

from fastring.clock import MonotonicClock
from fastring.napi import Napi
from fastring.softirq import Softirq


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
    assert napi.napi_complete_done(0) is False      # something may have been refused meanwhile
    softirq.net_rx_action()
    assert napi.napi_complete_done(0) is True
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


class Held(Poller):
    """Its first poll waits in the middle, until disable() looks at the clock for the last time: then both go on in turn."""

    def __init__(self, monkeypatch):
        super().__init__()
        self.polling, self.no_time_left, self.done, self.gave_up = (threading.Event() for _ in range(4))
        looks = iter((lambda: 0.0, self.last_look))
        monkeypatch.setattr("fastring.napi.time", SimpleNamespace(monotonic=lambda: next(looks)(), sleep=time.sleep))

    def last_look(self):
        self.no_time_left.set()
        assert self.done.wait(5)
        return 10.0

    def on_poll(self, budget):
        if self.polls == 0:
            self.polling.set()
            assert self.no_time_left.wait(5)
            self.in_the_middle()
        return super().on_poll(budget)


def test_disable_that_sees_the_poll_complete_at_the_last_moment_has_succeeded(running, monkeypatch):
    class Late(Held):
        def in_the_middle(self):
            self.unmasked.append(self.napi_complete_done(0))
            self.done.set()

    napi = scheduled_and_polling(running, Late(monkeypatch))
    napi.disable()          # to raise would be to leave it enabled, but what was scheduled since it completed was refused
    assert napi.disabled
    assert napi.unmasked[0] is True


def test_what_disable_refused_before_it_gave_up_is_polled_for(running, monkeypatch):
    class Late(Held):
        def in_the_middle(self):
            self.refused = not self.napi_schedule()
            self.done.set()
            assert self.gave_up.wait(5)

    napi = scheduled_and_polling(running, Late(monkeypatch))
    with pytest.raises(TimeoutError, match="did not complete"):
        napi.disable()
    monkeypatch.undo()
    napi.gave_up.set()
    napi.disable()
    assert (napi.refused, napi.unmasked) == (True, [False, True])


def scheduled_and_polling(softirq, napi):
    scheduled(softirq, napi)
    assert napi.polling.wait(5)
    return napi


def test_napis_come_and_go_while_the_other_thread_polls(running):
    steady = scheduled(running, Poller(10**9))
    for _ in range(200):
        napi = scheduled(running, Poller(3))
        napi.disable()
        running.remove(napi)  # the run that polled it has counted, too
        assert napi.packets == 3
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
