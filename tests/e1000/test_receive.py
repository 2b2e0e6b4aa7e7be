"""The receive engine: filter, length rules, descriptors, statistics (§3.2, §13.4.22, §13.5)."""

import random
import zlib
from itertools import pairwise

import pytest
from cards import BROADCAST, DD, IXSM, PIF, RX_EOP, STATION, BareCard, legacy, packet

from e1000 import regs
from e1000.bus import HostMemory
from fastring.wire import pair

BASE = regs.RCTL_SECRC | regs.RCTL_BAM
MULTICAST = bytes.fromhex("01aa00123456")
OTHER = bytes.fromhex("525400aaaaaa")
# RCTL for each buffer size (§13.4.22)
SIZES = {2048: 0, 1024: 1 << 16, 512: 2 << 16, 256: 3 << 16}
SIZES |= {size: code << 16 | regs.RCTL_BSEX for size, code in ((16384, 1), (8192, 2), (4096, 3))}


def fcs(content):
    return zlib.crc32(content).to_bytes(4, "little")


# --- address filter ---


@pytest.mark.parametrize(
    ("to", "rctl", "passes"),
    [
        (STATION, 0, True),
        (OTHER, 0, False),
        (OTHER, regs.RCTL_UPE, True),
        (OTHER, regs.RCTL_MPE | regs.RCTL_BAM, False),
        (BROADCAST, 0, False),
        (BROADCAST, regs.RCTL_BAM, True),
        (BROADCAST, regs.RCTL_UPE, False),
        (MULTICAST, 0, False),
        (MULTICAST, regs.RCTL_BAM | regs.RCTL_UPE, False),
        (MULTICAST, regs.RCTL_MPE, True),
    ],
)
@pytest.mark.parametrize("plain", [True, False], ids=["plain", "with-crc"])
def test_a_frame_passes_by_its_destination(card, to, rctl, passes, plain):
    card.rx_ring(rctl=rctl | (regs.RCTL_SECRC if plain else 0))
    content = packet(100, to=to)
    card.receive(content)
    assert card.take() == ([content if plain else content + fcs(content)] if passes else [])
    assert card.drops == ({} if passes else {"rx_filtered": 1})
    assert card.counts("TPR", "GPRC", "TOR", "GORC") == (1, int(passes), 104, 104 * passes)


@pytest.mark.parametrize("entry", [1, 7, 15])
def test_every_station_address_is_looked_at_while_it_is_valid(card, entry):
    card.rx_ring()
    low, high = regs.RAL0 + 8 * entry, regs.RAH0 + 8 * entry
    card.write(low, int.from_bytes(OTHER[:4], "little"))
    card.write(high, int.from_bytes(OTHER[4:], "little"))
    card.receive(packet(60, to=OTHER))
    assert card.take() == []
    card.write(high, card.read(high) | regs.RAH_AV)
    card.receive(packet(60, to=OTHER), packet(61))
    assert card.take() == [packet(60, to=OTHER), packet(61)]
    card.write(high, 0)
    card.receive(packet(60, to=OTHER))
    assert card.take() == []


def test_an_address_that_is_not_valid_matches_nothing(card):
    card.rx_ring()
    card.write(regs.RAH0, 0)
    card.receive(packet(60), packet(60, to=bytes(6)))
    assert card.take() == []


# §13.5.1's example: 01-AA-00-12-34-56 by MO
@pytest.mark.parametrize(("offset", "bit"), [(0, 0x563), (1, 0xAC6), (2, 0x58D), (3, 0x634)])
def test_the_multicast_table_is_indexed_by_twelve_bits_chosen_by_mo(card, offset, bit):
    card.rx_ring(rctl=BASE | offset << regs.RCTL_MO_SHIFT)
    for word in range(128):
        card.write(regs.MTA + 4 * word, 0xFFFFFFFF)
    card.write(regs.MTA + 4 * (bit >> 5), 0xFFFFFFFF & ~(1 << (bit & 31)))
    card.receive(packet(60, to=MULTICAST))
    assert card.take() == []
    for word in range(128):
        card.write(regs.MTA + 4 * word, 0)
    card.write(regs.MTA + 4 * (bit >> 5), 1 << (bit & 31))
    card.receive(packet(60, to=MULTICAST), packet(60, to=OTHER))
    assert card.take() == [packet(60, to=MULTICAST)]


def test_pif_marks_frames_that_only_an_inexact_filter_let_in(card):
    card.rx_ring()
    card.write(regs.MTA + 4 * (0x563 >> 5), 1 << (0x563 & 31))
    for to, inexact in ((STATION, False), (BROADCAST, False), (MULTICAST, True)):
        card.receive(packet(60, to=to))
        (desc, _), = card.take_descs()
        assert desc.status == DD | RX_EOP | IXSM | (PIF if inexact else 0)


def test_a_multicast_that_is_a_station_address_is_an_exact_match(card):
    card.rx_ring()
    card.write(regs.RAL0 + 8, int.from_bytes(MULTICAST[:4], "little"))
    card.write(regs.RAH0 + 8, int.from_bytes(MULTICAST[4:], "little") | regs.RAH_AV)
    card.receive(packet(60, to=MULTICAST))
    (desc, _), = card.take_descs()
    assert not desc.status & PIF


# --- length rules ---


@pytest.mark.parametrize("length", [1, 5, 6, 13, 14, 15, 16, 17, 59])
def test_a_frame_under_64_bytes_is_a_runt(card, length):
    card.rx_ring(rctl=BASE | regs.RCTL_UPE | regs.RCTL_MPE)
    card.receive(packet(length), packet(60))
    assert card.take() == [packet(60)]
    assert card.drops == {"rx_runt": 1}
    assert card.counts("RUC", "RLEC", "GPRC", "TPR", "TOR") == (1, 1, 1, 2, length + 4 + 64)


@pytest.mark.parametrize("to", [BROADCAST, OTHER])
def test_a_runt_for_somebody_else_is_filtered_and_no_runt(card, to):
    card.rx_ring(rctl=regs.RCTL_SECRC)
    card.receive(packet(20, to=to))
    assert card.drops == {"rx_filtered": 1}
    assert card.counts("RUC") == (0,)


@pytest.mark.parametrize("long", [False, True], ids=["", "LPE"])
@pytest.mark.parametrize("tagged", [False, True], ids=["untagged", "tagged"])
@pytest.mark.parametrize("length", [1514, 1515, 1518, 1519, 9000, 16380, 16381, 20000])
def test_the_longest_frame_is_1522_bytes_or_16384(make_card, long, tagged, length):
    card = make_card()
    card.rx_ring(rctl=BASE | (regs.RCTL_LPE if long else 0))
    content = packet(length, ethertype=0x8100 if tagged else 0x0800)
    card.receive(content)
    passes = length <= (16380 if long else 1518)
    assert card.take() == ([content] if passes else [])
    assert card.drops == ({} if passes else {"rx_oversize": 1})
    assert card.counts("ROC", "RLEC", "GPRC") == (not passes, not passes, passes)


# --- buffers ---


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("strip", [True, False], ids=["SECRC", "with-crc"])
def test_a_frame_fills_buffers_of_the_chosen_size(make_card, size, strip):
    card = make_card()
    card.rx_ring(72, buffer=size, rctl=regs.RCTL_LPE | SIZES[size] | (regs.RCTL_SECRC if strip else 0))
    crc = 0 if strip else 4
    lengths = {60, 1000, 16380} | {max(60, k * size - crc + d) for k in (1, 2, 3) for d in (-1, 0, 1, 2, 3, 4)}
    for length in sorted(n for n in lengths if n <= 16380):
        content = packet(length, seed=length)
        whole = content if strip else content + fcs(content)
        card.receive(content)
        descs = card.take_descs()
        full, rest = divmod(len(whole), size)
        assert [d.length for d, _ in descs] == [size] * full + [rest] * (rest > 0)
        assert [bool(d.status & RX_EOP) for d, _ in descs] == [False] * (len(descs) - 1) + [True]
        assert all(d.status & (DD | IXSM) == DD | IXSM and d.errors == 0 for d, _ in descs)
        assert b"".join(part for _, part in descs) == whole
        card.give(len(descs))
    assert not card.drops


def test_the_reserved_code_of_bsex_is_a_buffer_of_2048_bytes(card):
    card.rx_ring(rctl=BASE | regs.RCTL_BSEX | regs.RCTL_LPE)
    card.receive(packet(3000))
    assert [d.length for d, _ in card.take_descs()] == [2048, 952]


@pytest.mark.parametrize("behind", range(1, 5))
def test_the_crc_may_straddle_two_buffers(card, behind):
    card.rx_ring(buffer=256, rctl=SIZES[256])
    content = packet(256 - 4 + behind)
    card.receive(content)
    (first, head), (last, tail) = card.take_descs()
    assert (first.length, last.length) == (256, behind)
    assert head + tail == content + fcs(content)


def test_a_buffer_size_set_while_running_holds_for_the_next_frame(card):
    card.rx_ring()
    card.receive(packet(1000))
    card.write(regs.RCTL, card.read(regs.RCTL) | SIZES[512])
    card.receive(packet(1000))
    assert [d.length for d, _ in card.take_descs()] == [1000, 512, 488]


# --- frames in pieces ---


@pytest.mark.parametrize("strip", [True, False], ids=["SECRC", "with-crc"])
@pytest.mark.parametrize("size", [2048, 256])
def test_a_frame_in_many_pieces_is_filtered_and_stored_as_one(undo, strip, size):
    memory = undo.enter_context(HostMemory(size=1 << 23))
    wires = pair()
    near, far = BareCard(undo, wire=wires[0], memory=memory), BareCard(undo, wire=wires[1], memory=memory)
    near.tx_ring(64)
    far.rx_ring(64, buffer=size, rctl=SIZES[size] | (regs.RCTL_SECRC if strip else 0))
    rng = random.Random(5)
    for i in range(60):
        length = rng.choice([60, 61, 64, 255, 256, 257, 1000, 1514])
        content = packet(length, to=OTHER if i % 3 == 0 else STATION, ethertype=0x8100 if i % 2 else 0x0800, seed=i)
        if i % 5 == 4:
            content = packet(1518, ethertype=0x8100)
        # Cut inside the header most of the time: the destination and the VLAN tag lie in several pieces
        cuts = sorted(rng.sample(range(1, 20), rng.randint(1, 19)) + ([40] if rng.random() < 0.5 else []))
        address = near.alloc(content)
        edges = [0, *cuts, len(content)]
        near.post(*(legacy(address + a, b - a, cmd=1 << 24 if b == len(content) else 0) for a, b in pairwise(edges)))
        expected = [content if strip else content + fcs(content)] if content[:6] == STATION else []
        got = far.take()
        assert got == expected
        far.give((far.rx_head - 1 - far.rx_tail) % 64)


# --- statistics ---


def test_received_frames_are_counted_by_size_and_kind(card):
    card.rx_ring(256, rctl=BASE | regs.RCTL_MPE)
    sizes = {"PRC64": (64,), "PRC127": (65, 127), "PRC255": (128, 255), "PRC511": (256, 511), "PRC1023": (512, 1023)}
    sizes["PRC1522"] = (1024, 1518)
    for lengths in sizes.values():
        for length in lengths:
            card.receive(packet(length - 4), packet(length - 4, to=BROADCAST), packet(length - 4, to=MULTICAST))
    card.receive(packet(30), packet(2000), packet(100, to=OTHER))
    total = 3 * sum(map(sum, sizes.values()))
    assert card.counts("GORC", "TOR") == (total, total + 34 + 2004 + 104)
    assert card.counts(*sizes) == (3, 6, 6, 6, 6, 6)
    assert card.counts("GPRC", "BPRC", "MPRC", "TPR", "RUC", "ROC") == (33, 11, 11, 36, 1, 1)


def test_a_disabled_receiver_counts_frames_in_drops_alone(card):
    card.rx_ring()
    card.write(regs.RCTL, card.read(regs.RCTL) & ~regs.RCTL_EN)
    card.receive(packet(60), packet(20), packet(5000))
    assert card.drops == {"rx_disabled": 3}
    assert card.counts("TPR", "GPRC", "RUC", "ROC", "MPC") == (0, 0, 0, 0, 0)
    assert card.take() == []
    card.write(regs.RCTL, BASE | regs.RCTL_EN)
    card.receive(packet(60))
    assert card.take() == [packet(60)]
