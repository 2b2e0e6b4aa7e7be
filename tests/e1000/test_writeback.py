"""Write-back thresholds (§3.2.5, §3.4.2): descriptors are kept until there are enough, or a delay timer expires."""

import pytest
from cards import DD, EOP, IFCS, RS, legacy, packet
from timed import DELAY_UNIT, DELAYED, TimedCard

from e1000 import regs

IMMEDIATE = EOP | IFCS | RS


def control(wthresh, *, lines=False):
    return wthresh << regs.DCTL_WTHRESH_SHIFT | (0 if lines else regs.DCTL_GRAN)


@pytest.fixture
def card(undo):
    card = TimedCard(undo)
    card.write(regs.IMS, regs.ICR_RXT0 | regs.ICR_TXDW)
    return card


@pytest.fixture
def tx(card):
    card.tx_ring(64)
    card.write(regs.TIDV, 10)
    return card


@pytest.fixture
def rx(card):
    card.rx_ring(64)
    card.write(regs.RDTR, 10)
    return card


def done(card, slots):
    return [card.tx_done(slot) for slot in slots]


def filled(card, count):
    return [card.rx_desc(slot).status & DD for slot in range(count)]


# --- transmit ---


@pytest.mark.parametrize("value", [0, control(0), control(1), 0x01010000, control(1, lines=True)])
def test_a_threshold_of_at_most_1_writes_each_at_once(tx, value):
    tx.write(regs.TXDCTL, value)
    for _ in range(3):
        assert all(done(tx, tx.send(IMMEDIATE)))
        assert tx.read(regs.ICR) & regs.ICR_TXDW


def test_transmit_descriptors_are_written_when_there_are_enough(tx):
    tx.write(regs.TXDCTL, control(4))
    slots = []
    for i in range(3):
        slots += tx.send(IMMEDIATE)
        assert done(tx, slots) == [False] * (i + 1)
        assert not tx.read(regs.ICR) & regs.ICR_TXDW
    assert tx.wire.sent == [packet(60)] * 3, "the packets themselves do not wait"
    assert tx.read(regs.TDH) == 3
    slots += tx.send(IMMEDIATE, 3)
    assert done(tx, slots) == [True] * 4 + [False] * 2
    assert tx.read(regs.ICR) & regs.ICR_TXDW
    start = tx.now
    assert tx.rises(10**6) == [start + 10 * DELAY_UNIT]
    assert all(done(tx, slots))


def test_the_first_kept_descriptor_starts_the_timer_and_later_ones_leave_it(tx):
    tx.write(regs.TXDCTL, control(60))
    slots = tx.send(IMMEDIATE)
    tx.until(5000)
    slots += tx.send(IMMEDIATE)
    tx.until(10 * DELAY_UNIT - 1)
    assert not any(done(tx, slots))
    tx.until(10 * DELAY_UNIT)
    assert all(done(tx, slots))
    assert tx.up


def test_kept_descriptors_with_ide_are_counted_and_their_interrupt_still_waits(tx):
    tx.write(regs.TXDCTL, control(2))
    assert done(tx, tx.send(DELAYED)) == [False]
    tx.until(5000)
    assert done(tx, tx.send(DELAYED)) == [True]
    assert not tx.read(regs.ICR) & regs.ICR_TXDW
    assert tx.rises(10**6) == [5000 + 10 * DELAY_UNIT]


def test_only_descriptors_with_rs_count_and_are_written(tx):
    tx.write(regs.TXDCTL, control(2))
    slots = tx.send(EOP | IFCS, 10) + tx.send(IMMEDIATE)
    assert not any(done(tx, slots))
    slots += tx.send(IMMEDIATE)
    assert done(tx, slots) == [False] * 10 + [True] * 2


def test_a_packet_of_more_descriptors_than_a_batch_is_kept_too(card):
    card.tx_ring(256)
    card.write(regs.TIDV, 10)
    card.write(regs.TXDCTL, control(8))
    address = card.alloc(packet(200))
    pieces = [legacy(address + i, 1, cmd=RS) for i in range(200)]
    slots = card.post(*pieces[:199], legacy(address, 1))
    assert all(done(card, slots))
    slots = card.post(*pieces[:99], legacy(address, 1))
    assert done(card, slots) == [True] * 96 + [False] * 4
    card.until(10 * DELAY_UNIT)
    assert all(done(card, slots))


def test_a_threshold_without_tidv_keeps_nothing(tx):
    tx.write(regs.TIDV, 0)
    tx.write(regs.TXDCTL, control(60))
    assert all(done(tx, tx.send(IMMEDIATE)))
    tx.write(regs.TIDV, 10)
    slots = tx.send(IMMEDIATE)
    assert not any(done(tx, slots))
    tx.write(regs.TIDV, 0)
    assert all(done(tx, slots))


def test_a_lower_threshold_writes_what_it_would_not_keep(tx):
    tx.write(regs.TXDCTL, control(60))
    slots = tx.send(IMMEDIATE, 5)
    tx.write(regs.TXDCTL, control(6))
    assert not any(done(tx, slots))
    tx.write(regs.TXDCTL, control(5))
    assert all(done(tx, slots))


@pytest.mark.parametrize(("line", "descriptors"), [(0, 2), (4, 2), (8, 4), (16, 8), (255, 64)])
def test_without_gran_the_threshold_counts_cache_lines(tx, line, descriptors):
    tx.tx_ring(256)
    tx.write(regs.TXDCTL, control(2, lines=True))
    tx.bus.config_write(0x0C, line, 1)
    slots = tx.send(IMMEDIATE, descriptors - 1)
    assert not any(done(tx, slots))
    slots += tx.send(IMMEDIATE)
    assert all(done(tx, slots))


def test_switching_the_transmitter_off_writes_what_is_kept(tx):
    tx.write(regs.TXDCTL, control(60))
    slots = tx.send(IMMEDIATE)
    tx.write(regs.TCTL, 0)
    assert all(done(tx, slots))


@pytest.mark.parametrize("how", ["TDH", "TDBAL", "TDLEN", "reset"])
def test_nothing_is_written_to_a_ring_that_was_taken_away(tx, how):
    tx.write(regs.TXDCTL, control(60))
    slots = tx.send(IMMEDIATE, 3)
    if how == "reset":
        tx.write(regs.CTRL, regs.CTRL_RST)
    else:
        offset = getattr(regs, how)
        tx.write(offset, tx.read(offset))
    tx.until(10**6)
    assert not any(done(tx, slots))


def test_kept_descriptors_of_a_card_without_bus_master_are_given_up(tx):
    tx.write(regs.TXDCTL, control(60))
    slots = tx.send(IMMEDIATE)
    tx.bus.config_write(0x04, 3, 2)
    tx.until(10**6)
    assert not any(done(tx, slots))
    tx.bus.config_write(0x04, 7, 2)
    tx.write(regs.TXDCTL, 0)
    assert all(done(tx, tx.send(IMMEDIATE)))


# --- receive ---


def test_receive_descriptors_are_written_when_there_are_enough(rx):
    rx.write(regs.RXDCTL, control(4))
    rx.arrive(60, 61, 62)
    assert filled(rx, 5) == [0] * 5
    assert rx.read(regs.RDH) == 3
    rx.arrive(63, 64)
    assert filled(rx, 6) == [1, 1, 1, 1, 0, 0]
    assert rx.take() == [packet(60 + i) for i in range(4)]
    assert rx.rises(10**6) == [10 * DELAY_UNIT]
    assert rx.take() == [packet(64)]


def test_what_is_used_is_written_before_the_interrupt_that_tells_of_it(rx):
    rx.write(regs.RXDCTL, control(60))
    rx.arrive(60, 1000)
    rx.until(10 * DELAY_UNIT - 1)
    assert filled(rx, 2) == [0, 0]
    rx.until(10 * DELAY_UNIT)
    assert rx.up
    assert rx.take() == [packet(60), packet(1000)]


def test_fpd_writes_what_is_used(rx):
    rx.write(regs.RXDCTL, control(60))
    rx.arrive()
    rx.write(regs.RDTR, regs.RDTR_FPD | 10)
    assert rx.take() == [packet(60)]
    assert rx.read(regs.ICR) == regs.ICR_RXT0


def test_a_small_packet_and_an_rdtr_of_0_write_what_is_used(rx):
    rx.write(regs.RXDCTL, control(60))
    rx.write(regs.RSRPD, 100)
    rx.arrive(1000)
    assert rx.take() == []
    rx.arrive(60)
    assert rx.take() == [packet(1000), packet(60)]
    rx.arrive(500)
    assert rx.take() == []
    rx.write(regs.RDTR, 0)
    assert rx.take() == [packet(500)]
    rx.arrive(500)
    assert rx.take() == [packet(500)]


def test_the_last_descriptor_of_the_ring_writes_all(card):
    card.rx_ring(8)
    card.write(regs.RDTR, 10)
    card.write(regs.RXDCTL, control(6))
    card.arrive(*[60] * 6)
    assert len(card.take()) == 6
    card.give(6)
    card.arrive()
    assert card.take() == []
    card.arrive()
    assert len(card.take()) == 2


def test_a_packet_over_several_descriptors_is_whole_in_the_end(card):
    card.rx_ring(64, buffer=256, rctl=regs.RCTL_SECRC | 3 << regs.RCTL_BSIZE_SHIFT)
    card.write(regs.RDTR, 10)
    card.write(regs.RXDCTL, control(4))
    card.arrive(1500)
    assert filled(card, 6) == [1, 1, 1, 1, 0, 0]
    card.until(10 * DELAY_UNIT)
    assert card.take() == [packet(1500)]


def test_switching_the_receiver_off_writes_what_is_used(rx):
    rx.write(regs.RXDCTL, control(60))
    rx.arrive()
    rx.write(regs.RCTL, 0)
    assert rx.take() == [packet(60)]


def test_a_moved_receive_ring_is_not_written(rx):
    rx.write(regs.RXDCTL, control(60))
    rx.arrive()
    rx.write(regs.RDH, 0)
    rx.until(10**6)
    assert rx.take() == []
    assert rx.read(regs.ICR) == regs.ICR_RXT0
