"""dev_queue_xmit: qdiscs, BUSY, stop and wake, taps, over a driver that takes packets one by one."""

import errno
import sys
import threading
import time
from itertools import groupby

import pytest
from drivers import MAC, RingDriver, make_device
from scapy.layers.inet import TCP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether

from fastring.clock import VirtualClock
from softnet import NETDEV_TX_BUSY, NETDEV_TX_OK, DropReason, NetDevice, SkBuff, Stack, dev_queue_xmit
from softnet.dev_xmit import XMIT_RECURSION_LIMIT
from softnet.netdev_features import Feature
from softnet.sch_generic import NET_XMIT_CN, NET_XMIT_DROP, NET_XMIT_SUCCESS
from softnet.skbuff import GsoType


@pytest.fixture
def stack():
    with Stack(clock=VirtualClock(start=10**9)) as stack:
        yield stack


@pytest.fixture
def driver():
    return RingDriver()


@pytest.fixture
def device(stack, driver):
    device = make_device(stack, driver, bql=False)
    yield device
    device.unregister()


def packets(count, size=60):
    return [bytes([i]) * size for i in range(count)]


def send(device, *contents, **fields):
    skbs = [SkBuff.from_bytes(content, dev=device) for content in contents]
    for skb in skbs:
        for name, value in fields.items():
            setattr(skb, name, value)
    return skbs, [dev_queue_xmit(skb) for skb in skbs]


def test_a_packet_goes_straight_to_the_driver_and_is_freed_when_it_was_sent(device, driver):
    (skb,), results = send(device, b"x" * 60)
    assert results == [NET_XMIT_SUCCESS]
    assert skb.freed is False
    driver.complete()
    assert (driver.sent, skb.freed) == ([b"x" * 60], True)


def test_what_finds_the_ring_full_waits_in_the_queue_and_leaves_in_order(device, driver, stack):
    contents = packets(20)
    _, results = send(device, *contents)
    assert results == [NET_XMIT_SUCCESS] * 20
    assert (len(driver.ring), device.tx[0].qdisc.qlen) == (8, 12)
    while driver.ring:
        driver.complete()
        stack.run()
    assert driver.sent == contents
    assert device.txq.requeues == 0
    assert device.txq.stops == device.txq.wakes > 0


def test_a_packet_answered_with_busy_is_requeued_at_the_head_and_counted(device, driver, stack):
    driver.start_xmit, real = lambda skb, device: NETDEV_TX_BUSY, driver.start_xmit
    device.netdev_ops = driver
    first, second = packets(2)
    send(device, first)
    send(device, second)
    qdisc = device.tx[0].qdisc
    assert (qdisc.qlen, qdisc.requeues >= 1, device.txq.requeues >= 1) == (2, True, True)
    driver.start_xmit = real
    device.netdev_ops = driver
    stack.run()
    driver.complete()
    assert driver.sent == [first, second]


def test_a_full_queue_drops_and_counts(stack, driver):
    device = make_device(stack, driver, bql=False)
    device.stop()
    device.tx_queue_len = 3
    device.open()
    skbs, results = send(device, *packets(14))
    assert results == [NET_XMIT_SUCCESS] * 11 + [NET_XMIT_DROP] * 3
    assert [skb.freed for skb in skbs[11:]] == [DropReason.QDISC_DROP] * 3
    assert device.tx[0].qdisc.drops == 3


def test_taking_it_down_drops_what_waits_and_aborts_what_is_in_flight(device, driver):
    skbs, _ = send(device, *packets(12))
    device.stop()
    assert [skb.freed for skb in skbs] == [DropReason.TX_ABORTED] * 8 + [DropReason.QDISC_REMOVED] * 4
    assert device.stats64.tx_dropped == 4


def test_a_device_that_is_down_takes_nothing(device):
    device.stop()
    (skb,), results = send(device, b"x" * 60)
    assert results == [NET_XMIT_CN]  # noop_enqueue
    assert skb.freed is DropReason.QDISC_DROP
    assert device.stats64.tx_dropped == 1


def test_bands_go_out_by_priority(device, driver, stack):
    send(device, *packets(8))
    send(device, b"bulk" * 15, priority=2)
    send(device, b"best" * 15, priority=0)
    send(device, b"ctrl" * 15, priority=6)
    driver.complete()
    stack.run()
    driver.complete()
    assert driver.sent[8:] == [b"ctrl" * 15, b"best" * 15, b"bulk" * 15]


def test_packets_that_the_byte_limit_lets_in_leave_with_one_doorbell(stack, driver):
    device = make_device(stack, driver)
    driver.size = 100
    device.txq.limit_min = 10_000
    send(device, bytes(60))
    driver.complete()  # the limit takes effect
    device.txq.stop()
    send(device, *packets(20, size=100))
    before = driver.doorbells
    device.txq.wake()
    stack.run()
    assert (len(driver.ring), driver.doorbells - before, driver.unrung) == (20, 1, 0)


def test_without_a_byte_limit_every_packet_rings(device, driver, stack):
    device.txq.stop()
    send(device, *packets(5))
    device.txq.wake()
    stack.run()
    assert (driver.doorbells, driver.unrung) == (5, 0)


def test_a_bulk_takes_no_more_bytes_than_the_limit_has_room_for_but_for_the_last(stack, driver):
    device = make_device(stack, driver)
    driver.size = 100
    device.txq.limit_min = 1000
    send(device, bytes(60))
    driver.complete()
    device.txq.stop()
    send(device, *packets(10, size=300))
    device.txq.wake()
    stack.run()
    assert (len(driver.ring), device.txq.inflight, device.tx[0].qdisc.qlen) == (4, 1200, 6)


def test_a_stop_in_the_middle_of_a_list_rings_for_those_before_it_and_keeps_the_rest_in_order(stack, driver):
    device = make_device(stack, driver)
    device.txq.limit_min = 100_000
    send(device, bytes(60))
    driver.complete()
    driver.sent.clear()
    device.txq.stop()
    contents = packets(20, size=100)
    send(device, *contents)
    device.txq.wake()
    stack.run()
    qdisc = device.tx[0].qdisc
    assert (len(driver.ring), driver.unrung) == (8, 0)
    assert (qdisc.qlen, qdisc.backlog, len(qdisc.requeued)) == (12, 1200, 12)
    while driver.ring:
        driver.complete()
        stack.run()
        assert driver.unrung == 0
    assert driver.sent == contents
    assert (qdisc.packets, qdisc.bytes, qdisc.qlen, qdisc.backlog) == (21, 2060, 0, 0)


def test_bql_holds_packets_back_in_the_queue(stack, driver):
    driver.size = 1000
    device = make_device(stack, driver)
    send(device, *packets(100, size=1500))
    assert len(driver.ring) < 100
    assert device.tx[0].qdisc.qlen == 100 - len(driver.ring)
    while driver.ring:
        driver.complete()
        stack.run()
    assert driver.sent == packets(100, size=1500)


def test_a_tap_sees_what_is_sent_once_and_cannot_be_freed_by_the_driver(device, driver, stack):
    seen = []
    stack.taps.append(lambda skb, device: (seen.append((bytes(skb), skb.pkt_type)), skb.consume()))
    send(device, b"x" * 60)
    driver.complete()
    assert seen == [(b"x" * 60, 4)]
    assert driver.sent == [b"x" * 60]


def test_a_device_without_a_queue_drops_what_its_driver_does_not_take(stack, driver):
    device = make_device(stack, driver, bql=False)
    device.stop()
    device.tx_queue_len = 0
    device.open()
    _, results = send(device, *packets(10))
    assert results == [NET_XMIT_SUCCESS] * 8 + [-errno.ENETDOWN] * 2
    assert device.stats64.tx_dropped == 2


def test_transmitting_from_within_the_same_device_without_a_queue_is_a_dead_loop(stack, driver, caplog):
    device = make_device(stack, driver, bql=False)
    device.stop()
    device.tx_queue_len = 0
    results = []

    def start_xmit(skb, device):
        results.append(dev_queue_xmit(SkBuff.from_bytes(b"y" * 60, dev=device)))
        skb.consume()
        return NETDEV_TX_OK

    driver.start_xmit = start_xmit
    device.netdev_ops = driver
    device.open()
    send(device, b"x" * 60)
    assert results == [-errno.ENETDOWN]
    assert "Dead loop" in caplog.text


def test_accepting_a_packet_moves_trans_start(device, stack):
    stack.clock.advance(12345)
    send(device, b"x" * 60)
    assert device.txq.trans_start == stack.clock.monotonic_ns()


# --- BUSY, and what follows from it ---


class Moody(RingDriver):
    """Answers `answers`, one a call, and then what it would anyway."""

    def __init__(self, *answers, size=100):
        super().__init__(size)
        self.answers = list(answers)
        self.offered = []

    def start_xmit(self, skb, device):
        self.offered.append((bytes(skb), skb.xmit_more))
        if self.answers and (answer := self.answers.pop(0)) != NETDEV_TX_OK:
            self.ring_doorbell()
            if answer < NETDEV_TX_BUSY:
                skb.kfree()
            return answer
        return super().start_xmit(skb, device)


def bulk(stack, driver, contents):
    """A device whose qdisc has `contents`, its queue stopped, and room for all of them in the byte limit."""
    device = make_device(stack, driver)
    device.txq.limit_min = 1_000_000
    send(device, bytes(60))
    driver.complete()
    driver.sent.clear()
    device.txq.stop()
    send(device, *contents)
    return device


def test_busy_in_the_middle_of_a_list_keeps_it_and_all_behind_it_in_order(stack):
    OK, BUSY = NETDEV_TX_OK, NETDEV_TX_BUSY
    contents = packets(6)
    driver = Moody(OK, OK, OK, BUSY, BUSY)
    device = bulk(stack, driver, contents)
    device.txq.wake()
    qdisc = device.tx[0].qdisc
    stack.run()  # two go, the third is refused, twice
    assert (len(driver.ring), driver.unrung, qdisc.qlen, qdisc.backlog, qdisc.requeues) == (2, 0, 4, 240, 5)
    stack.run()
    driver.complete()
    assert driver.sent == contents
    assert (qdisc.packets, qdisc.bytes) == (7, 420)  # none counted twice
    assert device.txq.requeues == 2


def test_a_run_ends_before_a_driver_that_is_always_busy(stack):
    driver = Moody(*[NETDEV_TX_BUSY] * 10)
    device = make_device(stack, driver)
    send(device, b"x" * 60)
    stack.run()
    assert len(driver.offered) == 2
    assert device.tx[0].qdisc.qlen == 1


def test_a_packet_that_a_lower_device_dropped_is_not_sent_again(stack):
    driver = Moody(NET_XMIT_DROP)
    device = make_device(stack, driver)
    (skb,), _ = send(device, b"x" * 60)
    stack.run()
    assert (len(driver.offered), device.tx[0].qdisc.qlen, skb.freed) == (1, 0, DropReason.NOT_SPECIFIED)


def test_an_answer_that_is_none_is_named_as_a_bug_and_the_packet_kept(stack, caplog):
    driver = Moody(0x55)
    driver.start_xmit = lambda skb, device: 0x55
    device = make_device(stack, driver)
    send(device, b"x" * 60)
    assert "BUG eth0 code 85" in caplog.text
    assert device.tx[0].qdisc.qlen == 1


def segments_to_be(size, payload):
    packet = Ether(src=MAC, dst="52:54:00:00:00:02") / IPv6(src="fd00::1", dst="fd00::2") / TCP(sport=1, dport=2, seq=7)
    skb = SkBuff.from_bytes(bytes(packet / (b"%07d." * (payload // 8) % tuple(range(payload // 8)))))
    skb.protocol = 0x86DD
    skb.gso_size, skb.gso_segs, skb.gso_type = size, -(-payload // size), GsoType.TCPV6
    return skb


def test_segments_of_one_packet_that_were_refused_are_not_overtaken(stack):
    OK, BUSY = NETDEV_TX_OK, NETDEV_TX_BUSY
    driver = Moody(OK, BUSY, OK, BUSY)
    device = make_device(stack, driver, bql=False)
    skb = segments_to_be(800, 4000)
    skb.dev = device
    assert dev_queue_xmit(skb) == NET_XMIT_SUCCESS
    qdisc = device.tx[0].qdisc
    assert (qdisc.packets, len(qdisc.requeued), qdisc.qlen) == (5, 4, 4)
    after = b"\xff" * 6 + bytes(60)
    assert send(device, after, priority=6)[1] == [NET_XMIT_SUCCESS]
    while qdisc.qlen:
        stack.run()
    driver.complete()
    assert driver.sent[-1] == after
    sequence = [Ether(packet)[TCP].seq for packet in driver.sent[:-1]]
    assert sequence == [7 + 800 * i for i in range(5)]
    assert b"".join(bytes(Ether(packet)[TCP].payload) for packet in driver.sent[:-1]).startswith(b"0000000.0000001.")


def test_requeued_segments_are_not_made_ready_twice(stack):
    driver = Moody(NETDEV_TX_BUSY)
    checked = []
    driver.features_check = lambda skb, device, features: (checked.append(len(skb)), features)[1]
    device = make_device(stack, driver, bql=False)
    device.features |= Feature.HW_CSUM
    skb = segments_to_be(1000, 1600)
    skb.dev = device
    dev_queue_xmit(skb)
    stack.run()
    assert (len(checked), len(driver.ring)) == (1, 2)


def test_a_driver_that_raises_loses_no_packet_but_its_own(stack):
    driver = RingDriver(100)
    contents = packets(4)
    device = bulk(stack, driver, contents)

    def start_xmit(skb, device):
        if bytes(skb) == contents[1]:
            raise RuntimeError("a bug")
        return RingDriver.start_xmit(driver, skb, device)

    driver.start_xmit = start_xmit
    device.netdev_ops = driver
    device.txq.wake()
    with pytest.raises(RuntimeError, match="a bug"):
        stack.run()
    assert device.tx[0].qdisc.qlen == 2
    stack.run()
    driver.complete()
    assert driver.sent == [contents[0], contents[2], contents[3]]


# --- who holds what ---


def test_a_driver_with_lltx_is_called_without_the_queue_lock(stack, driver):
    held = []
    driver.start_xmit = lambda skb, device: (held.append(device.tx[0].locked_here), skb.consume(), NETDEV_TX_OK)[2]
    device = make_device(stack, driver)
    send(device, bytes(60))
    device.features |= Feature.LLTX
    send(device, bytes(60))
    assert held == [True, False]


class Upper:
    """A virtual device without a queue that sends by the one below."""

    def __init__(self, lower):
        self.lower = lower

    def open(self, device):
        pass

    def stop(self, device):
        pass

    def start_xmit(self, skb, device):
        skb.dev = self.lower
        return NETDEV_TX_OK if dev_queue_xmit(skb) == NET_XMIT_SUCCESS else NET_XMIT_DROP


def pile(stack, lowest, count):
    devices = [lowest]
    for i in range(count):
        device = NetDevice(stack, Upper(devices[-1]), dev_addr=bytes([0x52, 0x54, 0, 0, 1, i]))
        device.tx_queue_len = 0
        device.register()
        device.open()
        devices.append(device)
    return devices


@pytest.mark.parametrize(("more", "sent"), [(0, 1), (1, 0)])
def test_devices_may_be_piled_up_to_the_recursion_limit(stack, driver, device, caplog, more, sent):
    devices = pile(stack, device, XMIT_RECURSION_LIMIT + 1 + more)
    (skb,), (result,) = send(devices[-1], b"x" * 60)
    driver.complete()
    assert (len(driver.sent), result) == (sent, NET_XMIT_SUCCESS)  # the outermost driver has taken it either way
    assert bool(skb.freed is True) == bool(sent)
    assert ("Dead loop" in caplog.text) == (not sent)
    assert sum(each.stats64.tx_dropped for each in devices) == 1 - sent


def test_a_loop_of_two_devices_ends(stack, device, caplog):
    one, two = pile(stack, device, 2)[1:]
    one.netdev_ops.lower = two
    (skb,), _ = send(two, b"x" * 60)
    assert skb.freed is DropReason.NOT_SPECIFIED
    assert "Dead loop" in caplog.text


def test_a_destructor_may_send(device, stack):
    device.tx_queue_len = 2
    device.stop()
    device.open()
    device.txq.stop()
    again = SkBuff.from_bytes(b"again" * 12, dev=device)
    again.priority = 6
    first, second, third = (SkBuff.from_bytes(bytes(60), dev=device) for _ in range(3))
    third.destructor = lambda skb: dev_queue_xmit(again)
    assert [dev_queue_xmit(skb) for skb in (first, second, third)] == [0, 0, NET_XMIT_DROP]
    assert device.tx[0].qdisc.qlen == 3


def test_a_device_cannot_be_taken_down_from_inside_its_transmission(device, stack):
    def tap(skb, device):
        skb.consume()
        with pytest.raises(OSError, match="inside its own transmission") as caught:
            device.tx[0].deactivate()
        assert caught.value.errno == errno.EDEADLK

    device.taps.append(tap)
    send(device, bytes(60))
    assert device.taps


# --- down, up, longer, shorter ---


def test_a_queue_keeps_its_counters_over_a_carrier_loss_and_takes_nothing_meanwhile(device, driver, stack):
    send(device, *packets(12))
    qdisc = device.tx[0].qdisc
    device.carrier_off()
    stack.run()
    assert (qdisc.qlen, qdisc.backlog, device.stats64.tx_dropped) == (0, 0, 4)
    assert send(device, bytes(60))[1] == [NET_XMIT_CN]
    device.carrier_on()
    stack.run()
    assert device.tx[0].qdisc is qdisc
    assert (qdisc.packets, device.stats64.tx_dropped) == (8, 5)


def test_who_still_has_a_queue_that_was_taken_away_puts_nothing_into_it(device):
    qdisc = device.tx[0].qdisc
    device.stop()
    skb = SkBuff.from_bytes(bytes(60), dev=device)
    assert qdisc.enqueue(skb) == NET_XMIT_DROP
    assert (skb.freed, qdisc.qlen, qdisc.drops) == (DropReason.QDISC_DROP, 0, 1)


def test_a_shorter_tx_queue_len_drops_the_last_to_come(device, driver, stack):
    skbs, _ = send(device, *packets(14))
    qdisc = device.tx[0].qdisc
    qdisc.change_tx_queue_len(4)
    assert [skb.freed for skb in skbs[8:]] == [False] * 4 + [DropReason.QDISC_DROP] * 2
    assert (qdisc.qlen, qdisc.backlog, qdisc.drops) == (4, 240, 2)
    assert send(device, bytes(60))[1] == [NET_XMIT_DROP]


# --- threads ---


def test_a_packet_that_comes_while_another_is_about_to_pass_the_empty_queue_is_not_overtaken(device, driver, stack):
    qdisc = device.tx[0].qdisc
    first, second = packets(2)
    real = qdisc.run_begin

    def run_begin():
        qdisc.run_begin = real
        qdisc.enqueue(SkBuff.from_bytes(first, dev=device))  # another thread's, just now
        return real()

    qdisc.run_begin = run_begin
    send(device, second)
    driver.complete()
    assert driver.sent == [first, second]


def test_threads_that_send_into_one_device_lose_nothing_and_keep_their_order(stack):
    """Two threads send, a third completes and runs the stack. Each packet is sent or counted as dropped, in its sender's order."""
    driver = RingDriver(16)
    driver.features_check = lambda skb, device, features: (time.sleep(0), features)[1]  # between qdisc and driver, others run
    device = make_device(stack, driver)
    device.tx_queue_len = 200
    device.stop()
    device.open()
    done, both, results, count = threading.Event(), threading.Barrier(2), {}, 4000

    def sender(number):
        results[number] = []
        both.wait()
        for i in range(count):
            skb = SkBuff.from_bytes(b"%c%07d" % (number, i) * 8, dev=device)
            _ = skb.shared  # not the short way through validate_xmit_skb
            results[number].append(dev_queue_xmit(skb))

    def runner():
        while not done.is_set() or device.tx[0].qdisc.qlen or driver.ring:
            driver.complete()
            stack.run()

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=sender, args=(i,)) for i in range(2)]
        completer = threading.Thread(target=runner)
        for thread in (*threads, completer):
            thread.start()
        for thread in threads:
            thread.join(60)
        done.set()
        completer.join(60)
        assert not completer.is_alive()
    finally:
        sys.setswitchinterval(interval)
    qdisc = device.tx[0].qdisc
    assert (qdisc.qlen, qdisc.backlog, len(qdisc.requeued), device.txq.inflight) == (0, 0, 0, 0)
    for number in range(2):
        taken = [i for i, result in enumerate(results[number]) if result == NET_XMIT_SUCCESS]
        assert [int(packet[1:8]) for packet in driver.sent if packet[0] == number] == taken
    assert len(driver.sent) + qdisc.drops == 2 * count
    assert qdisc.packets == len(driver.sent)
    assert len(list(groupby(driver.sent, key=lambda packet: packet[0]))) > 2  # they did run side by side
