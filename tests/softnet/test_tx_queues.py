"""Several transmit queues: which one a packet takes, each with its qdisc, stop and wake and byte limit, and how many are in use."""

import errno
import threading
from types import SimpleNamespace

import pytest
from drivers import MAC, RingDriver
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether

from softnet import DropReason, NetDevice, SkBuff, dev_queue_xmit
from softnet.flow_dissector import skb_get_hash
from softnet.netdev_tx import netif_set_real_num_tx_queues, netif_set_xps_queue
from softnet.sch_fq_codel import FqCodel
from softnet.sch_generic import NET_XMIT_SUCCESS
from softnet.tc import show_qdiscs

ETHER = Ether(src="52:54:00:00:00:01", dst="52:54:00:00:00:02")
QUEUES = 4


class MultiDriver:
    """A driver with a ring a queue."""

    def __init__(self, count=QUEUES, size=8):
        self.rings = [RingDriver(size) for _ in range(count)]

    def open(self, device):
        for ring, queue in zip(self.rings, device.tx, strict=True):
            ring.device = SimpleNamespace(txq=queue.txq, stack=device.stack)

    def stop(self, device):
        for ring in self.rings:
            while ring.ring:
                ring.ring.popleft().kfree(DropReason.TX_ABORTED)
        for queue in device.tx:
            queue.txq.tx_reset()

    def start_xmit(self, skb, device):
        return self.rings[skb.queue_mapping].start_xmit(skb, device)

    def complete(self):
        for ring in self.rings:
            ring.complete()

    @property
    def used(self):
        return [len(ring.ring) + len(ring.sent) for ring in self.rings]


@pytest.fixture
def make(stack):
    def make(driver=None, **options):
        options = {"bql": False, "num_tx_queues": QUEUES, **options}
        driver = driver or MultiDriver(options["num_tx_queues"])
        device = NetDevice(stack, driver, dev_addr=MAC, **options)
        device.register()
        device.open()
        return device, driver

    return make


def packet(flow, ip=IP):
    addresses = {"src": "10.0.0.1", "dst": "10.0.0.2"} if ip is IP else {"src": "fd00::1", "dst": "fd00::2"}
    return bytes(ETHER / ip(**addresses) / UDP(sport=flow, dport=53))


def send(device, flow=1, ip=IP, **fields):
    skb = SkBuff.from_bytes(packet(flow, ip), dev=device)
    for name, value in fields.items():
        setattr(skb, name, value)
    assert dev_queue_xmit(skb) == NET_XMIT_SUCCESS
    return skb.queue_mapping


@pytest.mark.parametrize("ip", [IP, IPv6])
def test_a_flow_stays_on_its_queue_and_flows_spread_over_all(make, ip):
    device, driver = make(MultiDriver(size=1000))
    chosen = [send(device, flow, ip) for flow in range(400)]
    assert chosen == [send(device, flow, ip) for flow in range(400)]
    assert min(chosen.count(index) for index in range(QUEUES)) > 400 / QUEUES / 2
    assert driver.used == [2 * chosen.count(index) for index in range(QUEUES)]


def test_the_hash_its_sender_set_is_used(make):
    device, _ = make()
    assert [send(device, hash=(index << 30) + 5) for index in range(QUEUES)] == list(range(QUEUES))


def test_the_hash_is_kept_with_the_packet():
    skb = SkBuff.from_bytes(packet(1))
    assert skb.hash == 0
    assert skb_get_hash(skb) == skb.hash == skb_get_hash(SkBuff.from_bytes(packet(1))) != 0


def test_a_packet_that_was_received_leaves_by_the_queue_of_the_same_number(make):
    device, _ = make()
    assert [send(device, queue_mapping=index + 1) for index in range(6)] == [0, 1, 2, 3, 0, 1]


def test_with_one_queue_all_take_it_whatever_they_came_by(make):
    device, driver = make(num_tx_queues=1)
    assert send(device, queue_mapping=7) == 0
    assert driver.used == [1]


def test_a_sockets_packets_stay_together_also_when_its_flow_changes(make, caplog):
    device, _ = make()
    socket = SimpleNamespace(tx_queue_mapping=None)
    first = send(device, 1, sk=socket)
    assert socket.tx_queue_mapping == first
    assert {send(device, flow, sk=socket) for flow in range(20)} == {first}
    netif_set_real_num_tx_queues(device, 2)
    socket.tx_queue_mapping = 3  # it is no more
    assert send(device, 1, sk=socket) == socket.tx_queue_mapping < 2
    assert not caplog.text


def test_the_drivers_choice_counts_and_one_that_cannot_be_is_named(make, caplog):
    driver = MultiDriver()
    driver.select_queue = lambda device, skb: skb.mark
    device, _ = make(driver)
    assert [send(device, mark=mark) for mark in (2, 1, 3)] == [2, 1, 3]
    assert not caplog.text
    assert send(device, mark=9) == 0
    assert "eth0 selects TX queue 9, but real number of TX queues is 4" in caplog.text


def test_a_thread_has_its_queues(make):
    device, driver = make(MultiDriver(size=1000))
    netif_set_xps_queue(device, threading.get_ident(), [3])
    assert {send(device, flow) for flow in range(20)} == {3}
    netif_set_xps_queue(device, threading.get_ident(), [1, 2])
    assert {send(device, flow) for flow in range(40)} == {1, 2}
    used = driver.used
    other = threading.Thread(target=lambda: [send(device, flow) for flow in range(60)])
    other.start()
    other.join()
    assert all(now > before for now, before in zip(driver.used, used, strict=True))
    netif_set_xps_queue(device, threading.get_ident(), [])
    assert {send(device, flow) for flow in range(60)} == {0, 1, 2, 3}
    with pytest.raises(OSError, match="queue 4 is none of its 4") as caught:
        netif_set_xps_queue(device, 1, [4])
    assert caught.value.errno == errno.EINVAL


def test_a_queue_that_is_full_holds_up_no_other(make, stack):
    device, driver = make()
    for _ in range(20):
        send(device, queue_mapping=1)
    assert driver.used == [8, 0, 0, 0]
    assert [queue.qdisc.qlen for queue in device.tx] == [12, 0, 0, 0]
    assert [queue.txq.xmit_stopped for queue in device.tx] == [True, False, False, False]
    send(device, queue_mapping=2)
    assert driver.used == [8, 1, 0, 0]
    while any(queue.qdisc.qlen for queue in device.tx):
        driver.complete()
        stack.run()
    assert driver.used == [20, 1, 0, 0]


def test_each_queue_has_a_byte_limit_of_its_own(make):
    device, driver = make(MultiDriver(size=1000), bql=True)
    for _ in range(5):
        send(device, queue_mapping=1)
        send(device, queue_mapping=3)
    assert [queue.txq.xmit_stopped for queue in device.tx] == [True, False, True, False]
    assert driver.used == [1, 0, 1, 0]


def test_what_threads_send_by_a_device_that_is_down_is_all_counted(make):
    device, _ = make()
    device.stop()

    def send_many(number):
        netif_set_xps_queue(device, threading.get_ident(), [number])
        for _ in range(500):
            dev_queue_xmit(SkBuff.from_bytes(bytes(60), dev=device))

    threads = [threading.Thread(target=send_many, args=(number,)) for number in range(QUEUES)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert device.stats64.tx_dropped == 500 * QUEUES


def test_fewer_queues_drop_what_waits_in_those_that_go_and_forget_them_in_xps(make, stack):
    device, driver = make()
    skbs = []
    for index in range(QUEUES):
        for _ in range(10):
            skbs.append(SkBuff.from_bytes(packet(1), dev=device))
            skbs[-1].queue_mapping = index + 1
            dev_queue_xmit(skbs[-1])
    netif_set_xps_queue(device, 1, [0, 3])
    netif_set_xps_queue(device, 2, [2])
    netif_set_real_num_tx_queues(device, 2)
    assert [queue.qdisc.qlen for queue in device.tx] == [2, 2, 0, 0]
    assert [skb.freed for skb in skbs].count(DropReason.QDISC_REMOVED) == 4 == device.stats64.tx_dropped
    assert device.xps == {1: (0,)}
    assert {send(device, flow) for flow in range(50)} == {0, 1}
    driver.complete()  # what is in the rings of those that went is still sent
    assert len(driver.rings[3].sent) == 8
    netif_set_real_num_tx_queues(device, QUEUES)
    assert {send(device, flow) for flow in range(50)} == {0, 1, 2, 3}


@pytest.mark.parametrize("count", [0, 5])
def test_a_number_of_queues_that_cannot_be_is_refused(make, count):
    device, _ = make()
    with pytest.raises(OSError, match=f"1 to 4 .* not {count}") as caught:
        netif_set_real_num_tx_queues(device, count)
    assert caught.value.errno == errno.EINVAL


def test_a_new_tx_queue_len_is_that_of_every_queue(make):
    device, _ = make()
    qdiscs = [queue.qdisc for queue in device.tx]
    for _ in range(10):
        send(device, queue_mapping=1)
    device.change_tx_queue_len(5)
    assert [queue.qdisc for queue in device.tx] == qdiscs
    assert [qdisc.limit for qdisc in qdiscs] == [5] * QUEUES
    assert device.stats64.tx_dropped == 2  # as dev_deactivate does
    with pytest.raises(OSError, match="4294967296") as caught:
        device.change_tx_queue_len(1 << 32)
    assert caught.value.errno == errno.ERANGE


def test_tc_shows_mq_with_the_sums_and_a_qdisc_a_queue(make):
    device, _ = make(num_tx_queues=2)
    for _ in range(10):
        send(device, queue_mapping=1)
    send(device, queue_mapping=2)
    priomap = "bands 3 priomap 1 2 2 2 1 2 0 0 1 1 1 1 1 1 1 1"
    assert show_qdiscs(device).splitlines() == [
        "qdisc mq 0: dev eth0 root ",
        " Sent 378 bytes 9 pkt (dropped 0, overlimits 0 requeues 0) ",
        " backlog 84b 2p requeues 0",
        f"qdisc pfifo_fast 0: dev eth0 parent :1 {priomap}",
        " Sent 336 bytes 8 pkt (dropped 0, overlimits 0 requeues 0) ",
        " backlog 84b 2p requeues 0",
        f"qdisc pfifo_fast 0: dev eth0 parent :2 {priomap}",
        " Sent 42 bytes 1 pkt (dropped 0, overlimits 0 requeues 0) ",
        " backlog 0b 0p requeues 0",
    ]


def test_tc_shows_one_queue_as_the_root(make):
    device, _ = make(num_tx_queues=1)
    device.stop()
    device.qdisc_class = FqCodel
    device.open()
    send(device)
    assert show_qdiscs(device).splitlines() == [
        "qdisc fq_codel 0: dev eth0 root refcnt 2 limit 10240p flows 1024 quantum 1514 target 5ms interval 100ms memory_limit 32Mb ecn "
        "drop_batch 64",
        " Sent 42 bytes 1 pkt (dropped 0, overlimits 0 requeues 0) ",
        " backlog 0b 0p requeues 0",
        "  maxpacket 0 drop_overlimit 0 new_flow_count 0 ecn_mark 0",
        "  new_flows_len 0 old_flows_len 0",
    ]
    device.stop()
    device.qdisc_class, device.tx_queue_len = None, 0
    device.open()
    assert show_qdiscs(device, statistics=False) == "qdisc noqueue 0: dev eth0 root refcnt 2 "
