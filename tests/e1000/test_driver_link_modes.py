"""What the driver negotiates, and what it makes of the answer: speed, duplex, flow control; and when it enables the transmitter."""

import errno

import pytest
from cards import packet
from hypothesis import given
from hypothesis import strategies as st
from mdio import ADVERTISE, BMCR, CTRL1000, NEGOTIATE, POWER_DOWN, Mdio

from e1000 import regs
from e1000.driver.flow import ASM_DIR, FULL, NONE, PAUSE, RX, TX, Pause, by_eeprom, resolve
from e1000.driver.phy import SUPPORTED
from fastring.burst import Burst

FAR = bytes.fromhex("520000000002")
SECOND = 1_000_000_000


@pytest.fixture
def two(two_cards):
    return two_cards()


def settings(device):
    now = device.ethtool_ops.get_link_ksettings(device)
    return now["speed"], now["duplex"], now["autoneg"]


def pauses(device):
    now = device.ethtool_ops.get_pauseparam(device)
    return now["rx_pause"], now["tx_pause"]


# --- speed and duplex ---


@pytest.mark.parametrize(
    ("modes", "speed", "duplex"),
    [
        (["10baseT/Half"], 10, "half"),
        (["10baseT/Half", "10baseT/Full"], 10, "full"),
        (["100baseT/Half", "10baseT/Full"], 100, "half"),
        (["100baseT/Full", "100baseT/Half"], 100, "full"),
        (SUPPORTED, 1000, "full"),
    ],
)
def test_the_best_of_the_modes_advertised_is_the_links(two, modes, speed, duplex):
    ethtool = two.near.ethtool_ops
    ethtool.set_link_ksettings(two.near, advertising=modes)
    assert settings(two.near) == (speed, duplex, True)
    assert set(ethtool.get_link_ksettings(two.near)["advertising"]) == set(modes)
    assert two.send([packet(100, to=FAR)]) == 1
    two.near.stop()
    two.near.open()
    assert settings(two.near) == (speed, duplex, True)
    ethtool.set_link_ksettings(two.near)
    assert settings(two.near) == (1000, "full", True)


@pytest.mark.parametrize("speed", [10, 100])
@pytest.mark.parametrize("duplex", ["half", "full"])
def test_a_forced_link_is_what_phy_and_mac_were_told(two, speed, duplex):
    two.near.ethtool_ops.set_link_ksettings(two.near, autoneg=False, speed=speed, duplex=duplex)
    assert settings(two.near) == (speed, duplex, False)
    assert not Mdio(two.cards[0]).read(BMCR) & NEGOTIATE
    assert two.cards[0].read(regs.CTRL) & regs.CTRL_FRCSPD
    assert two.near.ethtool_ops.get_link_ksettings(two.near)["advertising"] == ()
    assert two.send([packet(100, to=FAR)]) == 1
    two.near.ethtool_ops.set_link_ksettings(two.near)
    assert settings(two.near) == (1000, "full", True)
    assert not two.cards[0].read(regs.CTRL) & regs.CTRL_FRCSPD


def test_1000_is_negotiated_even_if_it_is_forced(two):
    two.near.ethtool_ops.set_link_ksettings(two.near, autoneg=False, speed=1000)
    assert settings(two.near) == (1000, "full", True)
    assert two.near.ethtool_ops.get_link_ksettings(two.near)["advertising"] == ("1000baseT/Full",)


@pytest.mark.parametrize(
    "wish",
    [
        {"advertising": []},
        {"advertising": ["1000baseT/Half"]},
        {"autoneg": False, "speed": 1000, "duplex": "half"},
        {"autoneg": False, "speed": 2500},
        {"autoneg": False},
    ],
)
def test_a_link_there_cannot_be_is_refused(two, wish):
    with pytest.raises(OSError, match="link") as error:
        two.near.ethtool_ops.set_link_ksettings(two.near, **wish)
    assert error.value.errno == errno.EINVAL
    assert settings(two.near) == (1000, "full", True)


def test_opening_again_does_not_cost_the_link(two_cards):
    two = two_cards(timed=True)
    two.clock.advance(4 * SECOND)
    two.near.ethtool_ops.set_ringparam(two.near, rx_pending=128)
    assert two.near.carrier_ok


# --- flow control ---


@pytest.mark.parametrize(("rx", "tx"), [(False, False), (False, True), (True, False), (True, True)])
def test_pause_is_negotiated_as_the_user_says(two, rx, tx):
    two.near.ethtool_ops.set_pauseparam(two.near, rx_pause=rx, tx_pause=tx)
    card = two.cards[0]
    control = card.read(regs.CTRL)
    assert (bool(control & regs.CTRL_RFCE), bool(control & regs.CTRL_TFCE)) == pauses(two.near) == (rx, tx)     # the other end does both
    assert bool(Mdio(card).read(ADVERTISE) & PAUSE) == rx
    assert (card.peek(regs.FCT), card.peek(regs.FCAL), card.peek(regs.FCAH), card.peek(regs.FCTTV)) == (0x8808, 0x00C28001, 0x0100, 0xFFFF)
    assert (card.peek(regs.FCRTL), card.peek(regs.FCRTH)) == ((0x8000ACC0, 0xACC8) if tx else (0, 0))


def test_without_negotiation_pause_is_done_at_once_and_still_after_the_link_was_lost(two_cards):
    two = two_cards(timed=True)
    two.clock.advance(4 * SECOND)
    two.near.ethtool_ops.set_pauseparam(two.near, autoneg=False, rx_pause=False, tx_pause=True)
    assert two.near.ethtool_ops.get_pauseparam(two.near) == {"autoneg": False, "rx_pause": False, "tx_pause": True}
    two.near.ethtool_ops.nway_reset(two.near)
    two.clock.advance(4 * SECOND)
    assert two.near.carrier_ok
    assert two.cards[0].read(regs.CTRL) & (regs.CTRL_RFCE | regs.CTRL_TFCE) == regs.CTRL_TFCE


def test_half_duplex_has_no_pause(two):
    assert pauses(two.near) == (True, True)
    two.near.ethtool_ops.set_link_ksettings(two.near, advertising=["100baseT/Half"])
    assert pauses(two.near) == (False, False)


@pytest.mark.parametrize(("word", "pause"), [(0x3040, FULL), (0x2040, TX), (0x1040, FULL), (0x0040, NONE)])
def test_the_default_is_the_eeproms(word, pause):
    assert by_eeprom(word) == pause


def test_the_parameter_is_instead_of_it(two_cards):
    two = two_cards(near={"flow_control": "rx"}, far={"flow_control": "none"})
    assert (pauses(two.near), pauses(two.far)) == ((True, False), (False, False))
    with pytest.raises(OSError, match="flow_control is default, none, rx, tx, full; not 'some'") as error:
        two_cards(flow_control="some")
    assert error.value.errno == errno.EINVAL


bits = st.sampled_from([0, ASM_DIR, PAUSE, PAUSE | ASM_DIR])


@given(wanted=st.builds(Pause, st.booleans(), st.booleans()), theirs=bits)
def test_nobody_is_paused_or_pauses_unless_both_ends_agree(wanted, theirs):
    """IEEE 802.3 table 28B-3, and its other end's view; but for ends that advertise nothing, which may be old switches."""
    agreed = resolve(wanted, wanted.advertised, theirs)
    assert agreed.tx <= wanted.tx
    assert agreed.rx <= wanted.rx
    if agreed.tx:
        assert theirs & PAUSE, "it must be able to receive them"
    if wanted.rx and not theirs:
        assert agreed == RX


def test_a_jumbo_frame_gets_its_part_of_the_packet_buffer(two):
    card = two.cards[0]
    assert card.peek(regs.PBA) & 0xFFFF == 48
    two.near.mtu = 16110
    assert card.peek(regs.PBA) & 0xFFFF == 40
    assert card.peek(regs.FCRTH) == (40960 - 16128) & 0xFFF8
    two.near.mtu = 9000
    assert card.peek(regs.FCRTH) == (40960 - 9018) & 0xFFF8
    two.near.mtu = 1500
    assert (card.peek(regs.PBA) & 0xFFFF, card.peek(regs.FCRTH)) == (48, 0xACC8)


# --- the transmitter ---


def test_the_transmitter_is_enabled_when_there_is_a_link_and_then_sends_what_waits(two_cards):
    two = two_cards(timed=True)
    card = two.cards[0]
    assert not card.peek(regs.TCTL) & regs.TCTL_EN
    two.offered += 1
    assert two.near.transmitter().send(Burst.from_packets([packet(100, to=FAR)])) == 1
    two.clock.advance(4 * SECOND)
    two.stack.run()
    assert card.peek(regs.TCTL) & regs.TCTL_EN
    assert two.sink.packets == [packet(100, to=FAR)]
    Mdio(card).write(BMCR, POWER_DOWN)
    two.clock.advance(3 * SECOND)
    two.stack.run()
    assert not two.near.carrier_ok
    assert card.peek(regs.TCTL) & regs.TCTL_EN      # it stays so, as Linux leaves it


def test_a_gigabit_in_half_duplex_is_not_advertised(two):
    assert Mdio(two.cards[0]).read(CTRL1000) & 0x0300 == 0x0200
