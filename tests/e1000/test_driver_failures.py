"""Each allocation and each bus access failing in turn: nothing is leaked, and the device works again, or is gone."""

import errno
import logging

import pytest
from cards import packet
from failing import SECOND, SMALL, FailingMemory, FaultyBus, GlitchBus, Host, PulledBus, PythonBus

from e1000 import regs
from e1000.driver import probe, remove, resume, suspend
from fastring.burst import Burst
from softnet.stack import Stack

BUSES = {"raises": (FaultyBus, False), "raises-from-then-on": (FaultyBus, True), "glitch": (GlitchBus, False), "pulled": (PulledBus, True)}
EXPECTED = {errno.EIO, errno.ENODEV, errno.ENOMEM}


def change_mtu(host):
    host.device.mtu = 1400 if host.device.mtu == 1500 else 1500


def set_ringparam(host):
    host.device.ethtool_ops.set_ringparam(host.device, rx_pending=88, tx_pending=96)


def reset(host):
    host.device.netdev_ops.schedule_reset(host.device)
    host.stack.clock.advance(1)


def self_test(host):
    results = host.device.ethtool_ops.self_test(host.device)
    if any(results.values()):
        raise OSError(errno.ENOMEM if results["Loopback test  (offline)"] == 2 else errno.EIO, "the self-test failed")


def set_pauseparam(host):
    host.device.ethtool_ops.set_pauseparam(host.device, rx_pause=not host.device.netdev_ops.flow.wanted.rx, tx_pause=False)


def set_link_ksettings(host):
    forced = host.device.netdev_ops.copper.forced is None
    host.device.ethtool_ops.set_link_ksettings(host.device, autoneg=not forced, speed=100)


def set_eeprom(host):
    image = host.card.eeprom
    try:
        host.device.ethtool_ops.set_eeprom(host.device, bytes([image[40] ^ 1]), magic=0x100E8086, offset=40)
    except OSError as error:
        if error.errno != errno.EFAULT:     # the PCI ids were not read
            raise


def sleep(host):
    suspend(host.device)
    resume(host.device)


# What is done, and whether to an open device
OPERATIONS = {
    "open": (lambda host: host.device.open(), False),
    "stop": (lambda host: host.device.stop(), True),
    "change_mtu": (change_mtu, True),
    "set_ringparam": (set_ringparam, True),
    "reset": (reset, True),
    "set_pauseparam": (set_pauseparam, True),
    "set_link_ksettings": (set_link_ksettings, True),
    "set_eeprom": (set_eeprom, False),
    "sleep": (sleep, True),
}
LONG = {"self_test, open": (self_test, True), "self_test, down": (self_test, False)}
MEMORY = {
    name: (operation, opened) for name, (operation, opened) in (OPERATIONS | LONG).items() if name not in ("stop", "set_eeprom")
}


@pytest.fixture(autouse=True)
def quiet(caplog):
    """Every failure is logged, and each of them is meant."""
    caplog.set_level(logging.CRITICAL)


def attempt(call):
    """Call it; the error it fails with, which is of one line and has its errno, or None."""
    caught = None
    try:
        call()
    except OSError as error:
        caught = error
    if caught is not None:
        assert caught.errno in EXPECTED
        assert "\n" not in caught.strerror
        assert 10 < len(caught.strerror) < 250
    return caught


def prepare(host, opened):
    if opened and not host.device.up:
        host.device.open()


def count(host, operation, opened):
    """How many accesses, or allocations, the operation has when nothing fails."""
    prepare(host, opened)
    host.bus.arm(None)
    operation(host)
    accesses = host.bus.calls
    host.device.stop()
    return accesses


def settle(host, *, works=True):
    """The fault is over: what sleeps can be woken, what is open can be stopped, nothing is left, and it works."""
    host.bus.arm(None)
    if host.device.netdev_ops.power.suspended:
        resume(host.device)
    host.device.stop()
    assert host.is_down()
    assert not works or host.works()


@pytest.mark.parametrize("kind", BUSES)
@pytest.mark.parametrize("name", OPERATIONS)
def test_whichever_bus_access_fails_nothing_is_left_and_it_works_again(undo, name, kind):
    bus, dead = BUSES[kind]
    operation, opened = OPERATIONS[name]
    host = Host(undo, bus=bus)
    accesses = count(host, operation, opened)
    assert accesses > 50
    failed = 0
    stride = 1 + accesses // 250        # the kinds of failure take turns: together they leave no access out, but in the EEPROM's wires
    for k in range(1 + list(BUSES).index(kind) % stride, accesses + 1, stride):
        prepare(host, opened)
        host.bus.arm(k, dead=dead)
        failed += attempt(lambda: operation(host)) is not None
        settle(host, works=k % 5 == 0)
    if kind.startswith("raises"):
        assert failed
    elif name == "stop":
        assert not failed, "a card that is gone is stopped in silence"


@pytest.mark.parametrize("kind", BUSES)
def test_whichever_bus_access_fails_probe_leaves_no_device_or_one_that_works(undo, kind):
    bus, dead = BUSES[kind]
    host = Host(undo, bus=bus)
    remove(host.device)
    host.bus.arm(None)
    probe(host.bus, host.stack, **SMALL)
    outcomes = set()
    for k in range(1, host.bus.calls + 1):
        host.bus.arm(k, dead=dead)
        error = attempt(host.probe)
        host.bus.arm(None)
        outcomes.add(None if error is None else error.errno)
        assert not host.bus.irq.requested
        assert host.memory.arena.allocated == 0
        assert list(host.stack.devices) == ([] if error else ["eth0"])
        if error is None:
            if k % 20 == 0:
                assert host.works()
            remove(host.device)
            assert host.device.refs == 0
    host.probe()
    assert host.works()
    assert outcomes - {None}


@pytest.mark.parametrize("kind", BUSES)
def test_whichever_bus_access_fails_remove_leaves_nothing(undo, kind):
    bus, dead = BUSES[kind]
    host = Host(undo, bus=bus)
    host.device.open()
    host.bus.arm(None)
    remove(host.device)
    for k in range(1, host.bus.calls + 1):
        host.probe()
        host.device.open()
        host.bus.arm(k, dead=dead)
        error = attempt(lambda: remove(host.device))
        host.bus.arm(None)
        assert not (kind == "pulled" and error), "a card that is pulled out is removed in silence"
        assert host.is_down()
        assert host.device.refs == 0
        assert not host.stack.devices
    host.probe()
    assert host.works()


@pytest.mark.parametrize("kind", BUSES)
@pytest.mark.parametrize("name", LONG)
def test_a_self_test_of_thousands_of_accesses_fails_at_any_and_nothing_is_left(undo, name, kind):
    bus, dead = BUSES[kind]
    operation, opened = LONG[name]
    host = Host(undo, bus=bus)
    accesses = count(host, operation, opened)
    for k in range(1, accesses + 1, 97):
        prepare(host, opened)
        host.bus.arm(k, dead=dead)
        attempt(lambda: operation(host))
        settle(host)


@pytest.mark.parametrize("how", ["fail_at", "full_after"])
@pytest.mark.parametrize("name", MEMORY)
def test_whichever_allocation_fails_nothing_is_left_and_it_works_again(undo, name, how):
    operation, opened = MEMORY[name]
    host = Host(undo, bus=FaultyBus, memory=FailingMemory(size=1 << 24))
    prepare(host, opened)
    host.memory.arm()
    operation(host)
    host.device.stop()
    needed = host.memory.calls
    assert needed >= 3
    for k in range(1, needed + 1):
        prepare(host, opened)
        host.memory.arm(**{how: k})
        error = attempt(lambda: operation(host))
        if error is None:
            assert how == "full_after"
            assert k == needed or "self_test" in name, "nothing else is allocated, or what the test gave back is enough"
        else:
            assert error.errno == errno.ENOMEM
        if name in ("change_mtu", "set_ringparam") and how == "fail_at":
            assert host.passes()        # with what it had before
        host.memory.arm()
        settle(host)


@pytest.mark.breaks_rules(15)  # where the bus loses the write, interrupts are not masked
def test_a_bus_in_python_that_fails_under_the_data_path_is_told_of_by_who_runs_it(undo):
    host = Host(undo, bus=PythonBus)
    host.device.open()
    host.bus.arm(None)
    assert host.passes()
    accesses = host.bus.calls
    assert accesses >= 5
    for k in range(1, accesses + 1):
        host.bus.arm(k)
        error = attempt(host.passes)
        assert error is not None
        assert "the bus failed at access" in error.strerror
        host.bus.arm(None)
        while attempt(host.stack.run):
            pass
        host.device.stop()
        assert host.is_down()
        host.device.open()
        assert host.passes()
    host.device.stop()


def test_packets_in_flight_in_a_card_that_is_pulled_out_are_given_up_and_counted(undo):
    host = Host(undo, bus=PulledBus)
    host.device.open()
    host.stack.run()
    host.card.write(regs.TCTL, host.card.read(regs.TCTL) & ~regs.TCTL_EN)
    host.device.xmit(Burst.from_packets([packet(60)] * 7))
    host.bus.arm(1)
    host.stack.clock.advance(SECOND)
    assert attempt(host.stack.run) is None
    host.device.stop()
    assert host.device.stats64.tx_errors == 7
    assert host.is_down()
    host.bus.arm(None)
    assert host.works()


def test_a_card_pulled_out_while_it_runs_is_told_of_and_can_be_taken_down(undo, caplog):
    caplog.set_level(logging.ERROR)
    host = Host(undo, bus=PulledBus)
    host.device.open()
    before = host.device.stats64
    host.bus.arm(1)
    host.stack.clock.advance(2_000_000_000)
    host.stack.run()
    assert not host.device.carrier_ok
    assert host.device.stats64 == before            # not four thousand million of each
    host.device.stop()
    assert "eth0: the card is gone" in caplog.text
    with pytest.raises(OSError, match="the card is gone: its registers read all ones") as error:
        host.device.open()
    assert error.value.errno == errno.ENODEV
    with pytest.raises(OSError, match="no card of this driver"):
        probe(host.bus, Stack())
    remove(host.device)
    host.bus.arm(None)
    host.probe()
    assert host.works()
