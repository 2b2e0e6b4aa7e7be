"""Our driver on cards that another process serves."""

import errno
import os
import random
import select
from contextlib import ExitStack

import pytest
from qemu_guest import frames, raises
from served_cards import SECONDS, TwoRemoteCards

from e1000 import regs
from e1000.bus import Bus, HostMemory, VfioUserBus
from e1000.driver import probe, remove, resume, suspend
from e1000.vfio_user import SharedMemory
from fastring.burst import Burst, BurstSink
from softnet import Stack, ethtool

FAR, NEAR = bytes.fromhex("525400000002"), bytes.fromhex("525400000001")


@pytest.fixture(scope="module", params=[False, True], ids=["messages", "stores"])
def map_doorbells(request):
    """How doorbells are rung."""
    return request.param


@pytest.fixture(scope="module")
def cards(tmp_path_factory, map_doorbells):
    """TwoRemoteCards that all tests share which leave them as they were."""
    with ExitStack() as undo:
        yield TwoRemoteCards(undo, tmp_path_factory.mktemp("served"), map_doorbells=map_doorbells)


@pytest.fixture
def remote(undo, tmp_path, map_doorbells):
    """remote(**options): TwoRemoteCards."""
    return lambda **options: TwoRemoteCards(undo, tmp_path, map_doorbells=map_doorbells, **options)


def both_ways(cards, count, *, seed, longest=1514, at_once=500):
    """Send as many frames from either card, and check that each arrives as it was."""
    out, back = frames(count, seed=seed, to=FAR, longest=longest), frames(count, seed=seed + 1, to=NEAR, longest=longest)
    for sink in cards.sinks:
        sink.packets.clear()
    for start in range(0, count, at_once):
        end = min(start + at_once, count)
        for device, packets in ((cards.near, out), (cards.far, back)):
            assert device.xmit(Burst.from_packets(packets[start:end])) == end - start
        cards.until(lambda: [len(sink.packets) for sink in cards.sinks] == [end, end])  # noqa: B023 - called before it changes
    assert cards.sinks[1].packets == out
    assert cards.sinks[0].packets == back


# --- traffic ---


def test_ten_thousand_frames_each_way_arrive_byte_for_byte(cards):
    assert [device.dev_addr for device in cards.devices] == [NEAR, FAR]
    befores = [device.stats64 for device in cards.devices]
    both_ways(cards, 10_000, seed=1)
    for device, before in zip(cards.devices, befores, strict=True):
        assert (device.stats64.tx_packets - before.tx_packets, device.stats64.rx_packets - before.rx_packets) == (10_000, 10_000)
    assert all(bus.messages["dma"] == bus.messages["strays"] == 0 for bus in cards.buses)


def random_frame(source, to):
    """Never a MAC control frame, which a card keeps to itself."""
    return to + source.randbytes(6) + b"\x08\0" + source.randbytes(source.randint(60, 1514) - 14)


class ComparingSink(BurstSink):
    """Compares each packet with what is drawn as it was sent; keeps none."""

    def __init__(self, seed, to):
        self.random, self.to, self.count = random.Random(seed), to, 0

    def on_burst(self, burst):
        for got in burst:
            assert bytes(got) == random_frame(self.random, self.to)
            self.count += 1


@pytest.mark.slow
@pytest.mark.unsanitized
def test_a_million_frames_each_way_arrive_byte_for_byte(remote):
    sinks = [ComparingSink(2, NEAR), ComparingSink(1, FAR)]
    cards = remote(sinks=sinks)
    sources = [random.Random(1), random.Random(2)]
    for sent in range(1000, 1_000_001, 1000):
        for device, to, source in zip(cards.devices, (FAR, NEAR), sources, strict=True):
            batch = [random_frame(source, to) for _ in range(1000)]
            assert device.xmit(Burst.from_packets(batch)) == 1000
        cards.until(lambda: sinks[0].count == sinks[1].count == sent)  # noqa: B023 - called before it changes


def test_who_waits_is_woken_by_the_interrupt_alone(cards):
    assert len(cards.stack.softirq.polled_wires) == 2
    while cards.stack.run():  # until no poll is under way, which needs no interrupt
        pass
    bus = cards.buses[1]
    before = bus.irq.fired, cards.far.netdev_ops.napi.interrupts
    bus.write(regs.ICS, regs.ICR_LSC)
    waiter = select.poll()
    waiter.register(bus.irq.fileno(), select.POLLIN)
    assert waiter.poll(1000 * SECONDS)
    assert cards.stack.wait()
    cards.stack.run()
    assert bus.irq.fired > before[0]
    assert cards.far.netdev_ops.napi.interrupts > before[1]


def test_long_frames_pass_after_a_change_of_mtu(cards):
    for mtu in (9000, 1500):
        for device in cards.devices:
            device.mtu = mtu
        cards.link_up()
        both_ways(cards, 200, seed=mtu, longest=mtu + 14, at_once=100)


def test_other_rings_are_used_once_they_are_set(cards):
    for device in cards.devices:
        ethtool.set_ringparam(device, rx_pending=512, tx_pending=1024)
    cards.link_up()
    both_ways(cards, 2000, seed=5)


def test_the_drivers_self_test_passes(cards):
    assert set(ethtool.self_test(cards.near).values()) == {0}
    cards.link_up()
    both_ways(cards, 100, seed=7)


def test_a_card_that_was_suspended_goes_on(cards):
    suspend(cards.near)
    resume(cards.near)
    cards.link_up()
    both_ways(cards, 100, seed=9)


# --- registers ---


def test_registers_configuration_space_and_the_io_bar_are_reached(cards):
    bus = cards.buses[0]
    assert isinstance(bus, Bus)
    assert (bus.config_read(0), bus.config_read(2, 2), bus.config_read(1, 1)) == (0x100E8086, 0x100E, 0x80)
    assert bus.config_read(4, 2) & 7 == 7
    for value in range(300):
        bus.write(regs.MTA + 4 * (value % 128), value)
    assert [bus.read(regs.MTA + 4 * i) for i in range(128)] == [i + 256 if i < 44 else i + 128 for i in range(128)]
    bus.io_write(0, regs.MTA)
    assert bus.io_read(4) == 256
    assert bus.read(regs.MTA + 1, 1) == 1


@pytest.mark.parametrize(("offset", "size"), [(1 << 17, 4), (2, 4), (0, 3)])
def test_what_is_no_register_is_refused(cards, offset, size):
    bus = cards.buses[0]
    with pytest.raises(ValueError, match=r"bytes|BAR0"):
        bus.read(offset, size)
    with pytest.raises(ValueError, match=r"bytes|BAR0"):
        bus.write(offset, 0, size)


# --- memory ---


def test_a_card_reads_the_copy_of_a_mapped_buffer(cards):
    content = frames(1, seed=11, to=FAR)[0]
    cards.sinks[1].packets.clear()
    iova = cards.memory.map(content)
    sender = cards.near.transmitter()
    sender.send(Burst.from_mapped(content, iova=iova, offsets=[0], lengths=[len(content)]))
    cards.until(lambda: cards.sinks[1].packets == [content])
    cards.memory.unmap(iova)


def test_a_buffer_whose_copy_would_not_follow_it_is_refused():
    with SharedMemory(size=1 << 20) as memory:
        before = memory.arena.allocated
        with raises(errno.EOPNOTSUPP, "read-only"):
            memory.map(bytearray(100))
        with raises(errno.ENOMEM, "has no free"):
            memory.map(bytes((1 << 20) + 1))
        assert memory.addresses.read(memory.map(b"here"), 4) == b"here"
        assert memory.arena.allocated == before + 4


def test_memory_that_a_server_does_not_reach_is_refused(tmp_path):
    with HostMemory(size=1 << 20) as memory, pytest.raises(TypeError, match="SharedMemory"):
        VfioUserBus(tmp_path / "none", memory=memory)


# --- coming and going ---


def test_a_socket_that_nobody_serves_is_refused(tmp_path):
    with raises(errno.ENOENT, "no vfio-user server"):
        VfioUserBus(tmp_path / "none")


def test_the_next_bus_finds_the_card_reset(remote):
    cards = remote()
    bus = cards.buses[0]
    remove(cards.near)
    bus.write(regs.MTA, 5)
    assert bus.read(regs.MTA) == 5
    bus.close()
    bus.close()
    assert bus.read(regs.STATUS) == 0xFFFFFFFF
    assert bus.irq.fileno() is None
    with VfioUserBus(cards.servers.paths[0], memory=cards.memory, timeout=60.0) as again:
        assert again.read(regs.MTA) == 0
        assert again.irq.error is None


def test_a_server_that_dies_amid_traffic_is_a_card_pulled_out(remote):
    cards = remote()
    both_ways(cards, 500, seed=13)
    cards.near.xmit(Burst.from_packets(frames(200, seed=15, to=FAR)))
    cards.servers.kill()
    with pytest.raises(OSError, match=r"near: |far: ") as error:
        cards.until(lambda: False)
    assert error.value.errno in (errno.EPIPE, errno.ECONNRESET)
    while any(bus.failure() is None for bus in cards.buses):
        for bus in cards.buses:
            bus.read(regs.STATUS)
    assert [bus.read(regs.STATUS) for bus in cards.buses] == [0xFFFFFFFF] * 2
    assert "hung up" in repr(cards.buses[0]) or "hung up" in repr(cards.buses[1])
    for bus in cards.buses:
        bus.irq.error = None
    for device in cards.devices:
        remove(device)
    assert cards.stack.devices == {}
    assert cards.memory.arena.allocated == 0
    with raises(errno.ENODEV, "gone|no card"):
        probe(cards.buses[0], Stack())


def test_nothing_is_left_of_a_bus_that_was_closed(remote):
    cards = remote()
    remove(cards.far)
    cards.buses[1].close()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        with VfioUserBus(cards.servers.paths[1], memory=cards.memory, timeout=60.0) as bus:
            assert bus.read(regs.STATUS) != 0xFFFFFFFF
    assert len(os.listdir("/proc/self/fd")) == before
