"""The driver's control plane: probe, open, stop, and unwinding from every place where they can fail."""

import errno
from contextlib import suppress

import pytest
from cards import RecordingSink, RecordingWire, packet

from e1000 import regs
from e1000.bus import Bus, HostMemory, LocalBus
from e1000.device import E1000Device
from e1000.driver import probe
from fastring.burst import Burst
from fastring.clock import VirtualClock
from fastring.wire import NullWire
from softnet.stack import Stack

SMALL = {"tx_descriptors": 80, "rx_descriptors": 80}


class Host:
    """One device of the driver on a bus of the given kind."""

    def __init__(self, undo, *, bus=LocalBus, memory=None, **options):
        self.memory = undo.enter_context(HostMemory(size=1 << 24) if memory is None else memory)
        self.stack = Stack(clock=VirtualClock())
        self.wire = RecordingWire()
        self.card = E1000Device(wire=self.wire)
        self.bus = bus(self.card, memory=self.memory)
        self.device = probe(self.bus, self.stack, **SMALL | options)
        self.device.sink = RecordingSink()
        self.device.register()

    def works(self):
        """Whether it opens, passes a packet each way, and stops leaving nothing behind."""
        before = self.memory.arena.allocated
        sent, received = len(self.wire.sent), len(self.device.sink.packets)
        self.device.open()
        self.device.xmit(Burst.from_packets([packet(60)]))
        self.wire.inject(Burst.from_packets([packet(61)]))
        self.stack.run()
        self.device.stop()
        assert self.wire.sent[sent:] == [packet(60)]
        assert self.device.sink.packets[received:] == [packet(61)]
        assert self.memory.arena.allocated == before
        return True

    def is_down(self, allocated=0):
        """Whether nothing of an open device is left."""
        napi = self.device.netdev_ops.napi
        assert not self.device.up
        assert self.memory.arena.allocated == allocated
        assert napi.disabled
        assert napi.tx is napi.rx is self.device.netdev_ops.tx is self.device.netdev_ops.rx is None
        self.bus.irq.request_irq(lambda: None)
        self.bus.irq.free_irq()
        self.stack.softirq.add_irq(self.bus.irq)
        self.stack.softirq.remove_irq(self.bus.irq)
        self.stack.softirq.add(napi)
        self.stack.softirq.remove(napi)
        return True


# --- probe ---


@pytest.mark.parametrize("which", ["tx_descriptors", "rx_descriptors"])
@pytest.mark.parametrize("count", [0, 8, 72, 79, 81, 100, 4095, 4097, 4104, -80])
def test_a_ring_size_the_card_does_not_have_is_refused(which, count):
    with pytest.raises(OSError, match=f"{which} is a multiple of 8 from 80 to 4096, not {count}") as error:
        probe(LocalBus(E1000Device()), Stack(), **{which: count})
    assert error.value.errno == errno.EINVAL


def test_a_status_report_is_due_after_a_packet_at_least():
    with pytest.raises(OSError, match="rs_every is at least 1") as error:
        probe(LocalBus(E1000Device()), Stack(), rs_every=0)
    assert error.value.errno == errno.EINVAL


@pytest.mark.parametrize("mtu", [-1, 0, 45, 16111, 65535])
def test_an_mtu_outside_46_to_16110_is_refused(mtu):
    with pytest.raises(OSError, match=f"MTU {mtu} is outside 46 to 16110") as error:
        probe(LocalBus(E1000Device()), Stack(), mtu=mtu)
    assert error.value.errno == errno.EINVAL
    device = probe(LocalBus(E1000Device()), Stack())
    with pytest.raises(OSError, match=f"MTU {mtu} is outside 46 to 16110"):
        device.mtu = mtu
    assert device.mtu == 1500


@pytest.mark.parametrize("mtu", [46, 1500, 9000, 16110])
def test_every_mtu_from_46_to_16110_opens(undo, mtu):
    assert Host(undo, mtu=mtu).works()


def test_the_mtu_of_a_device_that_is_up_stays(undo):
    host = Host(undo)
    with host.device, pytest.raises(OSError, match="is up: stop it before its MTU changes"):
        host.device.mtu = 1400
    host.device.mtu = 1400
    assert host.device.mtu == 1400


@pytest.mark.parametrize("mac", ["52:54:00:12:34:56", "02:ff:fe:fd:fc:fb"])
def test_probe_reads_the_station_address_from_the_card(mac):
    assert probe(LocalBus(E1000Device(mac=mac)), Stack()).dev_addr.hex(":") == mac


def test_probe_leaves_a_reset_card_with_interrupts_masked(card):
    card.write(regs.RCTL, regs.RCTL_EN)
    card.write(regs.IMS, 0xFFFF)
    card.write(regs.ICS, 0xFFFF)
    probe(card.bus, Stack())
    assert (card.peek(regs.RCTL), card.peek(regs.IMS), card.peek(regs.ICR)) == (0, 0, 0)
    assert not card.bus.irq.asserted


def test_a_card_that_stays_in_reset_is_an_io_error():
    class Dead(Bus):
        def read(self, offset):
            return regs.CTRL_RST if offset == regs.CTRL else 0

        def write(self, offset, value):
            pass

    with pytest.raises(OSError, match="does not come out of reset") as error:
        probe(Dead(), Stack())
    assert error.value.errno == errno.EIO


def test_a_card_whose_address_is_all_zero_cannot_be_registered():
    class Empty(Bus):
        def read(self, offset):
            return 0

        def write(self, offset, value):
            pass

    with pytest.raises(OSError, match="is no valid station address") as error:
        probe(Empty(), Stack()).register()
    assert error.value.errno == errno.EADDRNOTAVAIL


# --- open and stop ---


def test_opening_and_stopping_many_times_leaks_nothing(undo):
    host = Host(undo)
    for _ in range(60):
        assert host.works()
        assert host.is_down()
    assert host.device.stats64.tx_packets == host.device.stats64.rx_packets == 60


def test_stop_masks_interrupts_and_turns_both_units_off(undo):
    host = Host(undo)
    host.device.open()
    assert host.card.peek(regs.TCTL) & regs.TCTL_EN
    assert host.card.peek(regs.RCTL) & regs.RCTL_EN
    assert host.card.peek(regs.IMS)
    host.device.stop()
    assert (host.card.peek(regs.TCTL) & regs.TCTL_EN, host.card.peek(regs.RCTL), host.card.peek(regs.IMS)) == (0, 0, 0)


def test_after_stop_nothing_is_delivered_or_sent(undo):
    host = Host(undo)
    host.device.open()
    sender = host.device.transmitter()
    host.wire.inject(Burst.from_packets([packet(60)]))
    host.device.stop()
    host.wire.inject(Burst.from_packets([packet(60)] * 3))
    host.stack.run()
    assert host.device.sink.packets == []
    assert host.card.drops["rx_disabled"] == 3
    with pytest.raises(OSError, match="is down") as error:
        host.device.xmit(Burst.from_packets([packet(60)]))
    assert error.value.errno == errno.ENETDOWN
    with pytest.raises(OSError, match="takes no packets") as error:
        sender.send(Burst.from_packets([packet(60)]))
    assert error.value.errno == errno.ENETDOWN
    assert host.wire.sent == []


def test_statistics_outlive_the_rings_that_counted_them(undo):
    host = Host(undo)
    for i in range(1, 4):
        assert host.works()
        stats = host.device.stats64
        assert (stats.tx_packets, stats.tx_bytes, stats.rx_packets, stats.rx_bytes) == (i, 60 * i, i, 61 * i)


def test_a_second_driver_on_the_same_bus_is_refused_and_the_first_goes_on(undo):
    host = Host(undo)
    host.device.open()
    allocated = host.memory.arena.allocated
    with pytest.raises(OSError, match="a driver has this card open") as error:
        probe(host.bus, Stack(clock=VirtualClock()), **SMALL)
    assert error.value.errno == errno.EBUSY
    assert host.memory.arena.allocated == allocated
    host.device.stop()
    assert host.works()


def test_the_ring_and_its_buffers_can_be_closed_twice(undo):
    host = Host(undo)
    host.device.open()
    tx, rx = host.device.netdev_ops.tx, host.device.netdev_ops.rx
    pool = rx.pool
    host.device.stop()
    tx.close()
    rx.close()
    assert host.memory.arena.allocated == 0
    assert (pool.double_frees, pool.foreign_frees) == (0, 0)


# --- half-open: memory ---


class FailingMemory(HostMemory):
    """Refuses the allocation number `fail_at`."""

    fail_at = None
    calls = 0

    def alloc_coherent(self, size, *, align=4096):
        self.calls += 1
        if self.calls == self.fail_at:
            raise OSError(errno.ENOMEM, "no memory, says the test")
        return super().alloc_coherent(size, align=align)


@pytest.mark.parametrize("fail_at", [1, 2, 3])
def test_an_allocation_that_fails_leaves_nothing_behind(undo, fail_at):
    host = Host(undo, memory=FailingMemory(size=1 << 24))
    host.memory.fail_at = fail_at
    with pytest.raises(OSError, match="no memory, says the test"):
        host.device.open()
    assert host.is_down()
    assert host.works()
    host.device.open()
    assert host.memory.calls == fail_at + 3 + 3     # there is no fourth
    host.device.stop()


def test_memory_that_is_too_small_by_any_number_of_pages_leaves_nothing_behind(undo):
    host = Host(undo)
    host.device.open()
    need = host.memory.arena.allocated
    host.device.stop()
    size = host.memory.arena.size
    outcomes = []
    for room in range(4096, need + 5 * 4096, 4096):
        filler = host.memory.alloc_coherent(size - room)
        with suppress(OSError):
            host.device.open()
        outcomes.append("opened" if host.device.up else "refused")
        host.device.stop()
        assert host.is_down(allocated=size - room)
        host.memory.free_coherent(filler)
    assert outcomes == sorted(outcomes, reverse=True)
    assert {"opened", "refused"} == set(outcomes)
    assert host.works()


# --- half-open: a bus that fails ---


class FaultyBus(LocalBus):
    """Fails at access number `fail_at` of the control plane; with `dead`, at all that follow too."""

    fail_at = None
    dead = False
    calls = 0

    def _count(self):
        self.calls += 1
        if self.fail_at is not None and (self.calls == self.fail_at or (self.dead and self.calls > self.fail_at)):
            raise OSError(errno.EIO, f"the bus failed at access {self.calls}")

    def read(self, offset):
        self._count()
        return super().read(offset)

    def write(self, offset, value):
        self._count()
        super().write(offset, value)

    def arm(self, fail_at, *, dead=False):
        self.calls, self.fail_at, self.dead = 0, fail_at, dead


@pytest.mark.parametrize("dead", [False, True], ids=["one-access-fails", "bus-stays-dead"])
@pytest.mark.parametrize("operation", ["open", "stop"])
def test_a_bus_access_that_fails_leaves_nothing_behind(undo, operation, dead):
    host = Host(undo, bus=FaultyBus)
    host.device.open()
    host.bus.arm(None)
    host.device.stop()
    if operation == "open":
        host.bus.arm(None)
        host.device.open()
    accesses = host.bus.calls
    host.device.stop()
    assert accesses > 5
    for k in range(1, accesses + 1):
        if operation == "stop":
            host.device.open()
        host.bus.arm(k, dead=dead)
        with pytest.raises(OSError, match="the bus failed at access"):
            getattr(host.device, operation)()
        host.bus.arm(None)
        assert host.is_down()
        assert host.works()


def test_a_bus_that_fails_while_probing_leaves_a_bus_that_can_be_probed_again():
    bus = FaultyBus(E1000Device(wire=NullWire()), memory=HostMemory(size=1 << 22))
    probe(bus, Stack())
    accesses = bus.calls
    for k in range(1, accesses + 1):
        bus.arm(k)
        with pytest.raises(OSError, match="the bus failed at access"):
            probe(bus, Stack())
    bus.arm(None)
    assert probe(bus, Stack()).dev_addr
