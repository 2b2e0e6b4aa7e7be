"""What drivers in Python are written with: interrupts, NAPI with a Python poll, work, receive buffers."""

import errno

import pytest
from control import QuietDriver, new_device
from scapy.layers.inet import IP, TCP
from scapy.layers.l2 import Ether

from fastring.clock import VirtualClock
from fastring.irq import IrqLine
from softnet import Stack, eth_type_trans
from softnet.driver import Work, free_irq, netdev_alloc_skb, netif_napi_add, netif_napi_del, request_irq, skb_room
from softnet.skbuff import NET_SKB_PAD

pytestmark = pytest.mark.breaks_rules(10, 11)  # NAPIs that no ndo_open and no ndo_stop sees to


@pytest.fixture
def stack():
    return Stack(clock=VirtualClock())


class NapiDriver(QuietDriver):
    """A driver with one NAPI context from open to stop, whose poll is the test's."""

    weight = 64

    def open(self, device):
        self.napi = netif_napi_add(device, lambda napi, budget: self.poll(napi, budget), weight=self.weight)
        self.napi.enable()

    def stop(self, device):
        self.napi.disable()
        netif_napi_del(self.napi)


@pytest.fixture
def driver():
    return NapiDriver()


@pytest.fixture
def device(stack, driver):
    device = new_device(stack, driver)
    with device:
        yield device


# --- interrupts ---


def test_a_handler_runs_while_the_line_is_up_and_not_after_free_irq(stack):
    line, causes = IrqLine(), []

    def handler():
        causes.append(len(causes))
        line.lower_irq()

    request_irq(stack, line, handler)
    line.raise_irq()
    stack.run()
    stack.run()
    assert causes == [0]
    free_irq(stack, line)
    line.raise_irq()
    stack.run()
    assert causes == [0]


def test_a_line_has_one_handler_and_the_first_stays(stack):
    line = IrqLine()
    request_irq(stack, line, line.lower_irq)
    with pytest.raises(OSError, match="free_irq first") as error:
        request_irq(stack, line, print)
    assert error.value.errno == errno.EBUSY
    line.raise_irq()
    stack.run()
    assert not line.asserted


def test_a_line_that_a_stack_serves_already_is_left_without_handler(stack):
    line = IrqLine()
    stack.softirq.add_irq(line)
    with pytest.raises(ValueError, match="already"):
        request_irq(stack, line, print)
    assert not line.requested


# --- NAPI ---


class Poller:
    """A poll that finds the given numbers of packets, one after the other."""

    def __init__(self, *finds, device=None, packets=()):
        self.finds, self.device, self.packets = list(finds), device, list(packets)
        self.budgets, self.unmasked = [], []

    def __call__(self, napi, budget):
        self.budgets.append(budget)
        work = min(budget, self.finds.pop(0))
        for _ in range(work):
            if self.packets:
                skb = self.packets.pop(0)
                skb.protocol = eth_type_trans(skb, self.device)
                napi.napi_gro_receive(skb)
        if work < budget:
            self.unmasked.append(napi.napi_complete_done(work))
        return work


def test_a_python_poll_is_called_with_the_weight_until_it_finds_less(stack, driver, device):
    poll = driver.poll = Poller(64, 64, 3)
    assert driver.napi.napi_schedule()
    stack.run()
    assert (poll.budgets, poll.unmasked) == ([64, 64, 64], [True])
    assert not driver.napi.scheduled
    device.stop()
    assert not driver.napi.napi_schedule()


def test_what_a_poll_raises_stack_run_raises_and_polling_goes_on(stack, driver):
    driver.weight = 16
    poll = driver.poll = Poller(2)
    with new_device(stack, driver):
        driver.napi.napi_schedule()
        stack.run()
        driver.napi.napi_schedule()
        with pytest.raises(IndexError):
            stack.run()
        poll.finds.append(1)
        driver.napi.napi_schedule()
        stack.run()
    assert poll.budgets == [16, 16, 16]


def received(device, *packets):
    for packet in packets:
        skb = netdev_alloc_skb(device, 2048)
        room = skb_room(skb)
        assert len(room) == 2048
        room[: len(packet)] = packet
        skb.put(len(packet))
        yield skb


def test_packets_of_a_flow_are_merged_in_a_poll_and_passed_up_when_it_completes(stack, driver, device):
    got = []
    device.protocols[0x0800] = [lambda skb, device: got.append((len(skb), skb.gso_segs, driver.napi.scheduled))]
    header = Ether(dst=device.dev_addr, src="52:54:00:00:00:09") / IP(src="10.0.0.1", dst="10.9.8.7", flags="DF")
    one, two = (bytes(header / TCP(sport=1, dport=2, seq=100 * i, flags="A") / (b"x" * 100)) for i in range(2))
    driver.poll = Poller(2, device=device, packets=received(device, one, two))
    driver.napi.napi_schedule()
    stack.run()
    assert got == [(len(one) - 14 + 100, 2, True)]
    assert len(driver.napi.gro) == 0


def test_a_napi_that_is_enabled_is_not_deleted(driver, device):
    with pytest.raises(RuntimeError, match="disable a NAPI"):
        netif_napi_del(driver.napi)


# --- work ---


def test_work_runs_once_outside_of_whatever_scheduled_it(stack):
    ran = []
    work = Work(stack, lambda: ran.append(stack.softirq.in_softirq))
    line = IrqLine()

    def handler():
        line.lower_irq()
        assert work.schedule()
        assert not work.schedule()
        assert work.pending

    request_irq(stack, line, handler)
    line.raise_irq()
    stack.run()
    assert ran == [False]
    assert not work.pending


def test_work_that_comes_due_inside_the_softirq_waits_until_it_is_over(stack):
    ran = []
    work = Work(stack, lambda: ran.append(stack.softirq.in_softirq))
    line = IrqLine()

    def handler():
        line.lower_irq()
        work.schedule()
        stack.clock.advance(10)

    request_irq(stack, line, handler)
    line.raise_irq()
    stack.run()
    assert ran == []
    stack.clock.advance(2_000_000)
    assert ran == [False]


def test_delayed_work_waits_and_cancelled_work_does_not_run(stack):
    ran = []
    work = Work(stack, lambda: ran.append(stack.clock.monotonic_ns()))
    work.schedule_delayed(1000)
    stack.clock.advance(999)
    assert not ran
    stack.clock.advance(1)
    assert ran == [1000]
    work.schedule()
    assert work.cancel()
    assert not work.cancel()
    stack.run()
    assert ran == [1000]


def test_a_receive_buffer_has_headroom_and_is_the_devices(device):
    skb = netdev_alloc_skb(device, 100)
    assert (skb.headroom, len(skb), skb.dev) == (NET_SKB_PAD, 0, device)
