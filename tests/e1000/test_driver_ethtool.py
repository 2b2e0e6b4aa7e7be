"""What ethtool asks of the driver, and interrupt moderation as it sets it."""

import errno

import pytest
from cards import packet
from mdio import BMCR, POWER_DOWN, Mdio

from e1000 import regs
from e1000.driver.phy import SUPPORTED

FAR = bytes.fromhex("520000000002")
SECOND = 1_000_000_000


@pytest.fixture
def two(two_cards):
    return two_cards()


@pytest.mark.parametrize(
    ("usecs", "register", "shown"),
    [(0, 0, 0), (1, 195, 1), (3, 195, 3), (4, 195, 4), (10, 39, 10), (100, 390, 100), (10000, 39062, 10000)],
)
def test_rx_usecs_become_the_cards_interval(two, usecs, register, shown):
    two.near.ethtool_ops.set_coalesce(two.near, rx_coalesce_usecs=usecs)
    assert two.cards[0].peek(regs.ITR) == register
    assert two.near.ethtool_ops.get_coalesce(two.near) == {"rx_coalesce_usecs": shown}
    two.near.stop()
    two.near.open()
    assert two.cards[0].peek(regs.ITR) == register


@pytest.mark.parametrize("usecs", [-1, 2, 5, 9, 10001])
def test_other_rx_usecs_are_refused(two, usecs):
    with pytest.raises(OSError, match=f"rx_usecs is 0, 1, 3, 4, or 10 to 10000; not {usecs}") as error:
        two.near.ethtool_ops.set_coalesce(two.near, rx_coalesce_usecs=usecs)
    assert error.value.errno == errno.EINVAL
    assert two.near.ethtool_ops.get_coalesce(two.near) == {"rx_coalesce_usecs": 3}


def rates(two, bursts, *, mode):
    """The far card's interrupt rate after each burst of (packets, their length)."""
    two.far.ethtool_ops.set_coalesce(two.far, rx_coalesce_usecs=mode)
    out = []
    for count, length in bursts:
        two.send([packet(length, to=FAR, seed=i) for i in range(count)])
        out.append(two.far.netdev_ops.napi.itr)
        assert two.cards[1].peek(regs.ITR) == 1_000_000_000 // (out[-1] * 256)
    return out


def test_few_small_packets_get_the_lowest_latency_in_steps(two):
    assert rates(two, [(1, 60)] * 5, mode=1) == [37500, 55000, 70000, 70000, 70000]


def test_the_conservative_mode_stays_at_20000(two):
    assert rates(two, [(1, 60)] * 5, mode=3) == [20000] * 5


def test_bulk_traffic_gets_4000_and_comes_back_in_steps(two):
    bulk, small = [(40, 1500)] * 2, [(1, 60)] * 4
    assert rates(two, bulk + small, mode=3) == [20000, 4000, 9000, 14000, 19000, 20000]


def test_the_simple_mode_follows_the_traffics_symmetry(two):
    two.far.ethtool_ops.set_coalesce(two.far, rx_coalesce_usecs=4)
    two.clock.advance(2 * SECOND)
    assert two.cards[1].peek(regs.ITR) == SECOND // (8000 * 256)
    two.send([packet(1500, to=FAR, seed=i) for i in range(60)])
    two.clock.advance(2 * SECOND)
    assert two.cards[1].peek(regs.ITR) == SECOND // (8000 * 256)  # all one way


def test_its_statistics_are_named_as_the_kernels_and_agree_with_the_card(two):
    two.send([packet(200, to=FAR, seed=i) for i in range(10)])
    two.send([packet(100, to=b"\xff" * 6)])
    ethtool = two.far.ethtool_ops
    stats = ethtool.get_ethtool_stats(two.far)
    assert tuple(stats) == ethtool.get_strings(two.far)
    assert (stats["rx_packets"], stats["rx_bytes"], stats["rx_broadcast"]) == (11, 10 * 204 + 104, 1)
    assert stats["rx_long_byte_count"] == stats["rx_bytes"]
    assert two.near.ethtool_ops.get_ethtool_stats(two.near)["tx_packets"] == 11
    two.far.stop()
    assert ethtool.get_ethtool_stats(two.far) == stats


def test_it_shows_link_driver_registers_and_eeprom(two):
    ethtool = two.near.ethtool_ops
    assert ethtool.get_drvinfo(two.near)["driver"] == "e1000"
    assert ethtool.get_link(two.near)
    settings = ethtool.get_link_ksettings(two.near)
    assert (settings["speed"], settings["duplex"], settings["autoneg"], settings["port"]) == (1000, "full", True, "tp")
    assert settings["supported"] == settings["advertising"] == SUPPORTED
    assert (settings["phy_address"], settings["transceiver"], settings["eth_tp_mdix"]) == (1, "internal", "off (auto)")
    assert ethtool.get_regs(two.near)["TDLEN"] == 4096
    assert ethtool.get_eeprom(two.near) == (0x100E8086, two.cards[0].eeprom)
    assert ethtool.get_eeprom(two.near, 2, 4)[1] == two.cards[0].eeprom[2:6]
    for offset, length in ((-1, 1), (0, 129), (128, 1), (0, 0), (127, 2)):
        with pytest.raises(OSError, match="the EEPROM has bytes 0 to 127"):
            ethtool.get_eeprom(two.near, offset, length)
    Mdio(two.cards[0]).write(BMCR, POWER_DOWN)
    assert ethtool.get_link_ksettings(two.near)["speed"] == -1
    assert not ethtool.get_link(two.near)


def test_nway_reset_negotiates_anew(two_cards):
    two = two_cards(timed=True)
    two.clock.advance(4 * SECOND)
    two.stack.run()
    assert two.near.carrier_ok
    two.near.ethtool_ops.nway_reset(two.near)
    two.clock.advance(50_000)  # ITR's interval
    two.stack.run()
    two.clock.advance(1)
    assert not two.near.carrier_ok
    two.clock.advance(4 * SECOND)
    two.stack.run()
    assert two.near.carrier_ok
