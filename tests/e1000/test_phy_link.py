"""The link on a clock, Linux's accesses to the PHY, and anything at all."""

import gc

import pytest
from cards import RecordingWire
from hypothesis import given, settings
from hypothesis import strategies as st
from mdio import (
    ADVERTISE,
    BMCR,
    BMSR,
    FD,
    FULL_DUPLEX,
    LINK,
    LU,
    NEGOTIATED,
    PARTNER,
    POWER_DOWN,
    RESTART,
    SECOND,
    SPECIFIC_STATUS,
    SPEED_LOW,
    STAT1000,
    Plugged,
)
from microwire import Microwire

from e1000 import regs
from e1000.device import DeviceThread, E1000Device
from fastring.clock import VirtualClock


@pytest.fixture
def plugged():
    return Plugged()


@pytest.fixture
def timed():
    return Plugged(timed=True)


# --- on a clock ---


def test_on_a_clock_the_link_comes_when_negotiation_is_through(timed):
    assert not timed.up()
    assert not timed.bmsr() & (LINK | NEGOTIATED)
    timed.wait(1.499)
    assert not timed.up()
    timed.wait(0.001)
    assert timed.up()
    assert timed.bmsr() & (LINK | NEGOTIATED) == LINK | NEGOTIATED
    assert timed.device.read(regs.ICR) == regs.ICR_LSC


def test_bmsr_read_while_the_link_was_down_is_still_low_once(timed):
    timed.bmsr()
    timed.wait(1.5)
    assert not timed.mdio.read(BMSR) & LINK
    assert timed.mdio.read(BMSR) & LINK


def test_restarting_negotiation_begins_the_wait_again(timed):
    timed.wait(1)
    timed.mdio.write(BMCR, 0x1140 | RESTART)
    timed.wait(1)
    assert not timed.up()
    timed.wait(0.5)
    assert timed.up()
    timed.mdio.write(BMCR, 0x1140 | RESTART)
    assert not timed.up()
    timed.wait(1.5)
    assert timed.up()


def test_a_forced_link_comes_sooner(timed):
    timed.mdio.write(BMCR, SPEED_LOW | FULL_DUPLEX)
    timed.wait(0.1)
    assert timed.status == LU | FD | 1 << 6


@pytest.mark.parametrize("how", ["unplug", "power down", "close"])
def test_what_takes_the_link_away_ends_the_wait_for_it(timed, how):
    timed.wait(1)
    if how == "power down":
        timed.mdio.write(BMCR, 0x1140 | POWER_DOWN)
    else:
        getattr(timed.device, how)()
    assert timed.clock.next_deadline is None
    timed.wait(10)
    assert not timed.up()


def test_plugging_in_later_takes_its_time_too():
    alone = Plugged(timed=True, wire=False)
    alone.wait(10)
    alone.device.plug(alone.wire)
    assert not alone.up()
    alone.wait(1.5)
    assert alone.up()


def test_a_card_that_goes_away_leaves_no_timer_behind():
    clock = VirtualClock()
    device = E1000Device(wire=RecordingWire(), clock=clock)
    assert clock.next_deadline == 1.5 * SECOND
    device.unplug()
    device = E1000Device(clock=clock)
    device.plug(wire := RecordingWire())
    del device
    del wire                                # they hold each other
    gc.collect()
    assert clock.next_deadline is None
    clock.advance(10 * SECOND)


def test_near_the_end_of_time_there_is_no_overflow():
    clock = VirtualClock(start=2**63 - 1000)
    device = E1000Device(wire=RecordingWire(), clock=clock)
    assert clock.next_deadline == 2**63 - 1
    device.close()


def test_the_link_comes_up_beside_a_device_thread(timed):
    with DeviceThread([timed.device]):
        timed.wait(2)
        assert timed.up()
        timed.device.unplug()
        assert not timed.up()


# --- what Linux does, access by access ---


def linux_resolve(card):
    """Pause, speed and duplex, as the driver reads them once negotiation is complete."""
    assert card.bmsr() & (LINK | NEGOTIATED) == LINK | NEGOTIATED
    assert card.mdio.read(ADVERTISE) & card.mdio.read(PARTNER) & 0x0400, "symmetric pause"
    assert card.status == LU | FD | regs.STATUS_SPEED_1000
    assert card.mdio.read(16) & 0x60
    assert card.mdio.read(SPECIFIC_STATUS) & 0xEC02 == 0xAC00
    assert card.mdio.read(STAT1000) & 0x3000 == 0x3000
    assert card.mdio.read(21) == 0


def test_linux_resets_the_card_and_gets_its_link_without_a_clock(plugged):
    plugged.device.write(regs.CTRL, regs.CTRL_RST)
    assert [Microwire(plugged.device).read_word(i) for i in (4, 0x0F)] == [0xFFFF, 0x3040]
    plugged.device.write(regs.CTRL, plugged.device.read(regs.CTRL) | regs.CTRL_SLU)
    assert plugged.mdio.set_up_as_linux()
    linux_resolve(plugged)


def test_linux_gets_its_link_later_on_a_clock_and_is_told_by_lsc(timed):
    assert not timed.mdio.set_up_as_linux()
    timed.device.write(regs.IMS, regs.ICR_LSC)
    timed.wait(1.5)
    assert timed.device.read(regs.ICR) == regs.ICR_LSC
    linux_resolve(timed)                    # the watchdog


def test_linux_powers_the_phy_down_at_stop_and_up_at_open(timed):
    timed.wait(2)
    timed.mdio.write(BMCR, timed.mdio.read(BMCR) | POWER_DOWN)
    assert not timed.up()
    timed.wait(2)
    assert not timed.up()
    timed.mdio.write(BMCR, timed.mdio.read(BMCR) & ~POWER_DOWN)
    timed.wait(1.5)
    assert timed.up()


# --- anything at all ---


@settings(max_examples=200, deadline=None)
@given(
    st.booleans(),
    st.lists(
        st.tuples(
            st.sampled_from([regs.MDIC, regs.MDIC, regs.CTRL, regs.EERD, regs.EECD, regs.CTRL_EXT]),
            st.one_of(
                st.integers(0, 2**32 - 1),
                st.builds(
                    lambda register, value: regs.MDIC_OP_WRITE | 1 << 21 | register << 16 | value, st.integers(0, 31), st.integers(0, 65535)
                ),
                st.builds(lambda value: regs.MDIC_OP_WRITE | 1 << 21 | value, st.integers(0, 65535)),
            ),
            st.integers(0, 2 * SECOND),
        ),
        max_size=60,
    ),
)
def test_whatever_is_written_the_link_comes_back_after_a_phy_reset(is_timed, steps):
    card = Plugged(timed=is_timed)
    for offset, value, ns in steps:
        card.device.write(offset, value)
        assert 0 <= card.device.read(offset) <= 0xFFFFFFFF
        if offset == regs.MDIC:
            assert card.device.read(regs.MDIC) & regs.MDIC_READY
        if is_timed:
            card.clock.advance(ns)
    card.device.write(regs.CTRL, regs.CTRL_RST)
    card.device.write(regs.CTRL, regs.CTRL_SLU | regs.CTRL_PHY_RST)
    if is_timed:
        card.wait(1.5)
    assert card.status == LU | FD | regs.STATUS_SPEED_1000
    assert card.bmsr() & LINK
