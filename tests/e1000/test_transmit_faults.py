"""What a host can do wrong with the transmit ring, and what a wire that is full does: nothing is lost unseen, nothing hangs."""

import random

import pytest
from cards import EOP, IFCS, RS, BareCard, context, data, legacy, packet, run_bounded

from e1000 import regs
from e1000.bus import HostMemory
from fastring.wire import pair

FAR_AWAY = 1 << 40


def sends(card, seed=77):
    """Whether an ordinary packet still gets out."""
    before = len(card.wire.sent)
    card.post_packets(packet(80, seed=seed))
    return card.wire.sent[before:] == [packet(80, seed=seed)]


@pytest.mark.parametrize("make", [legacy, data])
def test_a_packet_of_no_bytes_reaches_no_wire_and_is_counted(tx, make):
    slots = tx.post(make(tx.alloc(1), 0))
    assert tx.wire.sent == []
    assert tx.tx_done(slots[0])
    assert tx.drops == {"tx_empty": 1}
    assert tx.counts("GPTC", "TPT") == (0, 0)
    assert sends(tx)


@pytest.mark.parametrize("lengths", [[16381], [9000, 9000], [16380, 1], [1] * 100 + [16300], [60] + [0] * 20 + [16380]])
def test_a_packet_over_16_kilobytes_is_dropped_and_counted(make_card, lengths):
    card = make_card()
    card.tx_ring(128)
    address = card.alloc(20000)
    slots = card.post(*(data(address, n, cmd=RS) for n in lengths[:-1]), data(address, lengths[-1], cmd=RS | EOP))
    assert card.wire.sent == []
    assert all(card.tx_done(slot) for slot in slots)
    assert card.drops == {"tx_oversize": 1}
    assert card.counts("GPTC", "TPT", "GOTC") == (0, 0, 0)
    assert sends(card)


def test_a_data_descriptor_of_a_megabyte_is_dropped(tx):
    tx.post(data(tx.alloc(64), 0xFFFFF))
    assert tx.drops == {"tx_oversize": 1}
    assert sends(tx)


@pytest.mark.parametrize("make", [legacy, data])
@pytest.mark.parametrize("pieces", [1, 3, 100])
def test_a_buffer_outside_memory_costs_its_packet_alone(make_card, make, pieces):
    card = make_card()
    card.tx_ring(256)
    address = card.alloc(packet(60))
    good = packet(99, seed=4)
    bad = [make(address, 1, cmd=IFCS)] * (pieces - 1) + [make(FAR_AWAY, 60)]
    slots = card.post(legacy(card.alloc(good), 99), *bad, legacy(card.alloc(good), 99))
    assert card.wire.sent == [good, good]
    assert card.drops == {"tx_dma": 1}
    assert card.addresses.master_aborts == 1
    assert card.tx_done(slots[-2])
    assert card.counts("GPTC") == (2,)


def test_a_buffer_that_crosses_an_end_of_memory_is_not_read(tx):
    start = tx.memory.map(bytes(60))
    tx.post(legacy(start + 1, 60), legacy(start - 1, 60), legacy(start, 60))
    assert tx.wire.sent == [bytes(60)]
    assert tx.addresses.master_aborts == 2
    assert tx.drops == {"tx_dma": 2}


@pytest.mark.parametrize("address", [2**64 - 30, 2**64 - 1, 2**63])
def test_no_bus_address_can_crash_it(tx, address):
    tx.post(legacy(address, 60), data(address, 60))
    assert tx.drops == {"tx_dma": 2}
    assert sends(tx)


@pytest.mark.parametrize("make", [legacy, data])
def test_a_null_address_has_no_bytes_even_where_memory_is_mapped(tx, make):
    """§3.3.3."""
    tx.addresses.map(bytes(4096), iova=0)
    content = packet(100)
    slots = tx.post(make(0, 60), make(0, 60, cmd=RS), make(tx.alloc(content), 100))
    assert tx.wire.sent == [content]
    assert tx.drops == {"tx_empty": 1}
    assert all(tx.tx_done(slot) for slot in slots)


@pytest.mark.parametrize("bad", [8, 9, 0x1000, 0xFFFF])
def test_a_tail_outside_the_ring_sends_nothing_and_does_no_harm(card, bad):
    card.tx_ring(8)
    card.put(legacy(card.alloc(packet(60)), 60))
    card.write(regs.TDT, bad)
    assert card.wire.sent == []
    assert card.read(regs.TDH) == 0
    assert card.read(regs.TDT) == bad
    card.write(regs.TDT, card.tx_tail)
    assert card.wire.sent == [packet(60)]


@pytest.mark.parametrize("bad", [8, 0xFFFF])
def test_a_head_outside_the_ring_sends_nothing_and_does_no_harm(card, bad):
    card.tx_ring(8)
    card.write(regs.TDH, bad)
    card.post(legacy(card.alloc(packet(60)), 60))
    assert card.wire.sent == []
    card.write(regs.TDH, 0)
    card.write(regs.TDT, card.tx_tail)
    assert card.wire.sent == [packet(60)]


def test_a_ring_of_length_zero_sends_nothing(tx):
    tx.write(regs.TDLEN, 0)
    tx.post(legacy(tx.alloc(packet(60)), 60))
    assert tx.wire.sent == []


@pytest.mark.parametrize("base", [FAR_AWAY, 2**64 - 16, 0])
def test_a_ring_outside_memory_is_an_abort_and_does_no_harm(tx, base):
    tx.write(regs.TDBAL, base & 0xFFFFFFFF)
    tx.write(regs.TDBAH, base >> 32)
    tx.post(legacy(tx.alloc(packet(60)), 60))
    assert tx.wire.sent == []
    assert tx.read(regs.TDH) == 0
    assert tx.addresses.master_aborts == 1
    tx.write(regs.TDBAL, tx.tx_base & 0xFFFFFFFF)
    tx.write(regs.TDBAH, tx.tx_base >> 32)
    tx.write(regs.TDT, tx.tx_tail)
    assert tx.wire.sent == [packet(60)]


def test_a_ring_that_reaches_over_the_end_of_memory_is_not_read(tx):
    ring = bytearray(64 * 16 - 16)
    tx.write(regs.TDBAL, tx.memory.map(ring))
    tx.write(regs.TDT, 2)
    assert tx.read(regs.TDH) == 0
    assert tx.addresses.master_aborts == 1


def test_a_read_only_ring_is_not_written(make_card):
    card = make_card()
    ring = bytes(128)
    card.tx_ring(8)
    base = card.memory.map(ring)
    card.program("TD", base, 8)
    card.write(regs.TDT, 1)
    assert card.read(regs.TDH) == 0
    assert ring == bytes(128)
    assert card.addresses.master_aborts == 1


def test_a_read_only_buffer_can_be_sent(tx):
    content = packet(1000)
    tx.post(legacy(tx.memory.map(content), 1000))
    assert tx.wire.sent == [content]


def context_only(address, length, *, cmd):
    return context()


@pytest.mark.parametrize("count", [8, 64, 128, 4096])
@pytest.mark.parametrize("make", [legacy, data, context_only])
def test_a_ring_full_of_one_packet_without_an_end_is_given_up(make_card, count, make):
    card = make_card()
    card.tx_ring(count)
    address = card.alloc(packet(60))
    run_bounded(lambda: card.post(*[make(address, 1, cmd=RS)] * (count - 1)))
    assert card.wire.sent == []
    assert card.read(regs.TDH) == count - 1
    assert sum(card.drops.values()) <= 1
    run_bounded(lambda: sends(card))
    assert card.wire.sent == [packet(80, seed=77)]


def test_an_endless_packet_is_counted_as_too_long(card):
    card.tx_ring(128)
    card.post(*[legacy(card.alloc(packet(60)), 1, cmd=RS)] * 127)
    assert card.drops == {"tx_oversize": 1}


def test_descriptors_of_every_type_and_command_are_survived(make_card):
    card = make_card()
    card.tx_ring(256)
    address = card.alloc(packet(200))
    rng = random.Random(11)
    for _ in range(300):
        word = rng.getrandbits(64) & ~0xFFFF | rng.choice([0, 1, 59, 60, 100])
        card.post(address.to_bytes(8, "little") + word.to_bytes(8, "little"))
    card.post(legacy(address, 1))
    assert card.read(regs.TDH) == card.tx_tail
    assert sends(card)


# --- a wire that is full ---


@pytest.fixture
def held(undo):
    """A card on a lossless cable whose far end takes nothing yet."""
    memory = undo.enter_context(HostMemory(size=1 << 23))
    ends = pair()
    near = BareCard(undo, wire=ends[0], memory=memory)
    far = BareCard(undo, wire=ends[1], memory=memory)
    near.tx_ring(256)
    far.rx_ring(64, give=0)
    return near, far


def pieces_of(near, content, pieces):
    address = near.alloc(content)
    return [legacy(address + i, 1, cmd=0) for i in range(pieces - 1)] + [legacy(address + pieces - 1, len(content) - pieces + 1)]


@pytest.mark.parametrize("pieces", [1, 2, 100])
def test_what_the_wire_refuses_stays_in_the_ring_and_leaves_later(held, pieces):
    near, far = held
    content = packet(300)
    slots = near.post(*pieces_of(near, content, pieces))
    assert near.read(regs.TDH) == 0
    assert not near.tx_done(slots[-1])
    assert near.counts("GPTC") == (0,)
    far.give(1)
    assert near.read(regs.TDH) == pieces
    assert near.tx_done(slots[-1])
    assert near.counts("GPTC") == (1,)
    assert far.take() == [content]


def test_packets_leave_one_by_one_as_the_far_end_makes_room(held):
    near, far = held
    sent = [packet(60 + i, seed=i) for i in range(40)]
    near.post_packets(*sent)
    for i in range(40):
        assert near.read(regs.TDH) == i
        far.give(1)
    assert far.take() == sent
    assert not near.drops
    assert not far.drops


@pytest.mark.parametrize("pieces", [1, 2, 100])
@pytest.mark.parametrize("bad", ["tx_dma", "tx_empty", "tx_oversize"])
def test_a_bad_packet_behind_one_that_must_wait_is_counted_once(held, pieces, bad):
    near, far = held
    good = packet(300)
    spoilt = {"tx_dma": legacy(FAR_AWAY, 60), "tx_empty": legacy(near.alloc(1), 0), "tx_oversize": data(near.alloc(1), 20000)}[bad]
    near.post(*pieces_of(near, good, pieces), spoilt, *pieces_of(near, good, pieces))
    for _ in range(3):
        near.write(regs.TDT, near.tx_tail)
    far.give(2)
    assert far.take() == [good, good]
    assert near.drops == {bad: 1}


def test_a_reset_of_the_far_end_lets_a_held_up_sender_go(held):
    near, far = held
    near.post_packets(packet(60))
    far.write(regs.CTRL, regs.CTRL_RST)
    assert near.read(regs.TDH) == 1
    assert far.drops == {"rx_disabled": 1}


def test_disabling_the_receiver_lets_a_held_up_sender_go(held):
    near, far = held
    near.post_packets(packet(60))
    far.write(regs.RCTL, 0)
    assert near.read(regs.TDH) == 1
    assert far.drops == {"rx_disabled": 1}
