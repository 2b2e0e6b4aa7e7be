"""What dev_queue_xmit makes of a driver that answers BUSY, or worse: requeued in order, segments too, and nothing sent twice."""

import re

import pytest
from drivers import MAC, RingDriver, make_device
from scapy.layers.inet import TCP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from sending import held_back, packets, send

from softnet import NETDEV_TX_BUSY, NETDEV_TX_OK, DropReason, SkBuff, dev_queue_xmit
from softnet.netdev_features import Feature
from softnet.sch_generic import NET_XMIT_DROP, NET_XMIT_SUCCESS
from softnet.skbuff import GsoType


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


@pytest.mark.breaks_rules(1)
def test_busy_in_the_middle_of_a_list_keeps_it_and_all_behind_it_in_order(stack):
    OK, BUSY = NETDEV_TX_OK, NETDEV_TX_BUSY
    contents = packets(6)
    driver = Moody(OK, OK, OK, BUSY, BUSY)
    device = held_back(stack, driver, contents)
    device.txq.wake()
    qdisc = device.tx[0].qdisc
    stack.run()  # two go, the third is refused, twice
    assert (len(driver.ring), driver.unrung, qdisc.qlen, qdisc.backlog, qdisc.requeues) == (2, 0, 4, 240, 5)
    stack.run()
    driver.complete()
    assert driver.sent == contents
    assert (qdisc.packets, qdisc.bytes) == (7, 420)  # none counted twice
    assert device.txq.requeues == 2


@pytest.mark.breaks_rules(1)
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
    stack.checker = None  # with one it is an error
    send(device, b"x" * 60)
    assert "BUG eth0 code 85" in caplog.text
    assert device.tx[0].qdisc.qlen == 1


@pytest.mark.parametrize("answer", [None, [], "ok", 1.0])
def test_an_answer_that_is_no_code_is_refused_and_the_packet_gone(stack, answer):
    driver = Moody(0)
    driver.start_xmit = lambda skb, device: answer
    device = make_device(stack, driver)
    with pytest.raises(TypeError, match=f"eth0: ndo_start_xmit returned {re.escape(repr(answer))}; it returns NETDEV_TX_OK, or"):
        send(device, b"x" * 60)
    assert device.tx[0].qdisc.qlen == 0


def segments_to_be(size, payload):
    packet = Ether(src=MAC, dst="52:54:00:00:00:02") / IPv6(src="fd00::1", dst="fd00::2") / TCP(sport=1, dport=2, seq=7)
    skb = SkBuff.from_bytes(bytes(packet / (b"%07d." * (payload // 8) % tuple(range(payload // 8)))))
    skb.protocol = 0x86DD
    skb.gso_size, skb.gso_segs, skb.gso_type = size, -(-payload // size), GsoType.TCPV6
    return skb


@pytest.mark.breaks_rules(1)
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


@pytest.mark.breaks_rules(1)
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
    device = held_back(stack, driver, contents)

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
