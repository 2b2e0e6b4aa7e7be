"""Faults of a card's link, interrupts and DMA, from a seed."""

import gc
import time

import pytest
from cards import EOP, IFCS, RS, BareCard, RecordingWire, packet
from mdio import BMSR, LINK, SECOND, Mdio
from timed import TimedCard

from e1000 import regs
from e1000.device import DeviceThread, E1000Device, Faults
from fastring.clock import MonotonicClock, VirtualClock

RXT0, TXDW, LSC = regs.ICR_RXT0, regs.ICR_TXDW, regs.ICR_LSC
DELAY = 100_000


@pytest.fixture
def late(undo):
    """A card whose every write-back comes late, its rings ready."""
    return ready(TimedCard(undo, faults=Faults(delayed_dma=1)))


def ready(card):
    card.write(regs.IMS, RXT0 | TXDW)
    card.rx_ring(256)
    card.tx_ring(64)
    return card


# --- which there are ---


@pytest.mark.parametrize("rate", [-0.1, 1.1, float("nan")])
def test_what_is_no_rate_is_refused(rate):
    with pytest.raises(ValueError, match="lost_interrupt: a rate is 0 to 1"):
        Faults(lost_interrupt=rate)


def test_what_is_no_fault_or_no_time_is_refused():
    with pytest.raises(TypeError, match="no fault 'gremlins'; there are link_flap"):
        Faults(gremlins=1)
    with pytest.raises(ValueError, match="dma_delay: 1 to"):
        Faults(dma_delay=0)


@pytest.mark.parametrize("fault", ["link_flap", "delayed_dma"])
def test_what_takes_time_needs_a_clock_and_a_card_refused_leaves_it_free(fault):
    faults = Faults(**{fault: 0.5})
    with pytest.raises(ValueError, match=f"{fault} takes time: give the card a clock"):
        E1000Device(faults=faults)
    assert E1000Device(faults=faults, clock=VirtualClock()).faults is faults


def test_they_are_one_cards():
    faults = Faults(seed=7, lost_interrupt=0.01)
    E1000Device(faults=faults)
    assert repr(faults) == "<Faults seed=7, lost_interrupt=0.01>"
    with pytest.raises(OSError, match="a card's already"):
        E1000Device(faults=faults)
    with pytest.raises(OSError, match="a card's already"):
        faults.__init__()


def test_a_card_made_anew_has_them_no_more(undo):
    card = TimedCard(undo, faults=Faults(delayed_dma=1, deferred=1, lost_interrupt=1, link_flap=1))
    card.device.__init__(wire=None, clock=card.clock)
    card.clock.advance(2 * SECOND)  # the link
    assert card.device.faults is None
    assert card.clock.next_deadline is None
    card.rx_ring()
    card.tx_ring()
    card.write(regs.RCTL, card.peek(regs.RCTL) | regs.RCTL_LBM_MAC)
    card.write(regs.IMS, RXT0)
    card.post_packets(packet(60))
    assert card.take() == [packet(60)]
    assert card.up


def test_at_the_end_of_time_nothing_is_late(undo):
    clock = VirtualClock(start=2**63 - 10**9)
    card = BareCard(undo, clock=clock, faults=Faults(delayed_dma=1, link_flap=1, dma_delay=10**12))
    card.write(regs.RCTL, regs.RCTL_LBM_MAC | regs.RCTL_SECRC | regs.RCTL_EN)
    card.rx_ring(rctl=regs.RCTL_SECRC | regs.RCTL_LBM_MAC)
    card.tx_ring()
    card.post_packets(packet(60))
    clock.advance(10**9 - 2)
    assert len(card.take()) == 1
    BareCard(undo, clock=clock).write(regs.ICS, RXT0)


# --- interrupts ---


def test_a_lost_interrupt_leaves_its_causes_for_who_looks(undo):
    card = BareCard(undo, faults=Faults(lost_interrupt=1))
    card.write(regs.IMS, RXT0)
    card.rx_ring()
    card.receive(packet(60))
    card.receive(packet(60))
    assert not card.bus.irq.asserted
    assert card.device.faults.counts["lost_interrupt"] == 1  # one assertion, however many causes
    assert card.read(regs.ICR) & RXT0
    card.receive(packet(60))
    assert card.device.faults.counts["lost_interrupt"] == 2


@pytest.mark.parametrize("how", ["read", "mask", "software"])
def test_the_next_assertion_has_a_chance_of_its_own(undo, how):
    card = BareCard(undo, faults=Faults(seed=1, lost_interrupt=0.5))
    card.write(regs.IMS, RXT0)
    heard = []
    for _ in range(200):
        if how == "mask":
            card.write(regs.IMC, RXT0)
            card.write(regs.IMS, RXT0)
        card.write(regs.ICS, RXT0)
        heard.append(card.bus.irq.asserted)
        if how == "read" or heard[-1]:
            card.read(regs.ICR)
    lost = card.device.faults.counts["lost_interrupt"]
    assert 60 < lost < 140
    assert heard.count(False) == lost if how != "mask" else True
    assert True in heard


def test_a_lost_message_is_not_written(undo):
    heard = []
    for rate in (0, 1):
        card = BareCard(undo, faults=Faults(lost_interrupt=rate))
        target = card.alloc(bytes(4))
        for offset, value in ((0xF4, target & 0xFFFFFFFF), (0xF8, target >> 32), (0xFC, 0x41), (0xF0, 1 << 16)):
            card.device.config_write(offset, value)
        card.write(regs.IMS, RXT0)
        card.write(regs.ICS, RXT0)
        heard.append(card.addresses.read(target, 4)[0])
    assert heard == [0x41, 0]


# --- delayed DMA ---


def test_data_is_there_before_dd_and_the_interrupt_after_it(late):
    content = packet(60)
    late.arrive()
    assert late.rx_desc(0).status == 0
    assert late.addresses.read(late.rx_buffers[0], 60) == content
    assert (late.read(regs.RDH), late.peek(regs.ICR) & RXT0) == (1, 0)
    late.until(DELAY - 1)
    assert (late.rx_desc(0).status, late.up) == (0, False)
    late.until(DELAY)
    assert late.up
    assert late.take() == [content]
    assert late.device.faults.counts["delayed_dma"] == 1


def test_transmit_completions_come_late_too(late):
    slots = late.send(EOP | IFCS | RS, count=3)
    assert len(late.wire.sent) == 3
    assert late.rises(2 * DELAY) == [DELAY]
    assert all(late.tx_done(slot) for slot in slots)


def test_an_early_interrupt_comes_before_what_it_tells_of(undo):
    card = ready(TimedCard(undo, faults=Faults(delayed_dma=1, early_interrupt=True)))
    card.arrive()
    assert (card.up, card.take()) == (True, [])
    card.read(regs.ICR)
    assert card.rises(2 * DELAY) == []
    assert len(card.take()) == 1


def test_the_rings_order_is_kept_and_nothing_waits_longer(undo):
    card = ready(TimedCard(undo, faults=Faults(seed=2, delayed_dma=0.2)))
    got = 0
    for i in range(300):
        card.receive(packet(60, seed=i))
        card.until(card.now + 7_000)
        for content in card.take():
            assert content == packet(60, seed=got)
            got += 1
            card.give(1)
        assert i - got < DELAY // 7_000 + 1
    card.until(card.now + DELAY)
    assert got + len(card.take()) == 300
    assert 60 < card.device.faults.counts["delayed_dma"] < 300


def test_so_many_are_late_and_then_all_of_them_come(late):
    late.receive(*(packet(60, seed=i) for i in range(100)))
    assert len(late.take()) == 64
    late.until(DELAY)
    assert len(late.take()) == 36


def test_a_delay_timers_interrupt_waits_for_the_write_back(undo):
    card = ready(TimedCard(undo, faults=Faults(delayed_dma=1)))
    card.write(regs.RDTR, 10)
    card.arrive()
    assert card.rises(2 * DELAY) == [DELAY]
    assert len(card.take()) == 1


def test_descriptors_kept_for_a_threshold_are_late_after_it(undo):
    card = ready(TimedCard(undo, faults=Faults(delayed_dma=1)))
    card.write(regs.RDTR, 10)
    card.write(regs.RXDCTL, 1 << 24 | 4 << 16)
    card.receive(*(packet(60, seed=i) for i in range(4)))
    assert card.take() == []
    card.until(DELAY)
    assert card.take() == [packet(60, seed=i) for i in range(4)]


def test_beside_a_device_thread_it_is_the_thread_that_ends_the_delay(undo):
    card = BareCard(undo, clock=MonotonicClock(), faults=Faults(delayed_dma=1, dma_delay=2_000_000))
    card.write(regs.CTRL, regs.CTRL_SLU)
    deadline = time.monotonic() + 10
    while not card.read(regs.STATUS) & regs.STATUS_LU:
        card.device.clock.fire_due()
        assert time.monotonic() < deadline
    card.rx_ring()
    with DeviceThread([card.device]):
        card.receive(packet(60))
        taken = []
        while not taken:
            assert time.monotonic() < deadline
            taken = card.take()
    assert taken == [packet(60)]


def test_a_reset_forgets_what_is_late(late):
    late.arrive()
    late.write(regs.CTRL, regs.CTRL_RST)
    late.write(regs.IMS, RXT0 | TXDW)
    assert late.rises(10 * DELAY) == []
    assert late.rx_desc(0).status == 0


def test_a_ring_that_moves_gets_nothing_late_but_the_interrupt_comes(late):
    late.arrive()
    late.write(regs.RDBAL, late.peek(regs.RDBAL))
    assert late.rises(2 * DELAY) == [DELAY]
    assert late.rx_desc(0).status == 0


def test_an_engine_that_is_switched_off_lets_all_be_seen(late):
    late.arrive()
    (slot,) = late.send(EOP | IFCS | RS)
    late.write(regs.RCTL, 0)
    late.write(regs.TCTL, 0)
    assert late.rx_desc(0).status & 1
    assert late.tx_done(slot)
    assert late.up


def test_a_card_that_may_do_no_dma_by_then_writes_nothing(late):
    late.arrive()
    late.device.config_write(4, 3, 2)
    assert late.rises(2 * DELAY) == [DELAY]
    assert late.rx_desc(0).status == 0


def test_a_snapshot_holds_no_fault_what_is_late_is_seen_before_it(undo, late):
    late.arrive()
    (slot,) = late.send(EOP | IFCS | RS)
    saved = late.device.snapshot()
    assert late.rx_desc(0).status & 1
    assert late.tx_done(slot)
    assert late.up
    other = TimedCard(undo)
    other.device.restore(saved)
    assert other.up
    late.arrive()
    late.device.restore(saved)
    late.until(late.now + 2 * DELAY)
    assert late.rx_desc(1).status == 0  # of the card that was there before
    assert late.device.snapshot() == saved


def test_a_restored_card_asserts_an_interrupt_that_was_lost(undo):
    card = TimedCard(undo, faults=Faults(lost_interrupt=1))
    card.write(regs.IMS, RXT0)
    card.write(regs.ICS, RXT0)
    other = TimedCard(undo)
    other.device.restore(card.device.snapshot())
    assert (card.up, other.up) == (False, True)


# --- the cable ---


def test_a_flap_takes_the_link_for_its_time_and_then_it_is_negotiated(undo):
    card = TimedCard(undo, faults=Faults(seed=3, link_flap=0.1, flap_time=SECOND))
    card.rx_ring()
    card.tx_ring()
    card.read(regs.ICR)
    mdio = Mdio(card.device)
    mdio.read(BMSR)
    while not card.device.faults.counts["link_flap"]:
        card.until(card.now + SECOND // 100)
    out = card.now
    assert card.read(regs.ICR) & LSC
    assert not card.read(regs.STATUS) & regs.STATUS_LU
    card.receive(packet(60))
    card.send()
    assert (card.drops, card.wire.sent, card.read(regs.DC)) == ({"rx_disabled": 1}, [], 1)
    card.until(out + 24 * SECOND // 10)
    assert not card.read(regs.STATUS) & regs.STATUS_LU
    card.until(out + 26 * SECOND // 10)
    assert card.read(regs.STATUS) & regs.STATUS_LU
    assert card.read(regs.ICR) & LSC
    assert [mdio.read(BMSR) & LINK, mdio.read(BMSR) & LINK] == [0, LINK]  # latched low
    assert len(card.wire.sent) == 1


def test_flaps_come_at_their_rate_and_the_same_from_a_seed(undo):
    counts = []
    for seed in (1, 1, 2):
        clock = VirtualClock()
        faults = Faults(seed=seed, link_flap=0.05)
        undo.enter_context(E1000Device(clock=clock, faults=faults, wire=RecordingWire()))
        times = []
        for tick in range(4000):
            clock.advance(SECOND)
            if faults.counts["link_flap"] > len(times):
                times.append(tick)
        counts.append(times)
    assert counts[0] == counts[1] != counts[2]
    assert 150 < len(counts[0]) < 250


def test_without_a_cable_none_comes_out(undo):
    clock = VirtualClock()
    device = undo.enter_context(E1000Device(clock=clock, faults=Faults(link_flap=1)))
    clock.advance(100 * SECOND)
    assert device.faults.counts["link_flap"] == 0


def test_a_card_that_goes_away_leaves_no_timer_behind():
    clock = VirtualClock()
    device = E1000Device(clock=clock, faults=Faults(link_flap=1))
    assert clock.next_deadline is not None
    del device
    gc.collect()
    assert clock.next_deadline is None


def test_a_card_saved_in_a_flap_finds_its_cable_elsewhere(undo):
    card = TimedCard(undo, faults=Faults(link_flap=1, flap_time=100 * SECOND))
    while not card.device.faults.counts["link_flap"]:
        card.until(card.now + SECOND // 10)
    other = TimedCard(undo)
    other.device.restore(card.device.snapshot())
    assert not other.read(regs.STATUS) & regs.STATUS_LU
    other.clock.advance(2 * SECOND)
    assert other.read(regs.STATUS) & regs.STATUS_LU
