"""What a checker sees of drivers that take bursts: operations, packets that come one by one, and the queue's counters."""

import pytest
from model_driver import MAC, SECOND, ModelDriver, pass_time, probe, send

from e1000 import driver as e1000_driver
from e1000.bus import LocalBus
from e1000.device import E1000Device
from fastring.burst import Burst
from fastring.txq import TxQueue, XmitTarget
from fastring.wire import NullWire
from softnet import NetDevice, Stack, checks


class Target(XmitTarget):
    """Takes so many packets of each burst."""

    def __init__(self):
        self.takes = 1

    def xmit(self, burst):
        return self.takes


class BurstDriver:
    """The least driver of bursts."""

    def open(self, device):
        self.target = Target()
        return self.target

    def stop(self, device):
        pass

    def tx_timeout(self, device, queue):
        pass


@pytest.fixture
def seen():
    told = []

    class Listener(checks.RuleGroup):
        def op_begins(self, call):
            told.append(call.operation)

        def burst_sent(self, device, began, packets):
            told.append(packets)

    yield told
    checks.RuleGroup.all.remove(Listener)


def test_a_burst_driver_that_takes_no_packet_while_its_queue_is_awake_is_busy(stack):
    driver = BurstDriver()
    device = NetDevice(stack, driver, dev_addr=MAC)
    device.register()
    device.open()
    send(device)
    assert not stack.checker.findings
    driver.target.takes = 0
    send(device)
    assert {finding.rule.number for finding in stack.checker.findings} == {1}


def test_bursts_that_leave_trans_start_behind_are_found(stack):
    driver = ModelDriver()
    device = probe(stack, driver)
    device.open()
    stack.clock.advance(SECOND)
    began = stack.clock.monotonic_ns()
    stack.checker.tell("burst_sent", device, began, 0)
    assert not stack.checker.findings
    stack.checker.tell("burst_sent", device, began, 3)
    (finding,) = stack.checker.findings
    assert finding.rule.number == 8
    assert finding.detail == "a burst of 3 packets was taken, and trans_start of tx-0 is 1000 ms old"


def test_our_driver_is_seen_and_keeps_the_rules(seen):
    with Stack() as stack, checks.enable(stack) as checker, E1000Device(wire=NullWire()) as card, LocalBus(card) as bus:
        device = e1000_driver.probe(bus, stack)
        device.register()
        device.open()
        assert device.xmit(Burst.from_packets([bytes(60)] * 500)) == 500
        send(device, 50)
        stack.run()
        device.mtu = 9000
        send(device, 5, size=9014)
        device.stop()
        device.open()
        e1000_driver.remove(device)
    assert checker.summary() == ""
    assert {"ndo_open", "ndo_start_xmit", "ndo_change_mtu", "ndo_stop", "ndo_set_rx_mode", 500} <= set(seen)


def test_the_byte_count_of_a_compiled_driver_is_seen(stack):
    driver = ModelDriver()
    device = probe(stack, driver)
    device.open()
    TxQueue.tx_completed(device.txq, 1, 100)  # as Cython does, past what is checked
    assert not stack.checker.findings
    pass_time(stack, SECOND)
    (finding,) = stack.checker.findings
    assert (finding.rule.number, finding.detail) == (16, "100 bytes more than were in flight in tx-0 were completed")
