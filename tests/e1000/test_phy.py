"""The PHY through MDIC, and the link it makes (§13.4.7, §13.4.2)."""

import gc

import pytest
from cards import MAC, RecordingWire
from hypothesis import given, settings
from hypothesis import strategies as st
from microwire import Mdio, Microwire

from e1000 import regs
from e1000.device import DeviceThread, E1000Device
from fastring.clock import VirtualClock

BMCR, BMSR, ID1, ID2, ADVERTISE, PARTNER, EXPANSION, CTRL1000, STAT1000 = 0, 1, 2, 3, 4, 5, 6, 9, 10
SPECIFIC_STATUS, INTERRUPT_ENABLE, INTERRUPT_STATUS = 17, 18, 19
SPEED_HIGH, FULL_DUPLEX, RESTART, POWER_DOWN, NEGOTIATE, SPEED_LOW, LOOPBACK, RESET = (1 << bit for bit in (6, 8, 9, 11, 12, 13, 14, 15))
LINK, NEGOTIATED = 1 << 2, 1 << 5
LU, FD, SPEED = regs.STATUS_LU, regs.STATUS_FD, 3 << 6
SECOND = 1_000_000_000


class Plugged:
    """A card with its link wanted (SLU), on a VirtualClock if `timed`."""

    def __init__(self, *, timed=False, wire=True):
        self.clock = VirtualClock() if timed else None
        self.wire = RecordingWire()
        self.device = E1000Device(mac=MAC, wire=self.wire if wire else None, clock=self.clock)
        self.mdio = Mdio(self.device)
        self.device.write(regs.CTRL, regs.CTRL_SLU)
        self.device.read(regs.ICR)

    @property
    def status(self):
        return self.device.read(regs.STATUS) & (LU | FD | SPEED)

    def up(self):
        return bool(self.status & LU)

    def wait(self, seconds):
        self.clock.advance(int(seconds * SECOND))

    def bmsr(self):
        """The link state, as every driver asks for it: twice, since it latches low."""
        self.mdio.read(BMSR)
        return self.mdio.read(BMSR)


@pytest.fixture
def plugged():
    return Plugged()


@pytest.fixture
def timed():
    return Plugged(timed=True)


# --- MDIC ---


def test_the_phy_says_who_it_is(plugged):
    assert plugged.mdio.read(ID1) == 0x0141
    assert plugged.mdio.read(ID2) & ~0xF == 0x0C20


def test_mdic_keeps_the_command_and_adds_ready(plugged):
    command = regs.MDIC_OP_READ | 1 << regs.MDIC_PHY_SHIFT | ID1 << regs.MDIC_REG_SHIFT
    plugged.device.write(regs.MDIC, command | 0x5555)
    assert plugged.device.read(regs.MDIC) == plugged.device.peek(regs.MDIC) == command | regs.MDIC_READY | 0x0141


def test_mdic_raises_mdac_when_it_was_asked_to(plugged):
    plugged.mdio.read(ID1)
    assert plugged.device.read(regs.ICR) == 0
    plugged.mdio.access(regs.MDIC_OP_READ | regs.MDIC_INT_EN)
    assert plugged.device.read(regs.ICR) == regs.ICR_MDAC
    plugged.mdio.access(regs.MDIC_OP_WRITE | regs.MDIC_INT_EN | 16 << regs.MDIC_REG_SHIFT)
    assert plugged.device.read(regs.ICR) == regs.ICR_MDAC


@pytest.mark.parametrize("phy", [0, 2, 31])
def test_where_there_is_no_phy_a_read_is_an_error_and_a_write_goes_nowhere(plugged, phy):
    nobody = Mdio(plugged.device, phy=phy)
    assert nobody.access(regs.MDIC_OP_READ | ID1 << regs.MDIC_REG_SHIFT) & (regs.MDIC_ERROR | 0xFFFF) == regs.MDIC_ERROR | 0xFFFF
    nobody.write(BMCR, POWER_DOWN)
    assert plugged.up()
    assert plugged.mdio.read(BMCR) == 0x1140


@pytest.mark.parametrize("op", [0, regs.MDIC_OP_READ | regs.MDIC_OP_WRITE])
def test_what_is_no_operation_is_an_error_and_ends(plugged, op):
    assert plugged.mdio.access(op | POWER_DOWN) & regs.MDIC_ERROR
    assert plugged.up()
    assert not plugged.mdio.access(regs.MDIC_OP_READ) & regs.MDIC_ERROR


WRITABLE = {4: 0xBFFF, 7: 0xBFFF, 9: 0xFF00, 16: 0xFFFF, 18: 0xFFFF, 20: 0xFFFF, 29: 0xFFFF, 30: 0xFFFF}


@pytest.mark.parametrize("register", range(1, 32))
def test_a_phy_register_takes_the_bits_it_has(plugged, register):
    mdio, mask = plugged.mdio, WRITABLE.get(register, 0)
    mdio.read(register)
    fixed = mdio.read(register) & ~mask
    for value in (0xFFFF, 0x5A5A, 0xA5A5, 0):
        mdio.write(register, value)
        assert mdio.read(register) == fixed | value & mask


def test_register_30_is_one_of_many_chosen_by_29(plugged):
    for page in (0x1F, 0x1A):
        plugged.mdio.write(29, page)
        plugged.mdio.write(30, 0x8F00 + page)
    for page in (0x1F, 0x1A):
        plugged.mdio.write(29, page)
        assert plugged.mdio.read(30) == 0x8F00 + page


# --- what decides the link, without a clock ---


def test_a_plugged_card_has_its_link_at_once(plugged):
    assert plugged.status == LU | FD | regs.STATUS_SPEED_1000
    assert plugged.bmsr() == 0x7949 | LINK | NEGOTIATED
    assert plugged.mdio.read(SPECIFIC_STATUS) == 0xAC00
    assert plugged.mdio.read(PARTNER) & 0x45E1 == 0x45E1
    assert plugged.mdio.read(EXPANSION) & 1
    assert plugged.mdio.read(STAT1000) == 0x3C00


def test_without_a_cable_there_is_no_link_and_no_negotiation():
    alone = Plugged(wire=False)
    assert not alone.up()
    assert alone.bmsr() == 0x7949
    for register in (PARTNER, EXPANSION, STAT1000, SPECIFIC_STATUS):
        assert alone.mdio.read(register) == 0


def test_bmsr_keeps_a_lost_link_until_it_was_read(plugged):
    plugged.bmsr()
    plugged.mdio.write(BMCR, 0x1140 | RESTART)
    assert not plugged.mdio.read(BMSR) & LINK
    assert plugged.mdio.read(BMSR) & LINK


def test_pulling_the_cable_drops_the_link_and_plugging_brings_it_back(plugged):
    plugged.device.unplug()
    assert plugged.device.read(regs.ICR) == regs.ICR_LSC
    assert not plugged.up()
    assert not plugged.bmsr() & (LINK | NEGOTIATED)
    plugged.device.plug(plugged.wire)
    assert plugged.device.read(regs.ICR) == regs.ICR_LSC
    assert plugged.up()


def test_power_down_drops_the_link_until_it_is_taken_back(plugged):
    plugged.mdio.write(BMCR, 0x1140 | POWER_DOWN)
    assert plugged.device.read(regs.ICR) == regs.ICR_LSC
    assert not plugged.up()
    assert plugged.mdio.read(ID1) == 0x0141
    plugged.mdio.write(BMCR, 0x1140)
    assert plugged.device.read(regs.ICR) == regs.ICR_LSC
    assert plugged.up()


def test_slu_lets_the_mac_see_the_link_and_no_more(plugged):
    plugged.device.write(regs.CTRL, 0)
    assert plugged.device.read(regs.ICR) == regs.ICR_LSC
    assert not plugged.up()
    assert plugged.bmsr() & LINK


@pytest.mark.parametrize("bit", [RESET, RESTART])
def test_reset_and_restart_clear_themselves(plugged, bit):
    plugged.mdio.write(BMCR, 0x1140 | bit)
    assert plugged.mdio.read(BMCR) == 0x1140
    assert plugged.up()


def test_a_reset_of_the_card_leaves_the_phy_alone_and_phy_rst_resets_it(plugged):
    plugged.mdio.write(BMCR, 0x1140 | POWER_DOWN)
    plugged.mdio.write(ADVERTISE, 0x0001)
    plugged.device.write(regs.CTRL, regs.CTRL_RST)
    assert plugged.mdio.read(BMCR) == 0x1140 | POWER_DOWN
    plugged.device.write(regs.CTRL, regs.CTRL_SLU | regs.CTRL_PHY_RST)
    assert plugged.device.read(regs.CTRL) == regs.CTRL_SLU
    assert plugged.mdio.read(BMCR) == 0x1140
    assert plugged.mdio.read(ADVERTISE) == 0x0DE1
    assert plugged.up()


@pytest.mark.parametrize(
    ("gigabit", "advertised", "speed", "full"),
    [
        (0x300, 0x0DE1, 2, True),
        (0x100, 0x0DE1, 2, False),
        (0, 0x01E1, 1, True),
        (0, 0x00E1, 1, False),
        (0, 0x0061, 0, True),
        (0, 0x0021, 0, False),
    ],
)
def test_the_link_is_the_best_that_is_advertised(plugged, gigabit, advertised, speed, full):
    plugged.mdio.write(CTRL1000, gigabit)
    plugged.mdio.write(ADVERTISE, advertised)
    assert plugged.status == LU | FD | regs.STATUS_SPEED_1000           # not before negotiation is restarted
    plugged.mdio.write(BMCR, NEGOTIATE | RESTART)
    assert plugged.status == LU | speed << 6 | (FD if full else 0)
    assert plugged.mdio.read(SPECIFIC_STATUS) == speed << 14 | 0xC00 | (0x2000 if full else 0)


def test_advertising_nothing_gives_no_link(plugged):
    plugged.mdio.write(CTRL1000, 0)
    plugged.mdio.write(ADVERTISE, 1)
    plugged.mdio.write(BMCR, NEGOTIATE | RESTART)
    assert plugged.bmsr() & (LINK | NEGOTIATED) == NEGOTIATED
    assert not plugged.up()


@pytest.mark.parametrize(("bits", "speed"), [(SPEED_HIGH, 2), (SPEED_LOW, 1), (0, 0)])
def test_without_negotiation_the_link_is_what_bmcr_says(plugged, bits, speed):
    for full in (FULL_DUPLEX, 0):
        plugged.mdio.write(BMCR, bits | full)
        assert plugged.status == LU | speed << 6 | (FD if full else 0)
        assert not plugged.bmsr() & NEGOTIATED


def test_ctrl_forces_speed_and_duplex_in_status(plugged):
    plugged.device.write(regs.CTRL, regs.CTRL_SLU | regs.CTRL_FRCSPD | 1 << 8)
    assert plugged.status == LU | FD | 1 << 6
    plugged.device.write(regs.CTRL, regs.CTRL_SLU | regs.CTRL_FRCDPLX)
    assert plugged.status == LU | regs.STATUS_SPEED_1000
    plugged.device.write(regs.CTRL, regs.CTRL_SLU | regs.CTRL_FRCDPLX | regs.CTRL_FD)
    assert plugged.status == LU | FD | regs.STATUS_SPEED_1000


def test_loopback_has_a_link_without_a_cable():
    alone = Plugged(wire=False)
    for value in (0x9140, 0x8140, 0x4140):                              # the driver's self-test
        alone.mdio.write(BMCR, value)
    assert alone.mdio.read(BMCR) == 0x4140
    assert alone.status == LU | FD | regs.STATUS_SPEED_1000
    alone.mdio.write(BMCR, 0x9140)
    assert not alone.up()


def test_the_phy_interrupt_is_a_cause_when_it_is_enabled(plugged):
    plugged.mdio.read(INTERRUPT_STATUS)
    plugged.mdio.write(BMCR, 0x1140 | RESTART)
    assert plugged.device.read(regs.ICR) == 0
    assert plugged.mdio.read(INTERRUPT_STATUS) == 0x0C00
    assert plugged.mdio.read(INTERRUPT_STATUS) == 0
    plugged.mdio.write(INTERRUPT_ENABLE, 0x0400)
    plugged.mdio.write(BMCR, 0x1140 | RESTART)
    assert plugged.device.read(regs.ICR) == regs.ICR_PHYINT


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


def linux_setup_phy(card):
    """The accesses of e1000_copper_link_setup_mgp and what follows, and whether the link was there."""
    mdio = card.mdio
    identity = mdio.read(ID1) << 16 | mdio.read(ID2)
    assert identity & ~0xF == 0x01410C20
    mdio.write(16, mdio.read(16) | 0x60)
    if identity & 0xF < 4:
        mdio.write(20, mdio.read(20) | 0x70)
    mdio.write(BMCR, mdio.read(BMCR) | RESET)
    assert not mdio.read(BMCR) & RESET
    mdio.read(ADVERTISE)
    mdio.read(CTRL1000)
    mdio.write(ADVERTISE, 0x0DE1)
    mdio.write(CTRL1000, 0x0200)
    mdio.write(BMCR, mdio.read(BMCR) | NEGOTIATE | RESTART)
    assert not mdio.read(BMCR) & RESTART
    return any(card.bmsr() & LINK for _ in range(10))


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
    assert linux_setup_phy(plugged)
    linux_resolve(plugged)


def test_linux_gets_its_link_later_on_a_clock_and_is_told_by_lsc(timed):
    assert not linux_setup_phy(timed)
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
