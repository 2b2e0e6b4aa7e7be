"""set_rx_mode and set_mac_address: what the card lets in, held against what it was told to."""

import pytest
from cards import BROADCAST, packet
from hypothesis import given
from hypothesis import strategies as st

from e1000 import regs
from e1000.driver.rx_mode import RxFilter, hash_mc_addr

FAR = bytes.fromhex("525400000002")


def unicast(i):
    return b"\x02\0\0\1" + i.to_bytes(2, "big")


def multicast(i):
    return b"\x01\0\x5e\0" + (i * 0x101 & 0xFFFF).to_bytes(2, "big")


@pytest.fixture
def two(two_cards):
    two = two_cards()
    two.far.promiscuous = False
    return two


def arrives(two, to):
    """Whether a frame to this address is received."""
    before = len(two.sink.packets)
    frame = packet(60, to=to)
    two.send([frame])
    return two.sink.packets[before:] == [frame]


def test_its_own_address_and_broadcast_are_received_and_no_others(two):
    assert arrives(two, FAR)
    assert arrives(two, BROADCAST)
    assert not arrives(two, unicast(1))
    assert not arrives(two, multicast(1))


@pytest.mark.parametrize("count", [1, 15, 16, 40])
def test_every_listed_unicast_address_is_received_and_others_only_when_there_are_too_many(two, count):
    for i in range(count):
        two.far.uc.add(unicast(i))
    assert all(arrives(two, unicast(i)) for i in range(count))
    assert arrives(two, unicast(1000)) == (count > 15)
    for i in range(count):
        two.far.uc.delete(unicast(i))
    assert not arrives(two, unicast(0))
    assert arrives(two, FAR)


@pytest.mark.parametrize("count", [1, 15, 16, 60])
def test_every_listed_multicast_address_is_received_and_another_is_not(two, count):
    for i in range(count):
        two.far.mc.add(multicast(i))
    assert all(arrives(two, multicast(i)) for i in range(count))
    assert not arrives(two, b"\x01\0\x5e\x7f\x12\x34")
    for i in range(count):
        two.far.mc.delete(multicast(i))
    assert not arrives(two, multicast(count - 1))


def test_promiscuous_and_allmulticast_mode(two):
    two.far.set_allmulti(1)
    assert arrives(two, multicast(9))
    assert not arrives(two, unicast(9))
    two.far.set_allmulti(-1)
    two.far.promiscuous = True
    assert arrives(two, multicast(9))
    assert arrives(two, unicast(9))
    two.far.promiscuous = False
    assert not arrives(two, multicast(9))


def test_filters_outlive_stop_reset_and_a_new_mtu(two):
    two.far.uc.add(unicast(1))
    two.far.mc.add(multicast(1))
    two.far.stop()
    two.far.uc.add(unicast(2))
    two.far.open()
    two.near.mtu = two.far.mtu = 4000
    for address in (unicast(1), unicast(2), multicast(1), FAR):
        assert arrives(two, address)
    assert not arrives(two, unicast(3))


def test_a_new_station_address_holds_at_once_and_after_the_next_open(two):
    two.far.set_mac_address(unicast(7))
    assert two.far.dev_addr == unicast(7)
    assert arrives(two, unicast(7))
    assert not arrives(two, FAR)
    two.far.stop()
    two.far.set_mac_address(unicast(8))
    two.far.open()
    assert arrives(two, unicast(8))
    assert not arrives(two, unicast(7))


class Registers:
    """A bus that remembers, and counts writes."""

    def __init__(self):
        self.value, self.writes = {}, 0

    def read(self, offset):
        return self.value.get(offset, 0)

    def write(self, offset, value):
        self.value[offset] = value
        self.writes += 1


lists = st.lists(st.binary(min_size=6, max_size=6), max_size=40, unique=True)


@given(steps=st.lists(st.tuples(st.booleans(), st.booleans(), lists, lists), min_size=1, max_size=4))
def test_whatever_was_programmed_before_the_registers_are_those_of_a_fresh_card(steps):
    used, fresh = Registers(), Registers()
    filter_ = RxFilter(used)
    for promiscuous, allmulti, uc, mc in steps:
        filter_.apply(promiscuous=promiscuous, allmulti=allmulti, unicast=uc, multicast=mc)
    RxFilter(fresh).apply(promiscuous=promiscuous, allmulti=allmulti, unicast=uc, multicast=mc)
    assert used.value | {regs.RCTL: 0} == fresh.value | {regs.RCTL: 0}
    assert used.read(regs.RCTL) == fresh.read(regs.RCTL)
    before = used.writes
    filter_.apply(promiscuous=promiscuous, allmulti=allmulti, unicast=uc, multicast=mc)
    assert used.writes == before


def test_the_hash_takes_bits_47_to_36():
    assert hash_mc_addr(bytes.fromhex("0100aabb1234")) == 0x341
    assert hash_mc_addr(BROADCAST) == 0xFFF
