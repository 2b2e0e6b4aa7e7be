"""What configuration space switches: memory space, bus master, interrupts, power; and anything a host may do to it."""

import pytest
from cards import BareCard, RecordingWire, TwoCards, packet
from hypothesis import given, settings
from hypothesis import strategies as st

from e1000 import regs
from e1000.bus import HostMemory, LocalBus
from e1000.device import DeviceThread, E1000Device
from e1000.regmap import expand
from fastring.burst import Burst
from fastring.wire import pair

ONES = 0xFFFFFFFF
COMMAND, PMCSR, MSI = 0x04, 0xE0, 0xF0
IO, MEMORY, MASTER, INTX_DISABLE = 1, 2, 4, 0x400
IOADDR, IODATA = 0, 4
D0, D3HOT = 0, 3


def command(card, value):
    card.bus.config_write(COMMAND, value, 2)


def power(card, state):
    card.bus.config_write(PMCSR, state, 1)


def pend(card, cause=regs.ICR_LSC):
    card.write(regs.IMS, cause)
    card.write(regs.ICS, cause)


# --- memory space ---


def test_a_card_on_a_bus_is_enabled_as_firmware_leaves_it_unless_told_otherwise():
    for options, expected in (({}, 7), ({"enabled": True}, 7), ({"enabled": False}, 0)):
        with HostMemory(size=4096) as memory, LocalBus(E1000Device(), memory=memory, **options) as bus:
            assert bus.config_read(COMMAND, 2) == expected


def test_a_new_bus_finds_configuration_space_as_after_reset(card):
    card.bus.config_write(0x10, 0xFEB80000)
    card.bus.close()
    with LocalBus(card.device, memory=card.memory, enabled=False) as bus:
        assert (bus.config_read(COMMAND, 2), bus.config_read(0x10)) == (0, 0)


@pytest.mark.parametrize("gate", ["memory", "D3hot"])
def test_with_memory_off_reads_are_all_ones_and_writes_are_ignored(card, gate):
    card.write(regs.FCTTV, 0x1234)
    pend(card)
    if gate == "memory":
        command(card, IO | MASTER)
    else:
        power(card, D3HOT)
    for size in (1, 2, 4):
        assert card.read(regs.FCTTV, size) == (1 << 8 * size) - 1
        assert card.read(regs.ICR, size) == (1 << 8 * size) - 1
        card.write(regs.FCTTV, 0x55, size)
        card.write(regs.CTRL + 3, regs.CTRL_RST >> 24, 1)
    card.write(regs.CTRL, regs.CTRL_RST)
    assert card.peek(regs.FCTTV) == 0x1234
    assert card.peek(regs.ICR) == regs.ICR_LSC
    if gate == "memory":
        command(card, IO | MASTER | MEMORY)
        assert (card.read(regs.FCTTV), card.read(regs.ICR)) == (0x1234, regs.ICR_LSC)


def test_a_doorbell_with_memory_off_moves_nothing(card):
    card.tx_ring()
    command(card, IO | MASTER)
    card.post_packets(packet(60))
    assert (card.wire.sent, card.peek(regs.TDT)) == ([], 0)
    command(card, IO | MASTER | MEMORY)
    card.write(regs.TDT, 1)
    assert card.wire.sent == [packet(60)]


# --- bus master ---


@pytest.mark.parametrize("batch", [1, 3])
def test_without_bus_master_nothing_is_sent_until_it_is_back(card, batch):
    card.tx_ring()
    command(card, IO | MEMORY)
    slots = card.post_packets(*(packet(60, seed=i) for i in range(batch)))
    assert (card.wire.sent, card.read(regs.TDH), card.read(regs.TDT)) == ([], 0, batch)
    assert not any(card.tx_done(slot) for slot in slots)
    command(card, IO | MEMORY | MASTER)
    assert card.wire.sent == [packet(60, seed=i) for i in range(batch)]
    assert card.bus.config_read(0x06, 2) & 0x2000 == 0


def test_without_bus_master_frames_wait_in_the_fifo_until_it_is_back(card):
    card.rx_ring(give=32)
    command(card, IO | MEMORY)
    card.receive(packet(60), packet(61))
    assert (card.take(), card.read(regs.RDH)) == ([], 0)
    command(card, IO | MEMORY | MASTER)
    assert card.take() == [packet(60), packet(61)]
    assert card.bus.config_read(0x06, 2) & 0x2000 == 0


def test_without_bus_master_the_fifo_fills_and_then_frames_are_missed(card):
    card.rx_ring()
    command(card, IO | MEMORY)
    offered = 200
    card.receive(*(packet(1500, seed=i) for i in range(offered)))
    missed = card.read(regs.MPC)
    assert 0 < missed < offered
    assert card.device.drops["rx_missed"] == missed
    command(card, IO | MEMORY | MASTER)
    card.give(0)
    assert len(card.take()) == offered - missed


def test_without_bus_master_registers_and_statistics_still_work(card):
    command(card, IO | MEMORY)
    card.write(regs.FCTTV, 0x4321)
    assert card.read(regs.FCTTV) == 0x4321
    pend(card)
    assert card.bus.irq.asserted


def lossless_pair(undo):
    """A sender and a receiver with rings, on a lossless cable."""
    near, far = pair()
    memory = undo.enter_context(HostMemory(size=1 << 23))
    sender, receiver = (BareCard(undo, wire=end, memory=memory) for end in (near, far))
    sender.tx_ring()
    receiver.rx_ring(give=32)
    return sender, receiver


def test_a_lossless_wire_is_held_up_without_bus_master_and_let_go(undo):
    sender, receiver = lossless_pair(undo)
    command(receiver, IO | MEMORY)
    sender.post_packets(packet(60))
    assert sender.read(regs.TDH) == 0
    command(receiver, IO | MEMORY | MASTER)
    receiver.give(1)
    assert receiver.take() == [packet(60)]
    assert sender.read(regs.TDH) == 1


def test_a_card_in_d3hot_receives_nothing_and_holds_nobody_up(undo):
    sender, receiver = lossless_pair(undo)
    power(receiver, D3HOT)
    sender.post_packets(packet(60))
    assert sender.read(regs.TDH) == 1
    assert receiver.device.drops["rx_disabled"] == 1
    power(receiver, D0)
    assert receiver.take() == []


def test_drivers_traffic_passes_again_after_bus_master_was_off(two_cards):
    cards = two_cards(bql=False)
    cards.send([packet(100)])
    for bus in cards.buses:
        bus.config_write(COMMAND, IO | MEMORY, 2)
    cards.send([packet(101)])
    assert cards.sink.packets == [packet(100)]
    for bus in cards.buses:
        bus.config_write(COMMAND, IO | MEMORY | MASTER, 2)
    cards.send([packet(102)])
    assert cards.sink.packets == [packet(100), packet(101), packet(102)]


# --- interrupts ---


def test_intx_disable_masks_the_line_alone(card):
    command(card, 7 | INTX_DISABLE)
    pend(card)
    assert not card.bus.irq.asserted
    assert card.peek(regs.ICR) == regs.ICR_LSC
    command(card, 7)
    assert card.bus.irq.asserted
    command(card, 7 | INTX_DISABLE)
    assert not card.bus.irq.asserted


def enable_msi(card, address, data):
    card.bus.config_write(MSI + 4, address & ONES)
    card.bus.config_write(MSI + 8, address >> 32)
    card.bus.config_write(MSI + 12, data, 2)
    card.bus.config_write(MSI + 2, 1, 2)


def taken_message(card, address):
    """What was written to the message's address since the last look."""
    value = int.from_bytes(card.addresses.read(address, 4), "little")
    card.addresses.write(address, bytes(4))
    return value


def test_msi_writes_its_data_once_for_each_new_interrupt_and_keeps_the_line_down(card):
    address = card.alloc(b"\xee" * 8)
    pend(card)
    assert card.bus.irq.asserted
    enable_msi(card, address, 0x4021)
    assert not card.bus.irq.asserted
    assert card.addresses.read(address, 8) == bytes.fromhex("21400000eeeeeeee")
    assert taken_message(card, address) == 0x4021
    card.write(regs.ICS, regs.ICR_LSC)
    assert taken_message(card, address) == 0, "the interrupt was pending already"
    assert card.read(regs.ICR) == regs.ICR_LSC
    card.write(regs.ICS, regs.ICR_LSC)
    assert taken_message(card, address) == 0x4021
    card.write(regs.IMC, ONES)
    card.write(regs.IMS, regs.ICR_LSC)
    assert taken_message(card, address) == 0x4021, "unmasking a pending cause is a new interrupt"
    assert card.bus.irq.raised == 1
    card.bus.config_write(MSI + 2, 0, 2)
    assert card.bus.irq.asserted


def test_msi_comes_with_traffic(card):
    address = card.alloc(bytes(4))
    enable_msi(card, address, 7)
    card.rx_ring()
    card.write(regs.IMS, regs.ICR_RXT0)
    card.receive(packet(60))
    assert taken_message(card, address) == 7
    assert card.take() == [packet(60)]


def test_msi_waits_for_bus_master_and_never_falls_back_to_the_line(card):
    address = card.alloc(bytes(4))
    command(card, MEMORY)
    enable_msi(card, address, 7)
    pend(card)
    assert (taken_message(card, address), card.bus.irq.asserted) == (0, False)
    command(card, MEMORY | MASTER)
    assert taken_message(card, address) == 7


def test_msi_to_nowhere_is_a_master_abort(card):
    enable_msi(card, 0xFEE00000, 7)
    pend(card)
    assert card.bus.config_read(0x06, 2) & 0x2000


# --- power ---


def test_from_d3hot_to_d0_the_card_resets_and_configuration_space_too_but_for_pme(card):
    fresh = card.device.dump()
    card.tx_ring()
    card.rx_ring()
    card.write(regs.FCTTV, 0x1234)
    pend(card)
    card.bus.config_write(0x10, 0xFEB80000)
    card.bus.config_write(PMCSR, 0x0100 | D3HOT, 2)
    assert not card.bus.irq.asserted
    assert card.bus.config_read(0x10) == 0xFEB80000
    power(card, D0)
    assert card.device.dump() == fresh | {"WUC": fresh["WUC"] | regs.WUC_PME_EN}
    assert (card.bus.config_read(COMMAND, 2), card.bus.config_read(0x10)) == (0, 0)
    assert card.bus.config_read(PMCSR, 2) == 0x2100
    assert not card.bus.irq.asserted
    command(card, 7)
    assert card.read(regs.FCTTV) == 0


def test_d0_to_d0_resets_nothing(card):
    card.write(regs.FCTTV, 0x1234)
    power(card, D0)
    assert card.read(regs.FCTTV) == 0x1234


def test_ctrl_reset_leaves_configuration_space_alone(card):
    card.bus.config_write(0x10, 0xFEB80000)
    card.bus.io_write(IOADDR, 8)
    before = [card.bus.config_read(i) for i in range(0, 256, 4)]
    card.write(regs.CTRL, regs.CTRL_RST)
    assert [card.bus.config_read(i) for i in range(0, 256, 4)] == before
    assert card.bus.io_read(IOADDR) == 8


# --- anything ---


def test_a_device_thread_obeys_configuration_space(undo):
    cards = TwoCards(undo).open()
    with DeviceThread(cards.cards):
        for bus in cards.buses:
            bus.config_write(COMMAND, IO | MEMORY, 2)
        cards.send([packet(100)])
        assert cards.buses[0].io_read(IODATA) == cards.buses[0].read(regs.CTRL)
        assert cards.buses[0].read(regs.CTRL, 2) == cards.buses[0].read(regs.CTRL) & 0xFFFF
        assert cards.sink.packets == []
        for bus in cards.buses:
            bus.config_write(COMMAND, IO | MEMORY | MASTER, 2)
        for _ in range(100_000):
            cards.stack.run()
            if cards.sink.packets:
                break
    assert cards.sink.packets == [packet(100)]


SIZE = st.sampled_from([1, 2, 4])
OFFSET = st.one_of(st.sampled_from([COMMAND, 0x06, PMCSR, PMCSR + 1, MSI + 2, MSI + 4, 0x10]), st.integers(0, 255))
VALUE = st.one_of(st.sampled_from([0, 1, 3, 6, 7, 0x400, ONES, regs.CTRL_RST]), st.integers(0, ONES))
REGISTER = st.one_of(st.sampled_from([regs.TDT, regs.RDT, regs.IMS, regs.ICS]), st.integers(0, 0x1FFFF))
STEP = st.one_of(
    st.tuples(st.just("config"), OFFSET, VALUE, SIZE),
    st.tuples(st.just("io"), st.integers(0, 63), VALUE, SIZE),
    st.tuples(st.just("register"), REGISTER, VALUE, SIZE),
    st.tuples(st.just("receive"), st.integers(14, 3000), st.just(0), st.just(4)),
)


@given(st.lists(STEP, max_size=40))
@settings(max_examples=300)
def test_whatever_a_host_does_a_reset_makes_the_card_work_again(steps):
    with HostMemory(size=1 << 20) as memory, E1000Device(wire=RecordingWire()) as device, LocalBus(device, memory=memory) as bus:
        calls = {"config": (bus.config_read, bus.config_write), "io": (bus.io_read, bus.io_write), "register": (bus.read, bus.write)}
        for kind, offset, value, size in steps:
            if kind == "receive":
                device.wire.inject(Burst.from_packets([packet(offset)]))
                continue
            read, write = calls[kind]
            try:
                write(offset, value & ((1 << 8 * size) - 1), size)
                assert 0 <= read(offset, size) < 1 << 8 * size
            except ValueError:
                assert offset % 4 + size > 4
        assert (bus.config_read(0), bus.config_read(0x08), bus.config_read(0x2C)) == (0x100E8086, 0x02000002, 0x001E8086)
        bus.config_write(PMCSR, D3HOT, 1)
        bus.config_write(PMCSR, D0, 1)
        bus.config_write(COMMAND, 7, 2)
        sticky = {name for name, line in expand().values() if line.sticky}
        fresh = E1000Device(wire=RecordingWire()).dump()
        assert device.dump() | {name: fresh[name] for name in sticky} == fresh
        assert not bus.irq.asserted
        bus.write(regs.IMS, 1)
        bus.write(regs.ICS, 1)
        assert bus.irq.asserted
