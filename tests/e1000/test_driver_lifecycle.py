"""The driver's control plane: probe, open, stop, and unwinding from every place where they can fail."""

import dataclasses
import errno
from contextlib import suppress

import pytest
from cards import packet
from failing import SMALL, FailingMemory, FaultyBus, Host

from e1000 import regs
from e1000.bus import Bus, HostMemory, LocalBus
from e1000.device import E1000Device, eeprom_image
from e1000.driver import probe, remove
from e1000.driver.hw import Hw
from e1000.driver.param import Options
from fastring.burst import Burst
from fastring.clock import VirtualClock
from fastring.wire import NullWire
from softnet.ethernet import is_valid_ether_addr
from softnet.stack import Stack

# --- probe ---


@pytest.mark.parametrize("which", ["tx_descriptors", "rx_descriptors"])
@pytest.mark.parametrize("count", [0, 8, 72, 79, 81, 100, 4095, 4097, 4104, -80])
def test_a_ring_size_the_card_does_not_have_is_refused(which, count):
    with pytest.raises(OSError, match=f"{which} is a multiple of 8 from 80 to 4096; not {count}") as error:
        probe(LocalBus(E1000Device()), Stack(), **{which: count})
    assert error.value.errno == errno.EINVAL


def test_a_status_report_is_due_after_a_packet_at_least():
    with pytest.raises(OSError, match="rs_every is at least 1") as error:
        probe(LocalBus(E1000Device()), Stack(), rs_every=0)
    assert error.value.errno == errno.EINVAL


@pytest.mark.parametrize("every", [-1, 1 << 32])
def test_a_doorbell_is_once_a_burst_or_every_so_many_packets(every):
    with pytest.raises(OSError, match=f"doorbell_every is 1 to 4294967295 packets, or 0 for once a burst; not {every}") as error:
        probe(LocalBus(E1000Device()), Stack(), doorbell_every=every)
    assert error.value.errno == errno.EINVAL


@pytest.mark.parametrize("wake", [23, 4096])
def test_a_queue_goes_on_when_the_largest_packet_fits_and_a_ring_may_be_that_empty(wake):
    with pytest.raises(OSError, match=f"tx_wake is 24 to 4095 free descriptors; not {wake}") as error:
        probe(LocalBus(E1000Device()), Stack(), tx_wake=wake)
    assert error.value.errno == errno.EINVAL


@pytest.mark.parametrize("value", ["abc", 1.5, None, 80.0, -1, 1 << 32, 1 << 100, 1 << 20000], ids=range(8))
@pytest.mark.parametrize("what", [field.name for field in dataclasses.fields(Options)])
def test_arguments_are_whole_numbers_in_range(what, value):
    with pytest.raises(OSError, match=f"{what} is .*; not ") as error:
        probe(LocalBus(E1000Device()), Stack(), **{what: value})
    assert error.value.errno == errno.EINVAL


@pytest.mark.parametrize("mtu", [80.5, "80", None])
def test_an_mtu_is_a_whole_number(mtu):
    with pytest.raises(TypeError, match=f"eth%d: an MTU is a whole number of bytes, not {mtu!r}"):
        probe(LocalBus(E1000Device()), Stack(), mtu=mtu)
    device = probe(LocalBus(E1000Device()), Stack())
    with pytest.raises(TypeError, match="an MTU is a whole number of bytes"):
        device.mtu = mtu


def test_probe_is_given_a_bus_and_a_stack():
    with pytest.raises(TypeError, match=r"bus is an e1000\.bus\.Bus, not None"):
        probe(None, Stack())
    with pytest.raises(TypeError, match=r"stack is a softnet\.stack\.Stack, not 5"):
        probe(LocalBus(E1000Device()), 5)


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


def test_an_mtu_for_which_there_is_no_memory_leaves_the_old_one_working(undo):
    host = Host(undo, memory=FailingMemory(size=1 << 24))
    host.device.open()
    target = host.device.xmit_target
    for fail_at in (1, 2, 3):
        host.memory.calls, host.memory.fail_at = 0, fail_at
        with pytest.raises(OSError, match="no memory, says the test"):
            host.device.mtu = 9000
        assert host.device.mtu == host.device.netdev_ops.mtu == 1500
        host.device.xmit(Burst.from_packets([packet(1514)]))
        host.stack.run()
    assert host.wire.sent == [packet(1514)] * 3
    assert host.device.xmit_target is target
    host.device.stop()
    assert host.is_down()


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


@pytest.mark.parametrize(("register", "ask"), [(regs.EERD, lambda hw: hw.read_eeprom(0)), (regs.MDIC, lambda hw: hw.read_phy(2))])
def test_a_card_whose_answer_was_long_on_its_way_is_asked_once_more(monkeypatch, register, ask):
    """In another process, on a busy machine: what came late says what was long ago."""

    class Slow(LocalBus):
        late = False

        def read(self, offset):
            if offset != register or self.late:
                return super().read(offset)
            self.late = True
            now[0] += 60
            return 0

    now = [0.0]
    monkeypatch.setattr("e1000.driver.hw.time.monotonic", lambda: now[0])
    bus = Slow(E1000Device())
    assert ask(Hw(bus))
    assert bus.late


# --- its address and its PCI side ---


def damaged(**words):
    """An EEPROM's image with some words changed, the checksum as it was."""
    image = bytearray(E1000Device().eeprom)
    for name, value in words.items():
        image[2 * int(name[1:]) : 2 * int(name[1:]) + 2] = value.to_bytes(2, "little")
    return bytes(image)


class Mute(LocalBus):
    """A card whose EEPROM never answers."""

    def read(self, offset):
        return 0 if offset == regs.EERD else super().read(offset)


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: LocalBus(E1000Device(eeprom=damaged(w20=0x1234))), "Checksum Is Not Valid"),
        (lambda: LocalBus(E1000Device(eeprom=eeprom_image.with_mac(damaged(), bytes(6)))), "Invalid MAC Address"),
        (lambda: LocalBus(E1000Device(eeprom=eeprom_image.with_mac(damaged(), b"\1\2\3\4\5\6"))), "Invalid MAC Address"),
        (lambda: Mute(E1000Device()), "does not answer for word 0"),
    ],
    ids=["checksum", "zero", "multicast", "mute"],
)
def test_without_a_good_address_in_its_eeprom_a_card_gets_a_random_one(make, why, caplog):
    first, second = probe(make(), Stack()), probe(make(), Stack())
    assert why in caplog.text
    assert first.dev_addr != second.dev_addr
    for device in (first, second):
        assert is_valid_ether_addr(device.dev_addr)
        assert device.dev_addr[0] & 2
        assert device.addr_assign_type == 1
    assert probe(LocalBus(E1000Device()), Stack()).addr_assign_type == 0


def test_probe_turns_memory_space_and_bus_master_on_and_remove_gives_them_back(undo):
    memory = undo.enter_context(HostMemory(size=1 << 22))
    bus = undo.enter_context(LocalBus(E1000Device(wire=NullWire()), memory=memory, enabled=False))
    before = bus.config_read(4, 2)
    assert before & 6 == 0
    stack = Stack(clock=VirtualClock())
    device = probe(bus, stack, **SMALL)
    assert bus.config_read(4, 2) & 6 == 6
    device.register()
    device.open()
    remove(device)
    assert bus.config_read(4, 2) == before
    assert memory.arena.allocated == 0
    assert not stack.devices
    assert device.refs == 0
    assert probe(bus, stack).dev_addr


def test_a_card_with_other_pci_ids_is_not_this_drivers(undo):
    class Other(LocalBus):
        def config_read(self, offset, size=4):
            return 0x10D38086 if offset == 0 else super().config_read(offset, size)

    bus = undo.enter_context(Other(E1000Device(), enabled=False))
    with pytest.raises(OSError, match="8086:10d3 is no card of this driver") as error:
        probe(bus, Stack())
    assert error.value.errno == errno.ENODEV
    assert bus.config_read(4, 2) & 6 == 0


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


@pytest.mark.parametrize("fail_at", [1, 2, 3])
def test_an_allocation_that_fails_leaves_nothing_behind(undo, fail_at):
    host = Host(undo, memory=FailingMemory(size=1 << 24))
    host.memory.fail_at = fail_at
    with pytest.raises(OSError, match="no memory, says the test"):
        host.device.open()
    assert host.is_down()
    assert host.works()
    host.device.open()
    assert host.memory.calls == fail_at + 3 + 3  # there is no fourth
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
