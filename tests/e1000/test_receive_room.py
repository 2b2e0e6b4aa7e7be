"""The receive ring when it is short of descriptors, or not what it should be: thresholds, waiting, FIFO, faults."""

import random

import pytest
from cards import DD, GUARD, RX_EOP, RXE, BareCard, legacy, packet

from e1000 import regs
from e1000.bus import HostMemory
from fastring.wire import pair

BASE = regs.RCTL_SECRC | regs.RCTL_BAM
B256 = 3 << 16
FAR_AWAY = 1 << 40


@pytest.fixture
def cable(undo):
    """cable(**rx_ring options): a sender and a receiver on a lossless cable."""

    def make(*, lossless=True, **options):
        memory = undo.enter_context(HostMemory(size=1 << 24))
        wires = pair(lossless=lossless)
        near, far = BareCard(undo, wire=wires[0], memory=memory), BareCard(undo, wire=wires[1], memory=memory)
        near.tx_ring(256)
        far.rx_ring(**options)
        return near, far

    return make


# --- RXT0, RXDMT0 ---


def test_every_frame_raises_rxt0(card):
    card.rx_ring()
    for length in (60, 2000):
        card.write(regs.RCTL, card.read(regs.RCTL) | regs.RCTL_LPE)
        card.receive(packet(length))
        assert card.read(regs.ICR) == regs.ICR_RXT0


@pytest.mark.parametrize(("code", "fraction"), [(0, 2), (1, 4), (2, 8)])
@pytest.mark.parametrize("strip", [True, False], ids=["plain", "with-crc"])
def test_rxdmt0_is_raised_when_the_free_descriptors_fall_to_the_threshold(card, code, fraction, strip):
    card.rx_ring(64, rctl=code << regs.RCTL_RDMTS_SHIFT | (regs.RCTL_SECRC if strip else 0))
    for _turn in range(2):
        card.read(regs.ICR)
        for free in range(62, -1, -1):
            card.receive(packet(60))
            assert bool(card.read(regs.ICR) & regs.ICR_RXDMT0) == (free == 64 // fraction), free
        card.take()
        card.give(63)


def test_rxdmt0_is_raised_by_a_frame_that_jumps_over_the_threshold(card):
    card.rx_ring(64, give=35, buffer=256, rctl=BASE | B256)
    card.receive(packet(1500))
    assert card.read(regs.ICR) == regs.ICR_RXT0 | regs.ICR_RXDMT0


# --- the ring itself ---


def test_frames_arrive_in_order_around_the_ring(card):
    card.rx_ring(8, buffer=256, rctl=BASE | B256)
    rng = random.Random(2)
    for i in range(300):
        sent = packet(rng.randint(60, 1000), seed=i)
        card.receive(sent)
        used = -(-len(sent) // 256)
        assert card.take() == [sent]
        card.give(used)
    assert not card.drops


def test_a_whole_burst_fills_the_ring_but_for_one(card):
    card.rx_ring(64)
    card.receive(*[packet(60 + i, seed=i) for i in range(70)])
    assert card.read(regs.RDH) == 63
    assert card.take() == [packet(60 + i, seed=i) for i in range(63)]


# --- no room: a lossless wire ---


def test_a_lossless_wire_waits_for_descriptors_and_loses_nothing(cable):
    near, far = cable(count=8, give=5)
    sent = [packet(60 + i, seed=i) for i in range(50)]
    near.post_packets(*sent)
    assert near.read(regs.TDH) == 5
    got = far.take()
    for _ in range(15):
        far.give(3)
        got += far.take()
    assert got == sent
    assert not near.drops
    assert not far.drops
    assert far.counts("MPC", "RNBC", "GPRC") == (0, 0, 50)


def test_a_lossless_wire_waits_behind_what_is_in_the_fifo(cable):
    """A frame looped back, which no wire can hold up, waits for more descriptors than the wire's next one needs."""
    near, far = cable(count=8, give=0, buffer=256, rctl=BASE | B256)
    far.tx_ring()
    far.write(regs.RCTL, far.read(regs.RCTL) | regs.RCTL_LBM_MAC)
    far.post_packets(packet(1000, seed=1))
    far.write(regs.RCTL, far.read(regs.RCTL) & ~regs.RCTL_LBM)
    far.give(2)
    near.post_packets(packet(60))
    assert near.read(regs.TDH) == 0
    assert far.take() == []
    far.give(3)
    assert near.read(regs.TDH) == 1
    assert far.take() == [packet(1000, seed=1), packet(60)]
    assert not far.drops


def test_a_lossless_wire_waits_until_a_whole_chain_has_room(cable):
    near, far = cable(count=8, give=3, buffer=256, rctl=BASE | B256)
    near.post_packets(packet(1000), packet(60))
    assert near.read(regs.TDH) == 0
    far.give(1)
    assert far.take() == [packet(1000)]
    far.give(1)
    assert far.take() == [packet(60)]


@pytest.mark.parametrize("lossless", [True, False])
def test_a_frame_that_needs_more_descriptors_than_the_ring_can_have_is_missed(cable, lossless):
    near, far = cable(count=8, buffer=256, rctl=BASE | B256 | regs.RCTL_LPE, lossless=lossless)
    near.post_packets(*map(packet, (1400, 1500, 60, 7 * 256 + 1, 61)))
    got = []
    for _ in range(10):
        before = far.rx_head
        got += far.take()
        far.give((far.rx_head - before) % 8)
    assert got == [packet(n) for n in (1400, 1500, 60, 61)]
    assert far.drops == {"rx_missed": 1}
    assert far.counts("MPC") == (1,)


def test_a_frame_of_all_the_descriptors_a_ring_can_have_is_received(card):
    card.rx_ring(8, buffer=256, rctl=BASE | B256 | regs.RCTL_LPE)
    card.receive(packet(7 * 256))
    assert card.take() == [packet(7 * 256)]


# --- no room: the FIFO ---


def test_without_descriptors_frames_wait_in_the_fifo_and_keep_their_order(card):
    card.rx_ring(64, give=0)
    sent = [packet(60 + i, seed=i) for i in range(40)]
    card.receive(*sent[:20])
    card.receive(*sent[20:])
    assert card.take() == []
    assert card.counts("RNBC", "MPC", "TPR", "GPRC", "GORC") == (40, 0, 40, 40, sum(map(len, sent)) + 160)
    assert card.read(regs.ICR) == 0
    for i in range(40):
        card.give(1)
        assert card.read(regs.ICR) & ~regs.ICR_RXDMT0 == regs.ICR_RXT0
        assert card.take() == [sent[i]]
    assert card.counts("GPRC", "GORC") == (0, 0)
    assert not card.drops


def test_a_frame_never_overtakes_those_in_the_fifo(card):
    card.rx_ring(64, give=2, buffer=256, rctl=BASE | B256)
    card.receive(packet(1000, seed=1), packet(60, seed=2))
    assert card.take() == []
    card.give(1)
    card.receive(packet(61, seed=3))
    assert card.take() == []
    card.give(10)
    assert card.take() == [packet(1000, seed=1), packet(60, seed=2), packet(61, seed=3)]
    assert card.counts("RNBC") == (0,)


def test_a_full_fifo_misses_frames_and_says_so(card):
    card.rx_ring(64, give=0)
    fit = 48 * 1024 // 1536
    sent = [packet(1514, seed=i) for i in range(fit + 3)]
    card.receive(*sent[:fit])
    assert card.read(regs.ICR) == 0
    card.receive(*sent[fit:])
    assert card.read(regs.ICR) == regs.ICR_RXO
    assert card.counts("MPC", "RNBC", "TPR", "GPRC") == (3, fit, fit + 3, fit)
    assert card.drops == {"rx_missed": 3}
    card.give(63)
    assert card.take() == sent[:fit]


def test_a_small_frame_may_still_fit_where_a_large_one_does_not(card):
    card.rx_ring(64, give=0)
    sent = [packet(1500, seed=i) for i in range(32)] + [packet(60, seed=9)]
    card.receive(*sent[:32], packet(1500, seed=99), sent[32])
    card.give(63)
    assert card.take() == sent


@pytest.mark.parametrize("strip", [True, False], ids=["SECRC", "with-crc"])
def test_the_fifo_wraps_around_with_every_byte_in_place(make_card, strip):
    card = make_card()
    card.rx_ring(64, give=0, buffer=256, rctl=B256 | (regs.RCTL_SECRC if strip else 0))
    rng = random.Random(8)
    waiting, got, expected, missed = 0, [], [], 0
    for i in range(600):
        content = packet(rng.randint(60, 1514), seed=i)
        before = card.device.drops["rx_missed"]
        card.receive(content)
        if card.device.drops["rx_missed"] == before:
            expected.append(content)
            waiting += 1
        else:
            missed += 1
        if rng.random() < 0.5:
            head = card.rx_head
            card.give(min(rng.randint(1, 12), (card.rx_head - 1 - card.rx_tail) % 64))
            got += card.take()
            assert (card.rx_head - head) % 64 <= 63
    for _ in range(20):
        card.give((card.rx_head - 1 - card.rx_tail) % 64)
        got += card.take()
    assert missed > 0
    assert [p if strip else p[:-4] for p in got] == expected
    assert card.counts("MPC", "GPRC") == (missed, len(expected))


def test_reset_empties_the_fifo_and_counts_what_was_in_it(card):
    card.rx_ring(64, give=0)
    card.receive(*[packet(60 + 100 * i) for i in range(12)])
    card.write(regs.CTRL, regs.CTRL_RST)
    assert card.drops == {"rx_disabled": 12}
    card.rx_ring(64)
    card.receive(packet(61))
    assert card.take() == [packet(61)]


def test_frames_wait_in_the_fifo_while_there_is_no_ring_yet(card):
    card.write(regs.RCTL, BASE | regs.RCTL_EN)
    card.receive(packet(60), packet(61))
    card.write(regs.RDT, 0)
    assert not card.drops
    card.rx_ring(8)
    assert card.take() == [packet(60), packet(61)]


def test_a_frame_in_the_fifo_that_a_smaller_ring_can_never_take_is_missed(card):
    card.rx_ring(64, give=0, buffer=256, rctl=BASE | B256 | regs.RCTL_LPE)
    card.receive(packet(3000), packet(60))
    card.rx_ring(8, buffer=256, rctl=BASE | B256 | regs.RCTL_LPE)
    assert card.take() == [packet(60)]
    assert card.counts("MPC") == (1,)
    assert card.drops == {"rx_missed": 1}


# --- faults of the host ---


@pytest.mark.parametrize("strip", [True, False], ids=["SECRC", "with-crc"])
def test_a_buffer_outside_memory_costs_its_frame_and_marks_the_descriptor(card, strip):
    card.rx_ring(64, rctl=regs.RCTL_SECRC if strip else 0)
    card.addresses.write(card.rx_base, FAR_AWAY.to_bytes(8, "little"))
    card.receive(packet(100, seed=1), packet(100, seed=2))
    bad = card.rx_desc(0)
    assert bad.status & (DD | RX_EOP) == DD | RX_EOP
    assert bad.errors == RXE
    assert bad.length == 0
    assert card.rx_desc(1).errors == 0
    assert card.addresses.read(card.rx_buffers[1], 100) == packet(100, seed=2)
    assert card.drops == {"rx_dma": 1}
    assert card.counts("GPRC", "TPR") == (2, 2)
    assert card.read(regs.ICR) == regs.ICR_RXT0


def test_a_buffer_outside_memory_in_mid_chain_ends_the_chain_with_an_error(card):
    card.rx_ring(64, buffer=256, rctl=BASE | B256)
    card.addresses.write(card.rx_base + 16 * 2, FAR_AWAY.to_bytes(8, "little"))
    card.receive(packet(1000), packet(60))
    statuses = [(card.rx_desc(i).status & (DD | RX_EOP), card.rx_desc(i).errors) for i in range(5)]
    assert statuses == [(DD, 0), (DD, 0), (DD | RX_EOP, RXE), (DD | RX_EOP, 0), (0, 0)]
    assert card.drops == {"rx_dma": 1}


def test_a_read_only_buffer_is_not_written(card):
    card.rx_ring(64)
    wall = bytes([GUARD]) * 2048
    card.addresses.write(card.rx_base, card.memory.map(wall).to_bytes(8, "little"))
    card.receive(packet(60))
    assert wall == bytes([GUARD]) * 2048
    assert card.drops == {"rx_dma": 1}


def test_a_buffer_that_crosses_the_end_of_memory_is_not_written(card):
    card.rx_ring(64)
    buffer = bytearray(99)
    card.addresses.write(card.rx_base, card.memory.map(buffer).to_bytes(8, "little"))
    card.receive(packet(100))
    assert buffer == bytes(99)
    assert card.drops == {"rx_dma": 1}


@pytest.mark.parametrize("register", [regs.RDT, regs.RDH])
@pytest.mark.parametrize("bad", [64, 0xFFFF])
def test_a_tail_or_head_outside_the_ring_is_a_ring_without_descriptors(card, register, bad):
    card.rx_ring(64)
    good = card.read(register)
    card.write(register, bad)
    card.receive(packet(60))
    assert card.take() == []
    assert card.counts("RNBC") == (1,)
    card.write(register, good)
    card.write(regs.RDT, card.rx_tail)
    assert card.take() == [packet(60)]


@pytest.mark.parametrize("base", [FAR_AWAY, 2**64 - 16, 0])
def test_a_ring_outside_memory_is_an_abort_and_a_ring_without_descriptors(card, base):
    card.rx_ring(64)
    card.write(regs.RDBAL, base & 0xFFFFFFFF)
    card.write(regs.RDBAH, base >> 32)
    card.receive(packet(60))
    assert card.addresses.master_aborts == 1
    assert card.read(regs.RDH) == 0
    card.write(regs.RDBAL, card.rx_base & 0xFFFFFFFF)
    card.write(regs.RDBAH, card.rx_base >> 32)
    card.write(regs.RDT, card.rx_tail)
    assert card.take() == [packet(60)]


def test_a_card_off_its_bus_reaches_no_memory(card):
    card.rx_ring(64)
    card.tx_ring()
    base = card.addresses
    card.bus.close()
    card.receive(packet(60))
    card.write(regs.TDT, 1)
    assert card.take() == []
    assert base.master_aborts == 0


def test_both_cards_of_a_cable_send_and_receive_on_one_thread(undo):
    memory = undo.enter_context(HostMemory(size=1 << 23))
    wires = pair()
    near, far = BareCard(undo, wire=wires[0], memory=memory), BareCard(undo, wire=wires[1], memory=memory)
    for one in (near, far):
        one.tx_ring(64)
        one.rx_ring(64)
    for _ in range(30):
        near.post_packets(packet(60), packet(61))
        far.post(legacy(far.alloc(packet(62)), 62))
    assert far.take() == [packet(60), packet(61)] * 30
    assert near.take() == [packet(62)] * 30
