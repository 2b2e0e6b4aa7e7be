"""A device's NAPIs: threaded mode and the interrupts' delay in sysfs, busy polling by number, ksoftirqd; on our card, too."""

import errno
import threading
import time
from contextlib import ExitStack

import pytest
from control import new_device

from e1000.bus import LocalBus
from e1000.device import DeviceThread, E1000Device
from e1000.driver import probe, remove
from fastring.burst import Burst, BurstSink
from fastring.clock import VirtualClock
from fastring.napi import Napi
from fastring.wire import pair
from softnet import Stack
from softnet.netdev_napi import napi_busy_loop

THREADS = ("napi/", "ksoftirqd/")


def kthreads():
    return sorted(thread.name for thread in threading.enumerate() if thread.name.startswith(THREADS))


def until(condition):
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.0001)


class Sink(BurstSink):
    """Notes what comes, and by which thread."""

    def __init__(self):
        self.packets, self.threads = [], set()

    def on_burst(self, burst):
        self.packets += list(burst)
        self.threads.add(threading.current_thread().name)


class Cards:
    """Two cards on a cable and their devices; what arrives at the second is in `sink`."""

    def __init__(self, undo, *, threaded=False):
        clock = None if threaded else VirtualClock(start=10**9)
        self.stack = undo.enter_context(Stack(clock=clock, threaded=threaded))
        self.cards = [undo.enter_context(E1000Device(wire=wire)) for wire in pair()]
        self.near, self.far = (probe(undo.enter_context(LocalBus(card)), self.stack, rx_usecs=0) for card in self.cards)
        self.sink = self.far.sink = Sink()
        for device in (self.near, self.far):
            undo.callback(remove, device)
            device.register()
            device.open()

    def send(self, count):
        """Send so many packets, and wait until they have arrived."""
        packets = [self.far.dev_addr + self.near.dev_addr + b"\x88\xb5" + number.to_bytes(4, "big") + bytes(50) for number in range(count)]
        wanted = self.sink.packets + packets
        assert self.near.xmit(Burst.from_packets(packets)) == count

        def arrived():
            self.stack.run()
            return len(self.sink.packets) >= len(wanted)

        until(arrived)
        assert self.sink.packets == wanted


@pytest.fixture
def cards():
    with ExitStack() as undo:
        yield Cards(undo)
    assert kthreads() == []


@pytest.fixture
def device():
    with Stack(clock=VirtualClock()) as stack:
        yield new_device(stack)


def refusal(device, path, value):
    with pytest.raises(OSError, match=r".") as error:
        device.sysfs[path] = value
    return error.value.errno


def test_threaded_is_set_and_shown_while_it_runs_and_goes_with_stop(cards):
    far = cards.far
    name = f"napi/{far.name}-{far.napi_list[0].napi_id}"
    assert far.sysfs["threaded"] == "0"
    cards.send(300)
    assert cards.sink.threads == {"MainThread"}
    far.sysfs["threaded"] = "1"
    assert (far.sysfs["threaded"], kthreads()) == ("1", [name])
    cards.sink.threads.clear()
    cards.send(300)
    assert cards.sink.threads == {name}
    far.stop()
    assert kthreads() == []
    far.open()
    assert kthreads() == [name]
    far.sysfs["threaded"] = "0"
    cards.sink.threads.clear()
    cards.send(300)
    assert cards.sink.threads == {"MainThread"}


def test_both_ends_threaded_carry_everything_in_order(cards):
    for device in (cards.near, cards.far):
        device.threaded = True
    assert len(kthreads()) == 2
    cards.send(5000)
    stats = cards.far.stats64
    assert (stats.rx_packets, stats.rx_dropped) == (5000, 0)


def test_threads_that_preempt_carry_everything_beside_a_device_thread():
    with ExitStack() as undo:
        cards = Cards(undo, threaded=True)
        for device in (cards.near, cards.far):
            device.threaded = True
        assert len(kthreads()) == 3
        with DeviceThread(cards.cards):
            for _ in range(5):
                cards.send(1000)
            for device in (cards.far, cards.near):
                device.stop()
        assert cards.sink.threads == {f"napi/{cards.far.name}-{cards.far.napi_list[0].napi_id}"}
        assert kthreads() == ["ksoftirqd/0"]
    assert kthreads() == []


def test_a_device_that_is_not_registered_yet_names_its_thread_when_it_has_a_name():
    with ExitStack() as undo:
        stack = undo.enter_context(Stack(clock=VirtualClock()))
        device = probe(undo.enter_context(LocalBus(undo.enter_context(E1000Device()))), stack, name="lan%d")
        device.threaded = True
        with device:
            assert kthreads() == ["napi/lan0-8193"]
        remove(device)


def test_threaded_needs_a_napi_and_a_yes_or_no(device, cards):
    device.register()
    assert refusal(device, "threaded", "1") == errno.EOPNOTSUPP
    assert refusal(cards.far, "threaded", "2") == errno.EOPNOTSUPP
    assert refusal(cards.far, "threaded", "x") == errno.EINVAL
    assert cards.far.sysfs["threaded"] == "0"


def test_if_a_thread_cannot_be_started_none_is(cards, monkeypatch):
    def refuse(thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert refusal(cards.far, "threaded", "1") == errno.EAGAIN
    assert cards.far.sysfs["threaded"] == "0"
    monkeypatch.undo()
    cards.send(10)
    assert kthreads() == []


def test_the_delays_are_written_and_shown_and_reach_the_napis(device):
    napi = Napi()
    device.napi_add(napi)
    device.register()
    device.sysfs["gro_flush_timeout"] = "20000\n"
    device.sysfs["napi_defer_hard_irqs"] = "2"
    assert (device.sysfs["gro_flush_timeout"], device.sysfs["napi_defer_hard_irqs"]) == ("20000", "2")
    assert (napi.gro_flush_timeout, napi.defer_hard_irqs) == (20000, 2)
    assert refusal(device, "napi_defer_hard_irqs", str(2**31)) == errno.ERANGE
    device.sysfs["gro_flush_timeout"] = str(2**64 - 1)  # an unsigned long, whatever it means
    assert device.sysfs["gro_flush_timeout"] == str(2**64 - 1)
    assert refusal(device, "gro_flush_timeout", "-1") == errno.EINVAL


def test_our_cards_interrupts_are_deferred(cards):
    far = cards.far
    far.gro_flush_timeout, far.napi_defer_hard_irqs = 10_000, 3
    before = far.netdev_ops.napi.interrupts
    for _ in range(20):
        cards.send(5)
        cards.stack.clock.advance(10_000)
    assert far.netdev_ops.napi.interrupts == before + 1  # all the others were polled for by the timer
    for _ in range(5):
        cards.stack.clock.advance(10_000)
        cards.stack.run()
    unmasked = far.netdev_ops.napi.interrupts
    cards.send(5)
    assert far.netdev_ops.napi.interrupts == unmasked + 1


def test_our_card_is_busy_polled_without_its_interrupt_being_unmasked(cards):
    far, napi = cards.far, cards.far.netdev_ops.napi
    packets = [far.dev_addr + cards.near.dev_addr + b"\x88\xb5" + bytes(50)] * 100
    before = napi.interrupts
    rounds = iter(range(1000))

    def loop_end():
        if next(rounds) % 10 == 0 and len(cards.sink.packets) < 100:
            done = len(cards.sink.packets)
            cards.near.xmit_target.xmit(Burst.from_packets(packets[done : done + 5]))
        return len(cards.sink.packets) >= 100

    assert napi_busy_loop(cards.stack, napi.napi_id, loop_end) == 100
    assert napi.interrupts <= before + 1
    assert (napi.scheduled, napi.busy_packets) == (False, 100)
    cards.send(10)
    assert napi.interrupts > before  # and is unmasked afterwards


def frames(cards, count, length=60):
    return Burst.from_packets([cards.far.dev_addr + cards.near.dev_addr + b"\x88\xb5" + bytes(length - 14)] * count)


def test_bursts_one_after_another_know_what_changed_in_between(cards):
    near = cards.near
    long = frames(cards, 3, 2000)
    assert [near.xmit(frames(cards, 2)), near.xmit(long), near.stats64.tx_dropped] == [2, 0, 3]
    for device in (cards.far, near):
        device.mtu = 4000
    assert [near.xmit(long), near.xmit(long), near.stats64.tx_dropped] == [3, 3, 3]
    near.stop()
    with pytest.raises(OSError, match="is down"):
        near.xmit(long)
    near.open()
    assert near.xmit(long) == 3


def test_a_burst_sent_from_a_sink_is_counted_by_itself(cards):
    replies = []

    class Replying(BurstSink):
        def on_burst(self, burst):
            if len(replies) < 5:
                replies.append(cards.near.xmit(frames(cards, 7)))

    cards.near.stop()
    cards.near.sink = Replying()
    cards.near.open()
    back = Burst.from_packets([cards.near.dev_addr + cards.far.dev_addr + b"\x88\xb5" + bytes(46)])
    cards.far.xmit_target.xmit(back)  # it arrives while `near` is at work
    assert cards.near.xmit(frames(cards, 11)) == 11
    cards.stack.run()
    assert replies == [7]
    assert len(cards.sink.packets) == 18


def test_no_napi_of_that_number_is_polled_not_at_all(cards):
    assert napi_busy_loop(cards.stack, 1, lambda: pytest.fail("asked")) == 0


def test_ksoftirqd_takes_over_what_a_run_leaves():
    threads = set()

    class Endless(Napi):
        def on_poll(self, budget):
            threads.add(threading.current_thread().name)
            if self.packets > 300 * 64:
                self.napi_complete_done(0)
                return 0
            return budget

    with Stack(threaded=True) as stack:
        napi = Endless()
        stack.softirq.add(napi)
        napi.enable()
        napi.napi_schedule()
        stack.run()
        until(lambda: not napi.scheduled)
        assert "ksoftirqd/0" in threads
        napi.disable()
        stack.softirq.remove(napi)


def test_without_ksoftirqd_a_run_goes_on_to_the_end():
    class Plenty(Napi):
        def on_poll(self, budget):
            if self.packets > 300 * 64:
                self.napi_complete_done(0)
                return 0
            return budget

    with Stack(clock=VirtualClock()) as stack:
        napi = Plenty()
        stack.softirq.add(napi)
        napi.enable()
        napi.napi_schedule()
        assert stack.run() == 301 * 64
        assert stack.softirq.time_squeezes > 10


def test_what_ksoftirqd_met_with_the_next_run_raises():
    with Stack(threaded=True) as stack:

        def broken():
            raise KeyError("tap")

        stack.net_tx_action = broken
        stack._scheduled["qdisc"] = None
        stack.ksoftirqd.wake_up()
        until(lambda: stack.ksoftirqd.error is not None)
        stack._scheduled.clear()
        with pytest.raises(KeyError, match="tap"):
            stack.run()
        assert stack.run() == 0
