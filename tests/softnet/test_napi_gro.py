"""GRO in a NAPI's poll: when what is held goes up, and the interrupts that are put off."""

import pytest
from gro_host import Host, tcp

from fastring.napi import Napi
from softnet.gro import Gro

TIMEOUT = 20_000


class Poll(Napi):
    """A driver's poll: what waits in its ring, through GRO. `unmasked`: when interrupts were."""

    def __init__(self, host, weight=64):
        super().__init__(weight)
        self.host, self.ring, self.unmasked = host, [], []

    def on_poll(self, budget):
        work = 0
        while self.ring and work < budget:
            self.host.receive(self.ring.pop(0))
            work += 1
        if work < budget and self.napi_complete_done(work):
            self.unmasked.append(self.host.clock.monotonic_ns() - self.host.began)
        return work


class NapiHost(Host):
    """A Host whose device has a NAPI, that it receives by."""

    def __init__(self, *, weight=64, timeout=0, defer=0):
        super().__init__()
        self.began = self.clock.monotonic_ns()
        self.device.gro_flush_timeout, self.device.napi_defer_hard_irqs = timeout, defer
        self.napi = Poll(self, weight)
        self.device.napi_add(self.napi)
        self.gro = self.napi.gro
        self.napi.enable()

    def interrupt(self, *frames):
        """These frames are in the ring, and the interrupt says so."""
        self.napi.ring += map(bytes, frames)
        self.napi.napi_schedule()
        self.stack.run()

    def later(self, ns):
        self.clock.advance(ns)
        self.stack.run()


def test_without_a_timeout_all_goes_up_when_the_poll_ends():
    host = NapiHost()
    host.interrupt(tcp(0), tcp(1))
    assert (host.payloads(), host.napi.unmasked) == ([200], [0])


def test_a_poll_that_uses_up_its_budget_goes_on_merging():
    host = NapiHost(weight=4)
    host.interrupt(*map(tcp, range(10)))
    assert ([skb.gso_segs for skb in host.up], host.napi.polls, host.napi.unmasked) == ([10], 3, [0])


def test_what_was_held_in_an_earlier_jiffy_goes_up_after_a_full_poll():
    host = NapiHost(weight=1)
    host.receive(tcp(0, sport=9))
    host.clock.advance(1_000_000)
    host.interrupt(tcp(0))
    assert (host.napi.polls, host.payloads()) == (2, [100, 100])


def test_with_a_timeout_it_waits_for_more_until_a_poll_finds_nothing():
    host = NapiHost(timeout=TIMEOUT)
    host.interrupt(tcp(0))
    host.later(TIMEOUT - 1)
    assert host.up == []
    host.interrupt(tcp(1))  # and the timer begins anew
    host.later(TIMEOUT - 1)
    assert host.up == []
    polls = host.napi.polls
    host.later(1)
    assert (host.payloads(), len(host.gro)) == ([200], 0)
    assert host.napi.polls == polls + 1  # the timer schedules, and the poll flushes
    assert host.napi.unmasked == [0, TIMEOUT - 1, 2 * TIMEOUT - 1]


def test_packets_that_came_before_the_timer_are_in_its_poll():
    host = NapiHost(timeout=TIMEOUT)
    host.interrupt(tcp(0))
    host.napi.ring.append(bytes(tcp(1)))  # its interrupt is not there yet
    host.later(TIMEOUT)
    host.later(TIMEOUT)
    assert host.payloads() == [200]


def test_the_timer_leaves_a_scheduled_napi_alone():
    host = NapiHost(timeout=TIMEOUT)
    host.interrupt(tcp(0))
    host.napi.napi_schedule()
    host.clock.advance(TIMEOUT)
    host.stack.run()
    assert host.napi.misses == 0


def test_deferred_interrupts_stay_masked_for_that_many_idle_polls():
    host = NapiHost(timeout=TIMEOUT, defer=2)
    host.interrupt(tcp(0))
    assert host.napi.unmasked == []
    for _ in range(5):
        host.later(TIMEOUT)
    # 20 us: the first poll that finds nothing; 40: the second, and the interrupt is let through.
    assert (host.napi.unmasked, host.napi.polls) == ([2 * TIMEOUT], 3)
    assert host.payloads() == [100]


def test_without_a_timeout_interrupts_cannot_be_deferred():
    host = NapiHost(defer=5)
    host.interrupt(tcp(0))
    assert host.napi.unmasked == [0]


def test_a_miss_is_polled_before_any_timer():
    host = NapiHost(timeout=TIMEOUT)
    host.receive = lambda frame, receive=host.receive: (host.napi.napi_schedule(), receive(frame))
    host.interrupt(tcp(0))
    assert (host.napi.polls, host.napi.misses, host.napi.unmasked) == (2, 1, [0])
    assert host.payloads() == [100]  # the second poll found nothing


def test_what_a_handler_raises_at_the_end_of_a_poll_comes_out_and_loses_nothing():
    host = NapiHost()
    handlers = host.stack.protocols[0x0800]
    up = handlers.pop()

    def broken(skb, device):
        up(skb, device)
        raise KeyError("handler")

    handlers.append(broken)
    host.napi.ring += [bytes(tcp(0)), bytes(tcp(0, sport=5))]
    host.napi.napi_schedule()
    with pytest.raises(KeyError, match="handler"):
        host.stack.run()
    assert (host.payloads(), len(host.gro), host.napi.unmasked, host.napi.scheduled) == ([100, 100], 0, [0], False)


def test_a_stopped_device_drops_what_its_gro_holds():
    host = NapiHost(timeout=TIMEOUT)
    host.interrupt(tcp(0), tcp(1), tcp(2))
    host.napi.disable()
    host.device.stop()
    host.later(TIMEOUT)
    assert (host.up, len(host.gro), host.gro.stats.dropped, host.clock.next_deadline) == ([], 0, 3, None)


def test_each_napi_has_a_gro_of_its_own_and_the_devices_settings():
    host = NapiHost(timeout=TIMEOUT, defer=3)
    second = Poll(host)
    host.device.napi_add(second)
    assert host.napi.gro is host.device.gro
    assert isinstance(second.gro, Gro)
    assert second.gro is not host.gro
    assert (second.gro_flush_timeout, second.defer_hard_irqs, second.gro.napi) == (TIMEOUT, 3, second)
    host.device.gro_flush_timeout = 7
    assert (host.napi.gro_flush_timeout, second.gro_flush_timeout) == (7, 7)


def test_a_freed_device_lets_go_of_its_napis():
    host = NapiHost()
    host.napi.disable()
    host.device.unregister()
    host.device.free()
    assert (host.device.napi_list, host.napi.napi_id, host.napi.gro, host.gro.napi) == ([], 0, None, None)


def run(seed):
    """What goes up, and when, of streams whose packets come at all sorts of times."""
    host = NapiHost(weight=8, timeout=50_000, defer=2)
    log = []
    host.stack.protocols[0x0800] = [lambda skb, device: log.append((host.clock.monotonic_ns(), skb.gso_segs, bytes(skb)))]
    for step in range(300):
        seed = seed * 1103515245 + 12345 & 0x7FFFFFFF
        for stream in range(seed >> 8 & 3):
            host.napi.ring.append(bytes(tcp(step, sport=1 + stream)))
        if seed >> 12 & 3:
            host.napi.napi_schedule()
        host.later(seed >> 16 & 0x7FFF)
    host.later(10**6)
    return log, host.napi.unmasked, repr(host.napi), host.gro.stats


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_on_a_virtual_clock_a_run_is_the_same_twice(seed):
    first, second = run(seed), run(seed)
    assert first == second
    assert max(segments for _, segments, _ in first[0]) > 1
    assert first[3].held + first[3].merged == sum(max(1, segments) for _, segments, _ in first[0])
