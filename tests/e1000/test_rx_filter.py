"""The address filter's corners (§13.5.1 to 13.5.3): address select, registers half written, and what PIF says."""

import pytest
from cards import BROADCAST, PIF, STATION, packet

from e1000 import regs

BASE = regs.RCTL_SECRC
OTHER = bytes.fromhex("525400aaaaaa")
SOURCE = b"\x02\0\0\0\0\1"                              # that packet() makes frames from
GROUP = bytes.fromhex("01aa00123456")


def set_address(card, entry, address, *, select=0, valid=True):
    card.write(regs.RAL0 + 8 * entry, int.from_bytes(address[:4], "little"))
    high = int.from_bytes(address[4:], "little") | select << regs.RAH_AS_SHIFT
    card.write(regs.RAH0 + 8 * entry, high | (regs.RAH_AV if valid else 0))


@pytest.mark.parametrize("entry", [0, 1, 15])
@pytest.mark.parametrize(("select", "seen"), [(0, []), (1, [OTHER, BROADCAST, GROUP]), (2, []), (3, [])])
@pytest.mark.parametrize("general", [False, True], ids=["plain", "with-crc"])
def test_address_select_has_the_source_compared(card, entry, select, seen, general):
    card.rx_ring(rctl=0 if general else BASE)
    set_address(card, entry, SOURCE, select=select)
    card.receive(*(packet(60, to=to) for to in (OTHER, BROADCAST, GROUP)))
    assert [p[:6] for p in card.take()] == seen
    card.receive(packet(60, to=SOURCE))
    assert len(card.take()) == (select in (0, 1))


def test_a_source_that_is_not_valid_or_not_the_same_does_not_match(card):
    card.rx_ring(rctl=BASE)
    set_address(card, 3, SOURCE, select=1, valid=False)
    set_address(card, 4, SOURCE[:5] + b"\2", select=1)
    card.receive(packet(60, to=OTHER))
    assert card.take() == []
    set_address(card, 3, SOURCE, select=1)
    card.receive(packet(60, to=OTHER))
    assert card.take() == [packet(60, to=OTHER)]


def test_all_sixteen_registers_count(card):
    card.rx_ring(rctl=BASE)
    addresses = [bytes([2, 0, 0, 0, i, i]) for i in range(16)]
    for i, address in enumerate(addresses):
        set_address(card, i, address)
    card.receive(*(packet(60, to=address) for address in [*addresses, STATION]))
    assert [p[:6] for p in card.take()] == addresses


def test_each_half_of_an_address_counts_once_it_is_written(card):
    card.rx_ring(rctl=BASE)
    card.receive(packet(60))
    card.write(regs.RAL0, int.from_bytes(OTHER[:4], "little"))
    mixed = OTHER[:4] + STATION[4:]
    card.receive(packet(60), packet(61, to=OTHER), packet(62, to=mixed))
    card.write(regs.RAH0, int.from_bytes(OTHER[4:], "little") | regs.RAH_AV)
    card.receive(packet(60), packet(63, to=OTHER), packet(64, to=mixed))
    assert [len(p) for p in card.take()] == [60, 62, 63]


def test_the_valid_bit_can_be_cleared_while_frames_arrive(card):
    card.rx_ring(rctl=BASE)
    card.write(regs.RAH0, card.read(regs.RAH0) & ~regs.RAH_AV)
    card.receive(packet(60))
    card.write(regs.RAH0, card.read(regs.RAH0) | regs.RAH_AV)
    card.receive(packet(61))
    assert card.take() == [packet(61)]


@pytest.mark.parametrize(
    ("rctl", "to", "pif"),
    [
        (0, GROUP, True),
        (regs.RCTL_MPE, GROUP, False),
        (regs.RCTL_UPE, OTHER, False),
        (regs.RCTL_BAM, BROADCAST, False),
        (0, STATION, False),
    ],
)
@pytest.mark.parametrize("general", [False, True], ids=["plain", "with-crc"])
def test_only_the_multicast_table_is_inexact(card, rctl, to, pif, general):
    card.rx_ring(rctl=rctl | (0 if general else BASE))
    for word in range(128):
        card.write(regs.MTA + 4 * word, 0xFFFFFFFF)
    card.receive(packet(60, to=to))
    (desc, _), = card.take_descs()
    assert bool(desc.status & PIF) == pif


@pytest.mark.parametrize("to", [OTHER, BROADCAST])
def test_the_multicast_table_lets_no_unicast_and_no_broadcast_in(card, to):
    card.rx_ring(rctl=BASE)
    for word in range(128):
        card.write(regs.MTA + 4 * word, 0xFFFFFFFF)
    card.receive(packet(60, to=to))
    assert card.take() == []


def test_broadcasts_that_pass_as_multicasts_are_not_counted_as_broadcasts(card):
    card.rx_ring(rctl=BASE | regs.RCTL_MPE)
    card.receive(packet(60, to=BROADCAST))
    assert card.counts("BPRC", "MPRC", "GPRC") == (0, 0, 1)
