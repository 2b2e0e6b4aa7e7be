"""dev_queue_xmit over a driver that takes packets one by one: straight through, queued, in bulk, and when the queue changes."""

import errno

import pytest
from drivers import make_device
from sending import held_back, packets, send

from softnet import NETDEV_TX_BUSY, NETDEV_TX_OK, DropReason, Feature, SkBuff, dev_queue_xmit
from softnet.sch_generic import NET_XMIT_CN, NET_XMIT_DROP, NET_XMIT_SUCCESS


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


@pytest.mark.breaks_rules(1)
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
    driver.size = 100
    device = held_back(stack, driver, packets(20, size=100), limit=10_000)
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
    driver.size = 100
    device = held_back(stack, driver, packets(10, size=300), limit=1000)
    device.txq.wake()
    stack.run()
    assert (len(driver.ring), device.txq.inflight, device.tx[0].qdisc.qlen) == (4, 1200, 6)


def test_a_stop_in_the_middle_of_a_list_rings_for_those_before_it_and_keeps_the_rest_in_order(stack, driver):
    contents = packets(20, size=100)
    device = held_back(stack, driver, contents, limit=100_000)
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


def test_a_driver_with_lltx_moves_trans_start_itself(device, stack):
    device.features |= Feature.LLTX
    before = device.txq.trans_start
    stack.clock.advance(12345)
    send(device, b"x" * 60)
    assert device.txq.trans_start == before


# --- down, up, longer, shorter ---


@pytest.mark.breaks_rules(19)
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
