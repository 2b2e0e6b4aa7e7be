"""dev_queue_xmit called from inside itself and from several threads: what is locked, how deep it goes, in which order packets leave."""

import errno
import sys
import threading
import time
from itertools import groupby

import pytest
from drivers import RingDriver, make_device
from sending import packets, send

from softnet import NETDEV_TX_OK, DropReason, NetDevice, SkBuff, dev_queue_xmit
from softnet.dev_xmit import XMIT_RECURSION_LIMIT
from softnet.netdev_features import Feature
from softnet.sch_generic import NET_XMIT_DROP, NET_XMIT_SUCCESS

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


def test_a_device_cannot_be_taken_down_from_inside_its_transmission(device, driver, stack):
    events = []
    stack.notifiers.append(lambda event, device: events.append(event))

    def tap(skb, device):
        skb.consume()
        for take_down in (device.tx[0].deactivate, device.stop):
            with pytest.raises(OSError, match="inside its own transmission") as caught:
                take_down()
            assert caught.value.errno == errno.EDEADLK

    device.taps.append(tap)
    send(device, bytes(60))
    assert device.taps
    assert device.up
    assert device.running
    assert not device.txq.down
    assert not events
    driver.complete()
    assert driver.sent == [bytes(60)]


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


def send_from_two_threads(stack):
    """Each packet is sent or counted as dropped, in its sender's order; a third thread runs the stack. Returns what was sent."""
    driver = RingDriver(16)
    driver.features_check = lambda skb, device, features: (time.sleep(0), features)[1]  # between qdisc and driver, others run
    device = make_device(stack, driver)
    device.tx_queue_len = 200
    device.stop()
    device.open()
    done, both, results, count = threading.Event(), threading.Barrier(2), {}, 1500

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
            thread.join(300)
        done.set()
        completer.join(300)
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
    device.unregister()
    return driver.sent


def test_threads_that_send_into_one_device_lose_nothing_and_keep_their_order(stack):
    for _ in range(50):
        sent = send_from_two_threads(stack)
        if len(list(groupby(sent, key=lambda packet: packet[0]))) > 2:
            return
    pytest.fail("the threads never ran side by side")
