"""The PHY through MDIC, and what decides its link (§13.4.7, §13.4.2)."""

import pytest
from mdio import (
    ADVERTISE,
    BMCR,
    BMSR,
    CTRL1000,
    EXPANSION,
    FD,
    FULL_DUPLEX,
    ID1,
    ID2,
    INTERRUPT_ENABLE,
    INTERRUPT_STATUS,
    LINK,
    LU,
    NEGOTIATE,
    NEGOTIATED,
    PARTNER,
    POWER_DOWN,
    RESET,
    RESTART,
    SPECIFIC_STATUS,
    SPEED_HIGH,
    SPEED_LOW,
    STAT1000,
    Mdio,
    Plugged,
)

from e1000 import regs


@pytest.fixture
def plugged():
    return Plugged()


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
