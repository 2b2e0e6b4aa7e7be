"""Interrupt moderation, to the nanosecond: the receive timers (§3.2.7), the transmit timers (§3.4.3) and low descriptors."""

import pytest
from cards import EOP, IFCS, RS, BareCard, legacy, packet
from timed import DELAY_UNIT, DELAYED, IDE, ITR_UNIT, interrupt, interrupting_card

from e1000 import regs
from e1000.bus import HostMemory
from fastring.wire import pair

RXT0, TXDW, LSC = regs.ICR_RXT0, regs.ICR_TXDW, regs.ICR_LSC
IMMEDIATE = EOP | IFCS | RS


@pytest.fixture
def card(undo):
    return interrupting_card(undo)


@pytest.fixture
def rx(card):
    card.rx_ring(256)
    return card


@pytest.fixture
def tx(card):
    card.tx_ring(64)
    return card


# --- RDTR, RADV ---


def test_rdtr_0_interrupts_for_every_packet_whatever_radv_says(rx):
    rx.write(regs.RADV, 8)
    for _ in range(3):
        rx.arrive()
        assert rx.up
        assert rx.read(regs.ICR) == RXT0
    assert rx.rises(10**6) == []


def test_rxt0_comes_rdtr_after_the_last_packet(rx):
    rx.write(regs.RDTR, 10)
    for at in (0, 5000, 12000):
        rx.until(at)
        rx.arrive()
        assert rx.read(regs.ICR) == 0
    assert rx.rises(10**6) == [12000 + 10 * DELAY_UNIT]
    rx.arrive()
    assert rx.rises(2 * 10**6) == [10**6 + 10 * DELAY_UNIT]


def test_radv_bounds_the_wait_from_the_first_packet(rx):
    rx.write(regs.RDTR, 10)
    rx.write(regs.RADV, 25)
    rises = []
    for at in range(0, 65_000, 5000):
        rises += rx.rises(at)
        rx.arrive()
    rises += rx.rises(10**6)
    assert rises == [25 * DELAY_UNIT, 30_000 + 25 * DELAY_UNIT, 60_000 + 10 * DELAY_UNIT]


def test_one_receive_timer_stops_the_other(rx):
    rx.write(regs.RDTR, 10)
    rx.write(regs.RADV, 15)
    rx.arrive()
    assert rx.rises(10**6) == [10 * DELAY_UNIT]
    rx.write(regs.RDTR, 20)
    rx.arrive()
    assert rx.rises(2 * 10**6) == [10**6 + 15 * DELAY_UNIT]


def test_radv_0_is_no_bound(rx):
    rx.write(regs.RDTR, 10)
    for i in range(100):
        rx.until(5000 * i)
        rx.arrive()
        assert not rx.up
    assert rx.rises(10**6) == [99 * 5000 + 10 * DELAY_UNIT]


def test_other_causes_do_not_wait_for_rdtr_and_do_not_end_its_wait(rx):
    rx.write(regs.RDTR, 10)
    rx.arrive()
    rx.until(1000)
    rx.write(regs.ICS, LSC)
    assert rx.up
    assert rx.read(regs.ICR) == LSC
    assert rx.rises(10**6) == [10 * DELAY_UNIT]


def test_fpd_ends_the_wait_and_clears_itself(rx):
    rx.write(regs.RDTR, 10)
    rx.arrive()
    rx.write(regs.RDTR, regs.RDTR_FPD | 77)
    assert rx.read(regs.RDTR) == 77
    assert rx.read(regs.ICR) == RXT0
    assert rx.rises(10**6) == []


def test_rdtr_set_to_0_ends_the_wait(rx):
    rx.write(regs.RDTR, 10)
    rx.arrive()
    rx.write(regs.RDTR, 0)
    assert rx.read(regs.ICR) == RXT0
    rx.write(regs.RDTR, 0)
    assert rx.read(regs.ICR) == 0
    assert rx.rises(10**6) == []


def test_an_interrupt_that_rdtr_lets_come_still_waits_for_itr(rx):
    rx.write(regs.ITR, 100)
    rx.write(regs.RDTR, 10)
    interrupt(rx)
    rx.arrive()
    assert rx.rises(10**6) == [100 * ITR_UNIT]


def test_a_frame_that_was_not_stored_starts_no_timer(rx):
    rx.write(regs.RDTR, 10)
    rx.receive(packet(60, to=b"\2\2\2\2\2\2"), packet(20))
    assert rx.clock.next_deadline is None


# --- RSRPD ---


@pytest.mark.parametrize(("rctl", "crc"), [(regs.RCTL_SECRC, 0), (0, 4)])
@pytest.mark.parametrize("length", [60, 99, 100, 101, 1000])
def test_a_packet_as_small_as_rsrpd_as_stored_is_told_at_once(card, rctl, crc, length):
    card.rx_ring(rctl=rctl)
    card.write(regs.RDTR, 10)
    card.write(regs.RSRPD, 100)
    card.arrive(length)
    small = length + crc <= 100
    assert card.read(regs.ICR) == (regs.ICR_SRPD | RXT0 if small else 0)
    assert card.rises(10**6) == ([] if small else [10 * DELAY_UNIT])


def test_a_small_packet_ends_the_wait_for_larger_ones(rx):
    rx.write(regs.RDTR, 10)
    rx.write(regs.RADV, 20)
    rx.write(regs.RSRPD, 64)
    rx.arrive(500)
    rx.until(100)
    rx.arrive(60)
    assert rx.read(regs.ICR) == regs.ICR_SRPD | RXT0
    assert rx.rises(10**6) == []


def test_rsrpd_0_tells_no_packet_apart(rx):
    rx.write(regs.RSRPD, 100)
    rx.arrive(60)
    assert rx.read(regs.ICR) == regs.ICR_SRPD | RXT0
    rx.write(regs.RSRPD, 0)
    rx.arrive(60)
    assert rx.read(regs.ICR) == RXT0


# --- TIDV, TADV ---


def test_without_ide_txdw_comes_at_once(tx):
    tx.write(regs.TIDV, 10)
    tx.write(regs.TADV, 10)
    tx.send(IMMEDIATE)
    assert tx.up
    assert tx.read(regs.ICR) & TXDW
    assert tx.rises(10**6) == []


def test_with_ide_txdw_comes_tidv_after_the_last_descriptor_and_status_at_once(tx):
    tx.write(regs.TIDV, 10)
    for at in (0, 5000, 12000):
        tx.until(at)
        assert all(map(tx.tx_done, tx.send()))
        assert not tx.read(regs.ICR) & TXDW
    assert tx.rises(10**6) == [12000 + 10 * DELAY_UNIT]


def test_tadv_bounds_the_wait_from_the_first_descriptor(tx):
    tx.write(regs.TIDV, 10)
    tx.write(regs.TADV, 15)
    for at in (0, 5000, 10000):
        tx.until(at)
        tx.send()
    assert tx.rises(10**6) == [15 * DELAY_UNIT]
    tx.send()
    assert tx.rises(2 * 10**6) == [10**6 + 10 * DELAY_UNIT]


def test_an_immediate_txdw_ends_the_wait(tx):
    tx.write(regs.TIDV, 10)
    tx.write(regs.TADV, 20)
    tx.send()
    tx.send(IMMEDIATE)
    assert tx.read(regs.ICR) & TXDW
    assert tx.rises(10**6) == []


def test_in_one_burst_the_last_descriptor_decides_whether_a_wait_is_left(tx):
    tx.write(regs.TIDV, 10)
    content = tx.alloc(packet(60))
    for cmds, rises in (([DELAYED, IMMEDIATE], []), ([IMMEDIATE, DELAYED], [10 * DELAY_UNIT])):
        start = tx.now
        tx.post(*(legacy(content, 60, cmd=cmd) for cmd in cmds))
        assert tx.read(regs.ICR) & TXDW
        assert tx.rises(start + 10**6) == [start + at for at in rises]


def test_ide_without_rs_reports_nothing(tx):
    tx.write(regs.TIDV, 10)
    tx.send(EOP | IDE)
    assert not tx.read(regs.ICR) & TXDW
    assert tx.clock.next_deadline is None


def test_ide_with_tidv_0_is_no_delay(tx):
    tx.write(regs.TADV, 10)
    tx.send()
    assert tx.read(regs.ICR) & TXDW
    assert tx.rises(10**6) == []


def test_tidv_set_to_0_ends_the_wait(tx):
    tx.write(regs.TIDV, 10)
    tx.send()
    tx.read(regs.ICR)
    tx.write(regs.TIDV, 0)
    assert tx.read(regs.ICR) == TXDW
    tx.write(regs.TIDV, 0)
    assert tx.read(regs.ICR) == 0


def test_txqe_does_not_wait(tx):
    tx.write(regs.TIDV, 10)
    tx.send()
    assert tx.read(regs.ICR) == regs.ICR_TXQE


# --- TXD_LOW, RXDMT0 ---


@pytest.mark.parametrize("threshold", [0, 1, 3, 7])
def test_txd_low_comes_when_what_is_left_falls_to_the_threshold(undo, threshold):
    memory, ends = undo.enter_context(HostMemory(size=1 << 23)), pair()
    card, far = (BareCard(undo, wire=end, memory=memory) for end in ends)
    card.tx_ring(128)
    far.rx_ring(128, give=0)
    card.write(regs.TXDCTL, threshold << regs.TXDCTL_LWTHRESH_SHIFT)
    card.post_packets(*([packet(60)] * 60), cmd=EOP)
    assert card.read(regs.ICR) == 0
    for left in range(59, -1, -1):
        far.give(1)
        assert card.read(regs.TDH) == 60 - left
        expected = regs.ICR_TXD_LOW if threshold and left == 8 * threshold else 0
        assert card.read(regs.ICR) == expected | (0 if left else regs.ICR_TXQE), left


def test_rxdmt0_comes_once_for_each_time_the_descriptors_run_low(card):
    card.rx_ring(64)
    for _ in range(3):
        raised = []
        for left in range(62, 20, -1):
            card.arrive()
            if card.read(regs.ICR) & regs.ICR_RXDMT0:
                raised.append(left)
        assert raised == [32]
        assert len(card.take()) == 42
        card.give(42)


def test_rxdmt0_does_not_wait_for_rdtr(card):
    card.rx_ring(64)
    card.write(regs.RDTR, 1000)
    card.arrive(*([60] * 40))
    assert card.read(regs.ICR) == regs.ICR_RXDMT0
