"""The receive FIFO and its size (PBA, §13.4.16), and what a ring may hold: null descriptors, no length, a receiver off and on."""

import random
import struct

import pytest
from cards import CE, DD, PIF, RX_EOP, packet
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from e1000 import regs
from fastring.burst import FRAME_BAD_CRC

BASE = regs.RCTL_SECRC | regs.RCTL_BAM
B256 = 3 << 16
RECORD = 1536                                           # of the FIFO for a frame of 1514 bytes


def fill(card, *, first=0, length=1514):
    """Let frames arrive until one is missed; returns those that were not."""
    kept = []
    while not card.read(regs.MPC):
        kept.append(packet(length, seed=first + len(kept)))
        card.receive(kept[-1])
    return kept[:-1]


# --- PBA ---


@pytest.mark.parametrize(
    ("written", "read", "kib"),
    [(48, 0x00100030, 48), (40, 0x00180028, 40), (8, 0x00380008, 8), (64, 0x40, 64), (0, 0x00400000, 0), (47, 0x0011002F, 40),
     (7, 0x00390007, 0), (127, 0x7F, 64), (0xFFFFFFFF, 0x7F, 64), (0x00120010, 0x00300010, 16)],
)
def test_pba_divides_the_packet_buffer(card, written, read, kib):
    card.write(regs.PBA, written)
    assert card.read(regs.PBA) == read
    card.rx_ring(64, give=0)
    assert len(fill(card)) == kib * 1024 // RECORD


def test_the_fifo_keeps_its_size_through_a_reset(card):
    card.write(regs.PBA, 8)
    card.write(regs.CTRL, regs.CTRL_RST)
    card.rx_ring(64, give=0)
    assert len(fill(card)) == 8 * 1024 // RECORD


@pytest.mark.parametrize("kib", [48, 64, 40, 16, 8, 0])
@pytest.mark.parametrize("strip", [True, False], ids=["SECRC", "with-crc"])
def test_a_new_size_keeps_the_oldest_frames_that_fit(card, kib, strip):
    card.rx_ring(64, give=0, rctl=BASE if strip else regs.RCTL_BAM)
    before = fill(card)
    card.give(20)                                       # so that what is left goes around the end
    done = card.take()
    before += fill(card, first=100)
    card.write(regs.PBA, kib)
    kept = min(kib * 1024 // RECORD, 32)
    assert card.read(regs.MPC) == 32 - kept
    card.give((card.rx_head - 1 - card.rx_tail) % 64)
    got = done + card.take()
    assert [p if strip else p[:-4] for p in got] == before[: 20 + kept]
    card.receive(packet(60))
    assert len(card.take()) == 1


STEP = st.one_of(
    st.tuples(st.just("frame"), st.integers(60, 1514)),
    st.tuples(st.just("give"), st.integers(1, 12)),
    st.tuples(st.just("size"), st.sampled_from([0, 8, 16, 24, 40, 48, 64])),
)


@given(st.lists(STEP, min_size=5, max_size=120))
@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
def test_whatever_its_size_frames_leave_it_whole_and_in_order(make_card, steps):
    card = make_card()
    card.write(regs.PBA, 16)
    card.rx_ring(64, give=0, buffer=256, rctl=BASE | B256)
    rng, sent, got = random.Random(1), [], []
    for step, amount in steps:
        if step == "frame":
            sent.append(packet(amount, seed=rng.randrange(1 << 20)))
            card.receive(sent[-1])
        elif step == "size":
            card.write(regs.PBA, amount)
        else:
            card.give(min(amount, (card.rx_head - 1 - card.rx_tail) % 64))
            got += card.take()
    for _ in range(40):
        card.give((card.rx_head - 1 - card.rx_tail) % 64)
        got += card.take()
    missed = card.device.drops["rx_missed"]
    assert len(got) + missed == len(sent)
    assert card.read(regs.MPC) == missed
    wanted = iter(sent)
    assert all(any(packet == other for other in wanted) for packet in got), "out of order, or not as sent"


# --- what waits ---


def test_what_waits_keeps_its_errors_and_what_the_filter_said(card):
    card.rx_ring(64, give=0, rctl=BASE | regs.RCTL_SBP)
    for word in range(128):
        card.write(regs.MTA + 4 * word, 0xFFFFFFFF)
    card.receive(packet(100), packet(20), errors=FRAME_BAD_CRC)
    card.receive(packet(60, to=b"\1\2\3\4\5\6"))
    card.write(regs.MTA, 0)
    card.give(3)
    assert [(d.errors, d.status & PIF, d.length) for d, _ in card.take_descs()] == [(CE, 0, 100), (CE, 0, 20), (0, PIF, 60)]


def test_a_receiver_switched_off_keeps_what_waits_until_it_is_on(card):
    card.rx_ring(64, give=0)
    card.receive(packet(60), packet(61))
    rctl = card.read(regs.RCTL)
    card.write(regs.RCTL, rctl & ~regs.RCTL_EN)
    card.give(10)
    card.receive(packet(62))
    assert card.take() == []
    card.write(regs.RCTL, rctl)
    assert card.take() == [packet(60), packet(61)]
    card.receive(packet(63))
    assert card.take() == [packet(63)]
    assert card.drops == {"rx_disabled": 1}


# --- rings with nothing in them ---


@pytest.mark.parametrize("general", [False, True], ids=["plain", "with-crc"])
def test_a_ring_without_length_takes_nothing(card, general):
    card.rx_ring(64, rctl=0 if general else BASE)
    before = card.addresses.read(card.rx_base, 64 * 16)
    card.write(regs.RDLEN, 0)
    card.receive(packet(60), packet(61))
    assert card.read(regs.RDH) == 0
    assert card.addresses.read(card.rx_base, 64 * 16) == before
    assert card.addresses.master_aborts == 0
    assert card.counts("RNBC", "MPC") == (2, 0)


def test_head_at_tail_is_an_empty_ring(card):
    card.rx_ring(64, give=0)
    card.write(regs.RDH, 7)
    card.write(regs.RDT, 7)
    card.receive(packet(60))
    assert card.read(regs.RDH) == 7
    assert card.counts("RNBC") == (1,)


# --- null descriptors (§3.2.5) ---


def null(card, *slots, word=0):
    for slot in slots:
        card.addresses.write(card.rx_base + 16 * slot, struct.pack("<QQ", 0, word))


@pytest.mark.parametrize("mapped", [False, True])
@pytest.mark.parametrize("general", [False, True], ids=["plain", "with-crc"])
def test_descriptors_without_an_address_are_passed_over(card, mapped, general):
    low = bytearray(4096)
    if mapped:                                          # memory at bus address 0, as a guest has it, and the card has used it
        card.addresses.map(low, iova=0)
    card.rx_ring(64, rctl=regs.RCTL_BAM if general else BASE)
    null(card, 1, 2, word=0xABCD_00_00_1234_0100)
    if mapped:
        card.addresses.write(card.rx_base, struct.pack("<QQ", 2048, 0))
    card.receive(packet(60), packet(61))
    assert [card.rx_desc(i).status & (DD | RX_EOP) for i in range(5)] == [DD | RX_EOP, DD, DD, DD | RX_EOP, 0]
    assert card.rx_desc(1) == (0, 0x0100, 0x1234, DD, 0, 0xABCD)
    assert card.addresses.read(card.rx_buffers[3], 61) == packet(61)
    assert not any(low[:2048])
    assert not card.drops


def test_a_chain_goes_on_behind_them(card):
    card.rx_ring(64, buffer=256, rctl=BASE | B256)
    null(card, 0, 2, 3)
    card.receive(packet(700), packet(60))
    lengths = [(card.rx_desc(i).length, card.rx_desc(i).status & (DD | RX_EOP)) for i in range(8)]
    assert lengths == [(0, DD), (256, DD), (0, DD), (0, DD), (256, DD), (188, DD | RX_EOP), (60, DD | RX_EOP), (0, 0)]


def test_a_ring_of_nothing_else_ends(card):
    card.rx_ring(64)
    null(card, *range(64))
    card.receive(packet(60))
    assert card.read(regs.RDH) == 63
    assert card.counts("RNBC", "GPRC") == (1, 1)
    for slot in range(64):
        card.reset_rx(slot)
    card.rx_head = 63
    card.give(5)
    assert card.take() == [packet(60)]


def test_a_chain_waits_for_descriptors_with_addresses(card):
    card.rx_ring(64, give=5, buffer=256, rctl=BASE | B256)
    null(card, 1, 2)
    card.receive(packet(1000))
    assert card.read(regs.RDH) == 0
    assert card.counts("MPC") == (0,)
    card.give(1)
    assert [card.rx_desc(i).length for i in range(6)] == [256, 0, 0, 256, 256, 232]
    assert not card.drops


def test_a_chain_for_which_a_full_ring_has_too_few_is_missed(card):
    card.rx_ring(8, buffer=256, rctl=BASE | B256)
    null(card, 1, 2)
    card.receive(packet(1500), packet(1000))
    assert card.counts("MPC") == (1,)
    assert [card.rx_desc(i).length for i in range(7)] == [256, 0, 0, 256, 256, 232, 0]
