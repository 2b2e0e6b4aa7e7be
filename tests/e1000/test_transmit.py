"""The transmit engine: descriptors to frames on the wire (§3.3)."""

import random

import pytest
from cards import BROADCAST, EOP, GUARD, IFCS, RPS, RS, STATION, RecordingWire, context, data, legacy, packet

from e1000 import regs

MAKES = pytest.mark.parametrize("make", [legacy, data])


def in_pieces(card, content, cuts, make=legacy):
    """Descriptors of one packet cut at the given places."""
    ends = [*cuts, len(content)]
    starts = [0, *cuts]
    return [
        make(card.alloc(content[start:end]), end - start, cmd=(EOP | RS if end == len(content) else 0) | IFCS)
        for start, end in zip(starts, ends, strict=True)
    ]


# --- what reaches the wire ---


@MAKES
@pytest.mark.parametrize("length", [60, 61, 64, 65, 1514, 9000, 16287, 16380])
def test_a_packet_reaches_the_wire_byte_for_byte(tx, make, length):
    sent = packet(length, seed=length)
    tx.post_packets(sent, make=make)
    assert tx.wire.sent == [sent]
    assert tx.read(regs.TDH) == 1


@MAKES
@pytest.mark.parametrize("pieces", [2, 3, 17, 63, 64, 65, 127, 128, 129, 200])
@pytest.mark.parametrize("before", [0, 1, 40])
def test_a_packet_may_lie_in_many_descriptors(make_card, make, pieces, before):
    card = make_card()
    card.tx_ring(256)
    rng = random.Random(pieces)
    first = [packet(60 + i, seed=i) for i in range(before)]
    long = packet(1500, seed=9)
    cuts = sorted(rng.sample(range(1, len(long)), pieces - 1))
    last = packet(99, seed=5)
    descriptors = [legacy(card.alloc(p), len(p)) for p in first] + in_pieces(card, long, cuts, make) + in_pieces(card, last, [50], make)
    card.post(*descriptors)
    assert card.wire.sent == [*first, long, last]
    assert card.read(regs.TDH) == len(descriptors)
    assert card.counts("GPTC", "GOTC") == (before + 2, sum(map(len, card.wire.sent)) + 4 * (before + 2))


def test_packets_leave_in_order_around_the_ring(card):
    card.tx_ring(8)
    rng = random.Random(3)
    sent = [packet(rng.randint(60, 300), seed=i) for i in range(200)]
    left = list(sent)
    while left:
        group = [left.pop(0) for _ in range(min(rng.randint(1, 7), len(left)))]
        card.post_packets(*group)
        assert card.read(regs.TDH) == card.read(regs.TDT) == card.tx_tail
    assert card.wire.sent == sent


def test_a_ring_of_4096_goes_in_one_doorbell(card):
    card.tx_ring(4096)
    address = card.alloc(packet(60))
    card.post(*[legacy(address, 60)] * 4095)
    assert len(card.wire.sent) == 4095
    assert card.read(regs.TDH) == 4095


@pytest.mark.parametrize("length", [1, 13, 14, 59])
@pytest.mark.parametrize("cut", [False, True])
@MAKES
def test_psp_pads_to_64_bytes_with_zeroes(tx, make, length, cut):
    sent = packet(length)
    behind = tx.alloc(sent + bytes([GUARD]) * 64)
    if cut and length > 1:
        tx.post(make(behind, length - 1, cmd=IFCS), make(behind + length - 1, 1))
    else:
        tx.post(make(behind, length))
    assert tx.wire.sent == [sent.ljust(60, b"\0")]
    assert tx.device.padding == (1, 60 - length)
    assert tx.counts("PTC64", "GOTC") == (1, 64)


@MAKES
def test_without_psp_a_short_packet_stays_short(card, make):
    card.tx_ring(tctl=regs.TCTL_EN)
    for length in (1, 14, 59):
        card.post_packets(packet(length), make=make)
    assert card.wire.sent == [packet(1), packet(14), packet(59)]
    assert card.device.padding == (0, 0)


def test_a_packet_of_60_bytes_is_not_padded(tx):
    tx.post_packets(packet(60))
    assert tx.device.padding == (0, 0)


def test_a_long_packet_of_short_pieces_is_padded_too(make_card):
    card = make_card()
    card.tx_ring(128)
    sent = packet(59)
    address = card.alloc(sent)
    # More descriptors than the engine gathers at once, most of them empty
    card.post(*[data(address, 0, cmd=IFCS)] * 70, data(address, 59))
    assert card.wire.sent == [sent + b"\0"]
    assert card.device.padding == (1, 1)


def test_without_a_cable_packets_wait_in_the_ring_until_there_is_one(tx):
    tx.device.unplug()
    slots = tx.post_packets(packet(60))
    assert not tx.tx_done(slots[0])
    assert tx.counts("GPTC") == (0,)
    tx.device.plug(tx.wire)
    assert tx.tx_done(slots[0])
    assert tx.wire.sent == [packet(60)]
    assert tx.counts("GPTC") == (1,)


# --- status and interrupts ---


def test_done_is_written_only_where_it_was_asked_for(tx):
    address = tx.alloc(packet(60))
    commands = [EOP, EOP | RS, EOP, EOP | RPS, EOP | IFCS]
    slots = tx.post(*(legacy(address, 60, cmd=c) for c in commands))
    assert [tx.tx_done(slot) for slot in slots] == [bool(c & (RS | RPS)) for c in commands]


def test_done_is_written_in_the_middle_of_a_packet_too(tx):
    address = tx.alloc(packet(90))
    slots = tx.post(legacy(address, 30, cmd=RS), legacy(address + 30, 30, cmd=0), legacy(address + 60, 30, cmd=EOP))
    assert [tx.tx_done(slot) for slot in slots] == [True, False, False]


@pytest.mark.parametrize("pieces", [1, 2, 100])
def test_writing_status_leaves_the_rest_of_a_descriptor_as_it_was(make_card, pieces):
    card = make_card()
    card.tx_ring(128)
    content = packet(200)
    descriptors = in_pieces(card, content, range(1, pieces))
    slots = card.post(*descriptors)
    for slot, before in zip(slots, descriptors, strict=True):
        after = bytearray(card.addresses.read(card.tx_base + 16 * slot, 16))
        after[12] &= ~1
        assert bytes(after) == before


@pytest.mark.parametrize(("cmd", "cause"), [(EOP, regs.ICR_TXQE), (EOP | RS, regs.ICR_TXDW | regs.ICR_TXQE)])
@pytest.mark.parametrize("length", [60, 20])
def test_txdw_says_status_was_written_and_txqe_that_the_ring_is_empty(tx, cmd, cause, length):
    tx.post(legacy(tx.alloc(packet(length)), length, cmd=cmd))
    assert tx.read(regs.ICR) == cause


def test_txqe_stays_away_while_a_packet_has_no_end(tx):
    address = tx.alloc(packet(60))
    tx.post(legacy(address, 60), legacy(address, 60, cmd=RS))
    assert tx.read(regs.ICR) == regs.ICR_TXDW


def test_an_empty_ring_raises_nothing(tx):
    tx.write(regs.TDT, 0)
    tx.write(regs.TCTL, regs.TCTL_EN)
    assert tx.read(regs.ICR) == 0
    assert tx.wire.sent == []


# --- the doorbell ---


def test_the_head_waits_before_a_packet_until_its_end_is_there(tx):
    content = packet(100)
    descriptors = in_pieces(tx, content, range(1, 100))[:3] + in_pieces(tx, content[3:], [40])
    for descriptor in descriptors[:-1]:
        tx.post(descriptor)
        assert tx.read(regs.TDH) == 0
        assert tx.wire.sent == []
    tx.post(descriptors[-1])
    assert tx.wire.sent == [content]
    assert tx.read(regs.TDH) == len(descriptors)


def test_a_packet_of_150_descriptors_may_come_a_doorbell_at_a_time(make_card):
    card = make_card()
    card.tx_ring(256)
    content = packet(1500)
    for descriptor in in_pieces(card, content, range(10, 1500, 10)):
        card.post(descriptor)
    assert card.wire.sent == [content]
    assert card.read(regs.TDH) == 150


def test_nothing_moves_while_the_unit_is_disabled(card):
    card.tx_ring(tctl=regs.TCTL_PSP)
    slots = card.post_packets(packet(60))
    assert card.wire.sent == []
    assert not card.tx_done(slots[0])
    card.write(regs.TCTL, regs.TCTL_EN)
    assert card.wire.sent == [packet(60)]
    card.write(regs.TCTL, 0)
    card.post_packets(packet(61))
    assert card.wire.sent == [packet(60)]


def test_a_wire_that_rings_the_doorbell_again_does_not_re_enter_the_engine(make_card):
    class Chain(RecordingWire):
        deep = 0

        def transmit_burst(self, burst):
            super().transmit_burst(burst)
            self.deep += 1
            assert self.deep == 1
            if len(self.sent) < 3000:
                card.post(legacy(address, 60))
            self.deep -= 1

    card = make_card(wire=Chain())
    card.tx_ring(16)
    address = card.alloc(packet(60))
    card.post(legacy(address, 60))
    assert card.wire.error is None
    assert card.wire.sent == [packet(60)] * 3000


# --- context descriptors ---


@pytest.mark.parametrize("cmd", [0, RS, RS | EOP])
def test_a_context_descriptor_alone_is_passed_over(tx, cmd):
    slots = tx.post(context(cmd=cmd))
    assert tx.read(regs.TDH) == 1
    assert tx.tx_done(slots[0]) == bool(cmd & RS)
    assert tx.wire.sent == []
    assert not any(tx.device.drops.values())
    assert tx.counts("GPTC", "TPT") == (0, 0)


def test_context_descriptors_between_packets_and_inside_one_take_no_bytes(tx):
    first, second = packet(100, seed=1), packet(100, seed=2)
    one, two = tx.alloc(first), tx.alloc(second)
    tx.post(context(), legacy(one, 100), context(cmd=RS), context(cmd=EOP), data(two, 50, cmd=0), context(cmd=EOP), data(two + 50, 50))
    assert tx.wire.sent == [first, second]
    assert tx.read(regs.TDH) == 7


def test_the_payload_length_of_a_context_descriptor_is_no_buffer(tx):
    tx.post(context(payload=0xFFFFF))
    assert tx.addresses.master_aborts == 0


# --- statistics ---


@pytest.mark.parametrize("cut", [None, 1, 5, 6, 20])
def test_multicasts_and_broadcasts_are_counted(tx, cut):
    for to in (BROADCAST, BROADCAST, b"\1\0\x5e\0\0\1", STATION, b"\xff" * 5 + b"\xfe"):
        content = packet(100, to=to)
        tx.post(*in_pieces(tx, content, [] if cut is None else [cut]))
    assert tx.counts("GPTC", "BPTC", "MPTC") == (5, 2, 2)


def test_packets_are_counted_by_size_with_their_crc(tx):
    sizes = {"PTC64": (64,), "PTC127": (65, 127), "PTC255": (128, 255), "PTC511": (256, 511), "PTC1023": (512, 1023)}
    sizes["PTC1522"] = (1024, 1518)
    for lengths in sizes.values():
        for length in lengths:
            tx.post_packets(packet(length - 4))
    total = sum(map(sum, sizes.values()))
    assert tx.counts(*sizes) == (1, 2, 2, 2, 2, 2)
    assert tx.counts("GPTC", "TPT", "GOTC", "TOT") == (11, 11, total, total)
