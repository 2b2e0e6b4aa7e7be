"""The driver's watchdog: carrier, speed, lost interrupts, a transmitter that hangs, and the reset that follows."""

import pytest
from cards import packet
from mdio import BMCR, POWER_DOWN, Mdio

from e1000 import regs
from fastring.burst import Burst
from softnet.rtnl import NetdevEvent

FAR = bytes.fromhex("520000000002")
SECOND = 1_000_000_000


def adapter(device):
    return device.netdev_ops


def pass_time(two, seconds, *, step=0.5):
    """Let time pass as a running host does: timers, then the softirq."""
    for _ in range(int(seconds / step)):
        two.clock.advance(int(step * SECOND))
        two.stack.run()


# --- link ---


def test_without_time_the_carrier_is_there_when_open_returns(two_cards):
    two = two_cards()
    two.near.stop()
    assert not two.near.carrier_ok
    two.near.open()
    assert two.near.carrier_ok
    assert adapter(two.near).watchdog.link[:3] == (True, 1000, True)
    two.near.stop()
    assert not two.near.carrier_ok


def test_the_carrier_follows_the_link_at_once_by_its_interrupt(two_cards):
    two = two_cards(timed=True)
    two.stack.run()
    assert not two.near.carrier_ok
    events = []
    two.stack.notifiers.append(lambda event, device: events.append((event, device.carrier_ok)) if device is two.near else None)
    two.clock.advance(1_990_000_000)                # between two looks of the watchdog
    pass_time(two, 3)
    assert two.near.carrier_ok
    assert (NetdevEvent.CHANGE, True) in events
    looked = two.clock.monotonic_ns()
    Mdio(two.cards[0]).write(BMCR, POWER_DOWN)
    two.stack.run()
    two.clock.advance(1)
    two.stack.run()
    assert two.clock.monotonic_ns() - looked < 10
    assert not two.near.carrier_ok
    assert adapter(two.near).napi.link_events >= 2


def test_packets_that_wait_for_a_link_that_is_lost_are_given_up_and_traffic_resumes(two_cards):
    two = two_cards(timed=True)
    pass_time(two, 4)
    phy = Mdio(two.cards[0])
    before = phy.read(BMCR)
    phy.write(BMCR, before | POWER_DOWN)
    sender = two.near.transmitter()
    two.offered += 5
    assert sender.send(Burst.from_packets([packet(100, to=FAR, seed=i) for i in range(5)])) == 5
    assert adapter(two.near).tx.in_flight == 5
    pass_time(two, 4)
    assert adapter(two.near).tx.in_flight == 0
    assert two.near.stats64.tx_errors == 5
    assert adapter(two.near).tx_timeout_count == 1
    phy.write(BMCR, before)
    pass_time(two, 6)
    assert two.near.carrier_ok
    two.offered += 1
    assert sender.send(Burst.from_packets([packet(100, to=FAR)])) == 1       # the same sender, through the same ring object
    pass_time(two, 1)
    assert two.sink.packets == [packet(100, to=FAR)]


# --- lost interrupts ---


def test_a_lost_interrupt_costs_two_seconds_at_most(two_cards):
    two = two_cards()
    two.stack.run()
    irq = adapter(two.far).bus.irq
    two.stack.softirq.remove_irq(irq)
    assert two.send([packet(100, to=FAR)]) == 1
    two.cards[1].read(regs.ICR)                     # somebody took the cause
    two.stack.softirq.add_irq(irq)
    two.stack.run()
    assert two.sink.packets == []
    two.clock.advance(2 * SECOND)
    two.stack.run()
    assert two.sink.packets == [packet(100, to=FAR)]


# --- hang, timeout, reset ---


def hang(two):
    """The near card's transmitter stands still with packets in its ring, the link being up."""
    card = two.cards[0]
    card.write(regs.TCTL, card.read(regs.TCTL) & ~regs.TCTL_EN)


@pytest.mark.parametrize("bql", [True, False])
def test_a_hung_transmitter_is_detected_reset_and_goes_on(two_cards, caplog, bql):
    two = two_cards(bql=bql)
    two.stack.run()
    sender = two.near.transmitter()
    hang(two)
    two.offered += 7
    assert sender.send(Burst.from_packets([packet(100, to=FAR, seed=i) for i in range(7)])) == 7
    ring = adapter(two.near).tx
    pass_time(two, 12)
    assert adapter(two.near).watchdog.tx_hangs == 1
    assert "Detected Tx Unit Hang: TDH <0> TDT <7>" in caplog.text
    assert adapter(two.near).tx_timeout_count == 1
    assert two.near.stats64.tx_errors == 7
    assert two.near.tx[0].trans_timeout == 1
    assert adapter(two.near).tx is ring
    assert (two.near.txq.xmit_stopped, two.near.txq.inflight, ring.in_flight) == (False, 0, 0)
    two.offered += 3
    assert sender.send(Burst.from_packets([packet(100, to=FAR, seed=i) for i in range(3)])) == 3
    two.stack.run()
    assert len(two.sink.packets) == 3


def test_a_transmitter_that_moves_or_rests_is_not_hung(two_cards):
    two = two_cards()
    for i in range(10):
        pass_time(two, 2, step=2)
        two.send([packet(100, to=FAR, seed=i)])
    assert adapter(two.near).watchdog.tx_hangs == adapter(two.near).tx_timeout_count == 0


@pytest.mark.breaks_rules(14)  # the test calls ndo_tx_timeout itself
def test_the_reset_waits_until_nobody_is_inside_the_softirq(two_cards):
    two = two_cards()
    two.stack.run()
    seen = []

    class Impatient(type(two.sink)):
        def on_burst(self, burst):
            adapter(two.far).tx_timeout(two.far, 0)
            two.clock.advance(10)
            seen.append(adapter(two.far).rx is not None)
            super().on_burst(burst)

    two.far.stop()
    sink, two.sink = two.sink, Impatient()
    two.far.sink = two.sink
    two.far.open()
    resets = adapter(two.far).rx
    assert two.send([packet(100, to=FAR)]) == 1
    two.clock.advance(10)
    two.stack.run()
    assert seen == [True]
    assert adapter(two.far).rx is not resets
    assert two.sink.packets == [packet(100, to=FAR)]
    assert sink.packets == []


@pytest.mark.parametrize("years", [1, 50])
def test_a_jump_of_years_costs_no_more_than_its_last_minute(two_cards, years):
    two = two_cards()
    two.stack.run()
    before = adapter(two.near).hw_stats.reads
    two.clock.advance(years * 365 * 86400 * SECOND)
    two.stack.run()
    assert adapter(two.near).hw_stats.reads - before <= 32
    assert two.near.carrier_ok


def test_what_a_timers_callback_raises_reaches_a_sender(two_cards):
    two = two_cards()

    def interrupted():
        raise KeyboardInterrupt

    two.clock.call_later(0, interrupted)
    two.offered += 1
    with pytest.raises(KeyboardInterrupt):
        two.near.transmitter().send(Burst.from_packets([packet(100, to=FAR)]))
