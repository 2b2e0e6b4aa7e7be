"""Interrupt moderation, to the nanosecond: ITR (§13.4.18), and what goes for every timer."""

import gc
import weakref

import pytest
from cards import RecordingWire, packet
from timed import DELAYED, ITR_UNIT, TimedCard, interrupt, interrupting_card

from e1000 import regs
from e1000.device import E1000Device
from fastring.clock import VirtualClock

RXT0, TXDW, LSC = regs.ICR_RXT0, regs.ICR_TXDW, regs.ICR_LSC
MSI = 0xF0


@pytest.fixture
def card(undo):
    return interrupting_card(undo)


def test_without_itr_every_interrupt_comes_at_once(card):
    for _ in range(5):
        card.write(regs.ICS, LSC)
        assert card.up
        card.read(regs.ICR)
        assert not card.up


def test_the_first_interrupt_after_a_quiet_interval_comes_at_once(card):
    card.write(regs.ITR, 100)
    for _ in range(3):
        card.write(regs.ICS, LSC)
        assert card.up
        card.read(regs.ICR)
        card.until(card.now + 100 * ITR_UNIT)


def test_an_interrupt_within_the_interval_comes_when_it_is_over(card):
    card.write(regs.ITR, 100)
    interrupt(card)
    card.until(50)
    card.write(regs.ICS, LSC)
    assert not card.up
    assert card.peek(regs.ICR) == LSC
    assert card.rises(10**6) == [100 * ITR_UNIT]


def test_the_interval_counts_from_when_the_line_went_up_and_not_from_the_acknowledgement(card):
    card.write(regs.ITR, 100)
    card.write(regs.ICS, LSC)
    card.until(100 * ITR_UNIT - 1)
    card.read(regs.ICR)
    card.write(regs.ICS, LSC)
    assert not card.up
    card.until(100 * ITR_UNIT)
    assert card.up
    card.until(300 * ITR_UNIT)
    card.read(regs.ICR)
    card.write(regs.ICS, LSC)
    assert card.up


def test_a_storm_of_causes_raises_the_line_once_an_interval(card):
    card.rx_ring(256)
    card.write(regs.ITR, 100)
    rises = []
    for at in range(0, 200_000, 1000):
        rises += card.rises(at)
        card.arrive()
        if card.up:
            rises.append(card.now)
            card.read(regs.ICR)
    assert rises == [n * 100 * ITR_UNIT for n in range(8)]


def test_causes_that_are_held_come_together(card):
    card.write(regs.ITR, 100)
    interrupt(card)
    card.write(regs.ICS, LSC)
    card.write(regs.ICS, RXT0)
    card.until(100 * ITR_UNIT)
    assert card.read(regs.ICR) == LSC | RXT0


def test_a_held_cause_that_a_poller_reads_raises_nothing(card):
    card.write(regs.ITR, 100)
    interrupt(card)
    card.write(regs.ICS, LSC)
    assert card.read(regs.ICR) == LSC
    assert card.rises(10**6) == []


def test_a_held_cause_that_is_masked_raises_nothing_until_it_is_unmasked(card):
    card.write(regs.ITR, 100)
    interrupt(card)
    card.write(regs.ICS, LSC)
    card.write(regs.IMC, LSC)
    assert card.rises(10**6) == []
    card.write(regs.IMS, LSC)
    assert card.up


def test_unmasking_within_the_interval_waits_for_its_end(card):
    card.write(regs.ITR, 100)
    card.write(regs.ICS, LSC)
    card.write(regs.IMC, LSC)
    assert not card.up
    card.until(10)
    card.write(regs.IMS, LSC)
    assert not card.up
    assert card.rises(10**6) == [100 * ITR_UNIT]


def test_a_cause_while_the_line_is_up_is_no_new_interrupt(card):
    card.write(regs.ITR, 100)
    card.write(regs.ICS, LSC)
    card.until(90 * ITR_UNIT)
    card.write(regs.ICS, RXT0)
    card.until(100 * ITR_UNIT)
    assert card.read(regs.ICR) == LSC | RXT0
    card.write(regs.ICS, LSC)
    assert card.up


@pytest.mark.parametrize(("value", "at"), [(0, 50), (10, 50), (50, 50 * ITR_UNIT), (300, 300 * ITR_UNIT)])
def test_itr_written_within_the_interval_changes_when_it_ends(card, value, at):
    card.write(regs.ITR, 100)
    interrupt(card)
    card.until(50)
    card.write(regs.ICS, LSC)
    if value == 10:
        card.until(at := 10 * ITR_UNIT + 5)
    card.write(regs.ITR, value)
    if card.up:
        assert card.now == at
    else:
        assert card.rises(10**6) == [at]


def test_itr_holds_back_every_kind_of_cause(undo):
    for cause in range(17):
        card = TimedCard(undo)
        card.write(regs.IMS, 1 << cause)
        card.write(regs.ITR, 0xFFFF)
        card.write(regs.ICS, 1 << cause)
        assert card.up
        card.read(regs.ICR)
        card.write(regs.ICS, 1 << cause)
        assert card.rises(10**9) == [0xFFFF * ITR_UNIT]


def test_itr_holds_back_messages_too(card):
    address = card.alloc(bytes(4))
    for offset, value, size in ((4, address & 0xFFFFFFFF, 4), (8, address >> 32, 4), (12, 0x4021, 2), (2, 1, 2)):
        card.bus.config_write(MSI + offset, value, size)
    card.write(regs.ITR, 100)
    interrupt(card)
    assert card.addresses.read(address, 4) == b"\x21\x40\0\0"
    card.addresses.write(address, bytes(4))
    card.write(regs.ICS, LSC)
    card.until(100 * ITR_UNIT - 1)
    assert card.addresses.read(address, 4) == bytes(4)
    card.until(100 * ITR_UNIT)
    assert card.addresses.read(address, 4) == b"\x21\x40\0\0"
    assert not card.up


def test_without_a_clock_nothing_is_held(make_card):
    card = make_card()
    card.rx_ring()
    card.tx_ring()
    for register in (regs.ITR, regs.RDTR, regs.RADV, regs.TIDV, regs.TADV):
        card.write(register, 1000)
    card.write(regs.RXDCTL, regs.DCTL_GRAN | 8 << regs.DCTL_WTHRESH_SHIFT)
    card.write(regs.TXDCTL, regs.DCTL_GRAN | 8 << regs.DCTL_WTHRESH_SHIFT)
    card.write(regs.IMS, RXT0 | TXDW)
    for _ in range(3):
        card.receive(packet(60))
        assert card.bus.irq.asserted
        assert card.read(regs.ICR) == RXT0
        assert len(card.take()) == 1
        assert all(map(card.tx_done, card.post_packets(packet(60), cmd=DELAYED)))
        assert card.bus.irq.asserted
        assert card.read(regs.ICR) & TXDW


def test_reset_ends_every_wait(card):
    card.rx_ring()
    card.tx_ring()
    for register in (regs.ITR, regs.RDTR, regs.RADV, regs.TIDV, regs.TADV):
        card.write(register, 1000)
    card.arrive()
    card.send()
    interrupt(card)
    card.write(regs.ICS, LSC)
    assert card.clock.next_deadline is not None
    card.write(regs.CTRL, regs.CTRL_RST)
    assert card.clock.next_deadline is None
    card.write(regs.IMS, RXT0 | TXDW | LSC)
    assert card.rises(10**9) == []
    assert card.read(regs.ICR) == 0
    card.write(regs.ITR, 1000)
    card.write(regs.ICS, LSC)
    assert card.up, "the interval before the reset is forgotten"


def test_a_card_that_goes_away_takes_its_timer_along():
    clock = VirtualClock()
    device = E1000Device(wire=RecordingWire(), clock=clock)
    clock.advance(2_000_000_000)
    device.read(regs.ICR)
    device.write(regs.RDTR, 1000)
    device.write(regs.IMS, LSC)
    device.write(regs.ITR, 1000)
    device.write(regs.ICS, LSC)
    device.read(regs.ICR)
    device.write(regs.ICS, LSC)
    assert clock.next_deadline is not None
    del device
    gc.collect()
    assert clock.next_deadline is None
    clock.advance(10**9)


def test_clock_timers_and_card_may_be_garbage_together():
    class Callback:
        def __call__(self):
            """Nothing: it has the card in it."""

    def world():
        clock, callback = VirtualClock(), Callback()
        for _ in range(10):
            clock.call_later(1, callback)
        callback.device = E1000Device(wire=RecordingWire(), clock=clock)  # its link's timer comes after theirs in the clock's list
        assert clock.next_deadline == 1
        return weakref.ref(callback)

    callback = world()
    assert callback() is not None
    gc.collect()
    assert callback() is None
