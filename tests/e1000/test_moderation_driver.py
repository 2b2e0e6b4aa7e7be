"""Moderated interrupts and whoever must see them come: the driver on either clock, and a DeviceThread."""

import time

import pytest
from cards import BareCard, packet
from mdio import BMCR, FULL_DUPLEX, SPEED_HIGH, Mdio

from e1000 import regs
from e1000.device import DeviceThread
from fastring.burst import Burst, RepeatSource
from fastring.clock import MonotonicClock

FAR = bytes.fromhex("520000000002")
ITR_NS = 256


def wait_for(condition, step=lambda: None, seconds=20):
    deadline = time.monotonic() + seconds
    while not condition():
        step()
        assert time.monotonic() < deadline, "it never comes"


def bring_link_up(cards, step):
    """A forced link takes a tenth of the time of autonegotiation."""
    for card in cards:
        Mdio(card).write(BMCR, SPEED_HIGH | FULL_DUPLEX)
    wait_for(lambda: all(card.read(regs.STATUS) & regs.STATUS_LU for card in cards), step)


def test_on_a_virtual_clock_what_itr_holds_is_received_when_it_is_over(two_cards):
    two = two_cards(timed=True, rx_usecs=0)
    two.clock.advance(2_000_000_000)
    two.stack.run()
    two.cards[1].write(regs.ITR, 1000)
    packets = [packet(100, to=FAR, seed=i) for i in range(20)]
    assert two.send(packets[:1]) == 1
    assert two.sink.packets == packets[:1]
    assert two.send(packets[1:]) == 19
    two.clock.advance(1000 * ITR_NS - 1)
    two.stack.run()
    assert two.sink.packets == packets[:1]
    two.clock.advance(1)
    two.stack.run()
    assert two.sink.packets == packets


@pytest.mark.parametrize("threaded", [False, True])
def test_on_the_real_clock_every_packet_arrives_with_at_most_one_interrupt_an_interval(two_cards, threaded):
    two = two_cards(timed=True, clock=MonotonicClock())
    bring_link_up(two.cards, two.stack.run)
    for card in two.cards:
        card.write(regs.ITR, 2000)
    lines = [bus.irq for bus in two.buses]
    raised, started = [line.raised for line in lines], two.clock.monotonic_ns()
    threads = [DeviceThread(two.cards)] if threaded else []
    for thread in threads:
        thread.start()
    two.offered += 20_000
    sender = two.near.transmitter()
    while sender.play(RepeatSource(Burst.from_packets([packet(200, to=FAR)]), packets=20_000 - sender.packets), rounds=1000):
        pass
    wait_for(lambda: len(two.sink.packets) == 20_000, two.stack.run)
    most = (two.clock.monotonic_ns() - started) // (2000 * ITR_NS) + 2
    for thread in threads:
        thread.stop()
    assert all(0 < line.raised - before <= most for line, before in zip(lines, raised, strict=True))


@pytest.fixture
def real(undo):
    clock = MonotonicClock()
    card = BareCard(undo, clock=clock)
    card.clock = clock
    bring_link_up([card.device], clock.fire_due)
    card.read(regs.ICR)
    card.rx_ring()
    card.write(regs.IMS, regs.ICR_RXT0)
    return card


def hold(card, register, value):
    """An interrupt that has to wait."""
    card.write(register, value)
    for _ in range(50):  # on a busy machine the wait may be over before anybody looks
        for _ in range(2):
            card.read(regs.ICR)
            card.receive(packet(60))
        if not card.bus.irq.asserted:
            return
    pytest.fail("no interrupt waits")


@pytest.mark.parametrize(("register", "value"), [(regs.ITR, 20_000), (regs.RDTR, 5_000)])
def test_a_device_thread_ends_a_wait_by_itself(real, register, value):
    with DeviceThread([real.device]):
        hold(real, register, value)
        wait_for(lambda: real.bus.irq.asserted)


@pytest.mark.parametrize(("register", "value"), [(regs.ITR, 40_000), (regs.RDTR, 10_000)])
def test_a_wait_outlives_the_start_and_the_end_of_a_device_thread(real, register, value):
    hold(real, register, value)
    started = real.clock.monotonic_ns()
    with DeviceThread([real.device]):
        early = real.bus.irq.asserted and real.clock.monotonic_ns() - started < value * ITR_NS // 2  # a slow start is no early end
    assert not early
    wait_for(lambda: real.bus.irq.asserted, real.clock.fire_due)
    real.read(regs.ICR)
    hold(real, register, value)
    with DeviceThread([real.device]):
        wait_for(lambda: real.bus.irq.asserted)


def test_a_storm_of_packets_costs_few_timers(two_cards):
    two = two_cards(timed=True, rx_usecs=0)
    two.clock.advance(2_000_000_000)
    two.cards[1].write(regs.RDTR, 100)
    two.cards[1].write(regs.RADV, 1000)
    fired = 0
    for i in range(1000):
        two.send([packet(60, to=FAR, seed=i)], run=False)
        for _ in range(10):
            before = two.clock.next_deadline
            two.clock.advance(100)
            fired += two.clock.next_deadline != before
        two.stack.run()
    two.clock.advance(10**7)
    two.stack.run()
    assert len(two.sink.packets) == 1000
    assert fired < 50
