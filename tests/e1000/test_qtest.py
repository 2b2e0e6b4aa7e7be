"""The driver on QEMU's own e1000: everything as on LocalBus."""

import errno
import os
import threading
import time

import pytest
from cards import STATION, RecordingSink, packet
from qemu_guest import SECOND, Guest, frames, raises

from e1000 import regs
from e1000.bus import HostMemory, LocalBus
from e1000.bus.qemu import Qemu
from e1000.bus.qtest import QtestBus, QtestLine
from e1000.device import E1000Device
from e1000.driver import probe, resume, suspend
from fastring.burst import Burst
from fastring.clock import MonotonicClock, VirtualClock

FAR = bytes.fromhex("520000000002")

pytestmark = pytest.mark.usefixtures("qemu_program")


# --- the card ---


def test_probe_finds_the_card_and_its_address(guest):
    assert guest.device.dev_addr == STATION
    assert guest.bus.config_read(0) == 0x100E8086
    assert guest.bus.config_read(4, 2) & 7 == 7
    assert guest.bus.config_read(0x10) == 0xE0000000


def test_a_card_that_is_not_enabled_has_no_registers_until_it_is(undo):
    qemu = undo.enter_context(Qemu())
    bus = undo.enter_context(QtestBus(qemu, enabled=False))
    assert bus.read(regs.CTRL) == 0
    bus.config_write(0x10, 0xE0000000)
    bus.config_write(4, 2, 2)
    assert bus.read(regs.CTRL) != 0


def test_a_lost_link_comes_up_again_with_an_interrupt(opened):
    basic_control = 0 << regs.MDIC_REG_SHIFT | 1 << regs.MDIC_PHY_SHIFT
    assert opened.bus.read(regs.STATUS) & regs.STATUS_LU
    opened.bus.write(regs.MDIC, regs.MDIC_OP_WRITE | basic_control | 0x1200)  # negotiate again
    assert not opened.bus.read(regs.STATUS) & regs.STATUS_LU
    opened.stack.run()
    before = opened.device.netdev_ops.napi.link_events
    opened.clock.advance(SECOND)
    opened.stack.run()
    assert opened.bus.read(regs.STATUS) & regs.STATUS_LU
    assert opened.device.netdev_ops.napi.link_events == before + 1


def test_writes_are_done_in_order_and_before_the_next_read(guest):
    for value in range(1000):
        guest.bus.write(regs.MTA + 4 * (value % 128), value)
    assert [guest.bus.read(regs.MTA + 4 * i) for i in range(128)] == [i + 896 if i < 104 else i + 768 for i in range(128)]


def test_accesses_of_two_threads_do_not_mix(guest):
    for i in range(128):
        guest.bus.write(regs.MTA + 4 * i, i)
    wrong = []

    def look(first):
        for _ in range(200):
            wrong.extend(i for i in range(first, 128, 13) if guest.bus.read(regs.MTA + 4 * i) != i)

    threads = [threading.Thread(target=look, args=(first,)) for first in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.parametrize(("offset", "size"), [(1 << 17, 4), (2, 4), (0, 3)])
def test_what_is_no_register_is_refused(guest, offset, size):
    with pytest.raises(ValueError, match=r"bytes|BAR0"):
        guest.bus.read(offset, size)
    with pytest.raises(ValueError, match=r"bytes|BAR0"):
        guest.bus.write(offset, 0, size)


def test_a_card_is_on_one_bus(guest):
    with raises(errno.EBUSY, "on a bus"):
        QtestBus(guest.qemu)
    guest.bus.close()
    guest.bus.close()
    with QtestBus(guest.qemu) as bus:
        assert bus.read(regs.STATUS) & regs.STATUS_LU


def test_its_memory_reaches_nothing_but_qemus_ram(guest):
    with raises(errno.EOPNOTSUPP, "RAM"):
        guest.memory.map(bytes(100))
    with HostMemory(size=1 << 20) as memory, pytest.raises(TypeError, match="GuestMemory"):
        Qemu(memory=memory)


# --- frames ---


def test_ten_thousand_frames_each_way_arrive_byte_for_byte(opened):
    out, back, arrived = frames(10_000, seed=1), frames(10_000, seed=2), []
    for start in range(0, 10_000, 1000):
        assert opened.device.xmit(Burst.from_packets(out[start : start + 1000])) == 1000
        opened.receive(*back[start : start + 1000])
        arrived += opened.wire.take()
    assert arrived == out
    assert opened.sink.packets == back
    stats = opened.device.stats64
    assert (stats.tx_packets, stats.rx_packets) == (10_000, 10_000)
    assert (stats.tx_bytes, stats.rx_bytes) == (sum(map(len, out)), sum(map(len, back)))


def test_the_queue_stops_and_is_woken(opened):
    assert opened.device.xmit(Burst.from_packets(frames(4000, seed=3))) == 4000
    opened.stack.run()
    assert opened.device.txq.stops == opened.device.txq.wakes > 0
    assert (len(opened.wire.take()), opened.wire.overflows) == (4000, 0)


@pytest.mark.parametrize("clock", [VirtualClock, MonotonicClock])
def test_a_card_of_ours_at_the_other_end_of_the_cable(undo, clock):
    guest = Guest(undo, clock=clock())
    far = probe(LocalBus(E1000Device(mac=FAR, wire=guest.wire), memory=guest.memory), guest.stack)
    far.sink = RecordingSink()
    undo.enter_context(far)
    guest.device.open()
    if clock is VirtualClock:
        guest.clock.advance(2 * SECOND)
    out, back = frames(3000, seed=4, to=FAR), frames(3000, seed=5)
    sender, replier = guest.device.transmitter(), far.transmitter()
    for start in range(0, 3000, 100):
        sender.send(Burst.from_packets(out[start : start + 100]))
        replier.send(Burst.from_packets(back[start : start + 100]))
    deadline = time.monotonic() + 20
    while len(guest.sink.packets) < 3000 and time.monotonic() < deadline:
        guest.stack.run()
    assert far.sink.packets == out
    assert guest.sink.packets == back


def test_long_frames_pass_both_ways(undo):
    guest = Guest(undo, mtu=9000).open()
    long = frames(50, seed=6, longest=9014)
    guest.device.xmit(Burst.from_packets(long))
    guest.receive(*long)
    assert guest.wire.take() == long
    assert guest.sink.packets == long


def test_frames_to_others_are_not_delivered(opened):
    opened.receive(packet(60, to=FAR), packet(61), packet(62, to=b"\xff" * 6))
    assert opened.sink.packets == [packet(61), packet(62, to=b"\xff" * 6)]


def test_frames_for_a_card_that_takes_none_wait(guest):
    guest.device.open()
    guest.receive(*[packet(60, seed=i) for i in range(100)])
    assert guest.sink.packets == []
    assert guest.wire.waiting > 0
    guest.clock.advance(2 * SECOND)  # since RCTL was written
    guest.stack.run()
    assert guest.sink.packets == [packet(60, seed=i) for i in range(100)]


def test_what_would_end_or_flood_the_wire_is_refused(opened):
    with pytest.raises(ValueError, match="empty"):
        opened.wire.send(b"")
    with pytest.raises(ValueError, match="65536"):
        opened.wire.send(bytes(65537))
    opened.device.stop()
    for _ in range(4096):
        opened.wire.send(packet(60))
    with raises(errno.ENOBUFS, "4096"):
        opened.wire.send(packet(60))


def test_frames_that_nobody_takes_are_kept_and_then_counted(opened):
    sent = frames(4200, seed=10, longest=100)
    opened.device.xmit(Burst.from_packets(sent))
    opened.stack.run()
    assert opened.wire.overflows == 104
    assert opened.wire.take() == sent[:4096]


def test_statistics_are_those_that_qemu_counts(opened):
    out, back = frames(500, seed=7), frames(400, seed=8)
    opened.device.xmit(Burst.from_packets(out))
    opened.receive(*back)
    stats = opened.device.stats64
    total = opened.device.netdev_ops.hw_stats.total  # the driver has read, and so cleared, the registers
    assert (total["gptc"], total["tpt"]) == (stats.tx_packets,) * 2 == (500, 500)
    assert (total["gprc"], total["tpr"]) == (stats.rx_packets,) * 2 == (400, 400)
    assert total["tot"] == stats.tx_bytes + 4 * 500  # with CRCs
    assert total["tor"] == stats.rx_bytes + 4 * 400
    opened.wire.take()


# --- the control plane ---


def test_it_can_be_opened_and_stopped_ten_times_and_nothing_is_left(guest):
    descriptors = len(os.listdir("/proc/self/fd"))
    for number in range(10):
        guest.open()
        frame = packet(100, seed=number)
        guest.device.xmit(Burst.from_packets([frame]))
        guest.receive(frame)
        assert guest.wire.take() == [frame]
        assert guest.sink.packets[number:] == [frame]
        guest.device.stop()
        assert guest.memory.arena.allocated == 0
    assert len(os.listdir("/proc/self/fd")) == descriptors
    assert guest.device.stats64.rx_packets == 10


def test_a_stopped_device_is_not_written_to(opened):
    opened.device.stop()
    opened.receive(*[packet(1000, seed=i) for i in range(20)])
    opened.clock.advance(2 * SECOND)
    opened.qemu.advance(2 * SECOND)
    opened.qemu.exchange()
    assert not any(memoryview(opened.memory.arena))


def test_its_time_is_the_stacks(guest):
    """By the free running counter of a timer of the machine's, at 1.19 MHz."""

    def ticks():
        guest.qemu.port_write(0x43, 0x80, 1)  # latch counter 2
        return guest.qemu.port_read(0x42, 1) | guest.qemu.port_read(0x42, 1) << 8

    guest.device.open()
    guest.qemu.port_write(0x61, 1, 1)
    guest.qemu.port_write(0x43, 0xB4, 1)
    guest.qemu.port_write(0x42, 0, 1)
    guest.qemu.port_write(0x42, 0, 1)
    guest.stack.run()
    before = ticks()
    guest.clock.advance(10_000_000)
    assert ticks() == before
    guest.stack.run()
    assert abs((before - ticks()) % 65536 - 11932) < 3


def test_a_line_of_no_bus_is_a_plain_line():
    line, ran = QtestLine(), []
    line.request_irq(lambda: ran.append(line.lower_irq()))
    assert line.handle_irq() is False
    line.raise_irq()
    assert line.handle_irq() is True
    assert len(ran) == 1


# --- beside packets ---


def test_the_self_test_tells_what_qemus_card_lacks_and_traffic_goes_on(opened):
    device = opened.device
    results = device.ethtool_ops.self_test(device)
    assert results["Register test  (offline)"] == regs.FCAL         # reads 0
    assert results["Eeprom test    (offline)"] == results["Interrupt test (offline)"] == results["Link test   (on/offline)"] == 0
    assert results["Loopback test  (offline)"] == 8                 # no PHY register 29
    goes_on(opened)


def test_pause_is_negotiated_anew_and_the_card_sleeps_and_wakes(opened):
    ethtool = opened.device.ethtool_ops
    ethtool.set_pauseparam(opened.device, rx_pause=True, tx_pause=False)
    goes_on(opened)
    assert ethtool.get_pauseparam(opened.device) == {"autoneg": True, "rx_pause": True, "tx_pause": False}
    suspend(opened.device)
    resume(opened.device)
    goes_on(opened)


def goes_on(opened):
    """QEMU's card takes half a second for its link, and one to receive again."""
    opened.clock.advance(3 * SECOND)
    opened.stack.run()
    assert opened.device.carrier_ok
    before = len(opened.sink.packets)
    sent = frames(20, seed=5)
    opened.receive(*sent)
    assert opened.sink.packets[before:] == sent


def test_an_eeprom_that_cannot_be_written_is_told_of(guest):
    with raises(errno.EIO, "word 20 of the EEPROM is 0x1000 after 0x1017 was written"):
        guest.device.ethtool_ops.set_eeprom(guest.device, b"\x17", magic=0x100E8086, offset=40)
