"""e1000.checks: rule 18, and what registers show of rules 10 and 15, for drivers in Python and for the one that is shipped."""

import minimal_driver as drivers
import pytest
from cards import RecordingWire, packet

from e1000 import checks as card_checks
from e1000.bus import HostMemory
from e1000.bus.watched import WatchedBus
from e1000.device import E1000Device
from e1000.driver import probe, remove
from fastring.burst import Burst
from fastring.clock import VirtualClock
from softnet import SkBuff, Stack, checks, dev_queue_xmit


@pytest.fixture
def stack():
    with Stack(clock=VirtualClock(start=10**9)) as stack, checks.enable(stack):
        yield stack


@pytest.fixture
def bus():
    wire = RecordingWire()
    with HostMemory(size=1 << 23) as memory, E1000Device(wire=wire) as card, WatchedBus(card, memory=memory) as bus:
        card_checks.watch(bus)
        yield bus


def pass_time(stack):
    for _ in range(5):
        stack.clock.advance(10**6)
        stack.run()


def life(stack, driver, device, wire):
    """Packets both ways, more than the rings hold; up and down."""
    for _ in range(2):
        device.open()
        for number in range(100):
            dev_queue_xmit(SkBuff.from_bytes(packet(100, seed=number), dev=device))
            if number % 5 == 0:
                wire.inject(Burst.from_packets([packet(200, seed=number)] * 3))
                pass_time(stack)
        pass_time(stack)
        device.stop()


CASES = [
    (18, drivers.TailBeforeDescriptor, "ndo_start_xmit", "transmit descriptors, the first 0, were written to after the tail"),
    (18, drivers.CommandAfterTail, "ndo_start_xmit", "transmit descriptors, the first 0, were written to after the tail"),
    (18, drivers.TailBeforeBuffers, "ndo_open", "63 receive descriptors, the first 0, were written to after the tail"),
    (10, drivers.LeavesReceiverOn, "ndo_stop", "the card still has RCTL.EN set"),
    (10, drivers.LeavesInterruptsUnmasked, "ndo_stop", "the card still has IMS set"),
    (15, drivers.UnmasksBeforeItCompletes, "napi poll", "IMS was written, and <NapiStruct: scheduled"),
]


@pytest.mark.parametrize(("number", "driver", "operation", "detail"), CASES, ids=[f"{case[0]}-{case[1].__name__}" for case in CASES])
def test_a_driver_that_breaks_a_rule_is_found_by_that_rule_alone(stack, bus, number, driver, operation, detail):
    checker = stack.checker
    driver = driver(bus, stack)
    life(stack, driver, driver.device, bus.device.wire)
    driver.remove()
    checker.close()
    assert set(checker.counts) == {number}, checker.summary()
    assert checker.findings[0].operation == operation
    assert detail in checker.findings[0].detail


def test_a_driver_in_python_that_keeps_every_rule_is_left_alone(stack, bus):
    checker = stack.checker
    driver = drivers.MinimalDriver(bus, stack)
    life(stack, driver, driver.device, bus.device.wire)
    driver.remove()
    checker.close()
    assert len(bus.device.wire.sent) == 200
    assert checker.summary() == ""


def test_the_shipped_driver_keeps_every_rule_packet_by_packet_and_in_bursts(stack, bus):
    checker = stack.checker
    device = probe(bus, stack, tx_descriptors=80, rx_descriptors=80)
    device.register()
    life(stack, device.netdev_ops, device, bus.device.wire)
    device.open()
    for length in (60, 1000, 1514):
        device.xmit(Burst.from_packets([packet(length, seed=number) for number in range(100)]))
        bus.device.wire.inject(Burst.from_packets([packet(length, seed=number) for number in range(50)]))
        device.mtu = device.mtu - 1
    pass_time(stack)
    remove(device)
    checker.close()
    assert len(bus.device.wire.sent) == 500
    assert checker.summary() == ""


def test_a_bus_that_nobody_watches_is_a_bus(stack, bus):
    bus.watch = None
    driver = drivers.TailBeforeDescriptor(bus, stack)
    life(stack, driver, driver.device, bus.device.wire)
    driver.remove()
    assert not stack.checker.findings


def test_what_a_watch_raises_reaches_who_writes(bus):
    def refuse(offset, value, written):
        raise OSError("seen")

    bus.watch = refuse
    with pytest.raises(OSError, match="seen"):
        bus.write(0, 0)
