"""Loopback in the PHY and by RCTL.LBM, and what a card without a link does."""

import pytest
from cards import BROADCAST, EOP, data, packet
from mdio import BMCR, FULL_DUPLEX, LOOPBACK, POWER_DOWN, SECOND, SPEED_HIGH, Mdio

from e1000 import regs
from e1000.device import DeviceThread
from fastring.clock import VirtualClock


def loop_in_phy(card):
    Mdio(card).write(BMCR, LOOPBACK | SPEED_HIGH | FULL_DUPLEX)


def loop_by(mode):
    return lambda card: card.write(regs.RCTL, card.read(regs.RCTL) | mode)


WAYS = {"PHY": loop_in_phy, "LBM 01": loop_by(regs.RCTL_LBM_MAC), "LBM 11": loop_by(regs.RCTL_LBM_PHY)}


@pytest.fixture
def card(card):
    card.tx_ring()
    card.rx_ring(rctl=regs.RCTL_SECRC | regs.RCTL_BAM | regs.RCTL_LPE)
    return card


@pytest.fixture(params=WAYS)
def looped(request, card):
    WAYS[request.param](card)
    return card


# --- loopback ---


def test_what_is_sent_comes_back_and_nothing_reaches_the_wire(looped):
    sent = [packet(60), packet(300, to=BROADCAST), packet(1514), packet(9000)]
    slots = looped.post_packets(*sent)
    assert looped.take() == sent
    assert all(looped.tx_done(slot) for slot in slots)
    assert looped.wire.sent == []
    assert looped.counts("GPTC", "GPRC", "BPTC", "BPRC", "TPT", "TPR") == (4, 4, 1, 1, 4, 4)


def test_the_wire_brings_nothing_meanwhile(looped):
    looped.receive(packet(60), packet(61))
    assert looped.take() == []
    assert looped.device.drops["rx_disabled"] == 2


def test_packets_in_pieces_and_padded_ones_come_back_whole(looped):
    content = packet(500)
    parts = [content[:1], content[1:300], content[300:]]
    looped.post(*(data(looped.alloc(part), len(part), cmd=EOP if part is parts[-1] else 0) for part in parts))
    looped.post_packets(packet(20))
    assert looped.take() == [content, packet(20) + bytes(40)]


def test_the_address_filter_works_on_what_comes_back(looped):
    looped.post_packets(packet(60, to=b"\x02\0\0\0\0\x55"))
    assert looped.take() == []
    assert looped.device.drops["rx_filtered"] == 1


def test_what_finds_no_descriptor_waits_in_the_fifo_and_is_missed_when_that_is_full(looped):
    looped.write(regs.RDT, looped.read(regs.RDH))
    sent = [packet(1514, seed=i) for i in range(60)]
    looped.post_packets(*sent)
    missed = looped.counts("MPC")[0]
    assert 0 < missed < 60
    looped.rx_tail = looped.read(regs.RDH)
    looped.give(60)
    assert looped.take() == sent[: 60 - missed]


def test_more_packets_than_any_stack_has_room_for(looped):
    for i in range(100):
        looped.post_packets(*(packet(60, seed=i * 60 + j) for j in range(60)))
        assert len(looped.take()) == 60
        looped.give(60)
    assert looped.counts("GPTC", "GPRC") == (6000, 6000)


def test_a_receive_buffer_over_the_packet_that_is_sent(looped):
    content = packet(1000)
    address = looped.alloc(content + bytes(4096))
    for shift in (0, 1, 64, 500):
        looped.addresses.write(address, content)
        slot = looped.read(regs.RDH)
        looped.addresses.write(looped.rx_base + 16 * slot, (address + shift).to_bytes(8, "little"))
        looped.post(data(address, 1000))
        assert looped.addresses.read(address + shift, 1000) == content


def test_a_receive_buffer_over_the_transmit_ring_harms_nobody(looped):
    looped.addresses.write(looped.rx_base, looped.tx_base.to_bytes(8, "little"))
    looped.post_packets(*(packet(100, seed=i) for i in range(20)))
    assert looped.read(regs.TDH) == 20
    Mdio(looped).write(BMCR, 0x1140)
    looped.write(regs.CTRL, regs.CTRL_RST)
    looped.tx_ring()
    looped.post_packets(packet(60))
    assert looped.wire.sent == [packet(60)]


@pytest.mark.parametrize("way", ["LBM 01", "LBM 11"])
def test_loopback_by_lbm_needs_no_cable(card, way):
    card.device.unplug()
    WAYS[way](card)
    card.post_packets(packet(60))
    assert card.take() == [packet(60)]


def test_loopback_in_the_phy_needs_no_cable(card):
    card.device.unplug()
    loop_in_phy(card)
    card.post_packets(packet(60))
    assert card.take() == [packet(60)]


def test_the_reserved_lbm_loops_nothing(card):
    card.write(regs.RCTL, card.read(regs.RCTL) | 2 << 6)
    card.post_packets(packet(60))
    assert card.wire.sent == [packet(60)]


def test_a_phy_without_power_loops_nothing(card):
    Mdio(card).write(BMCR, LOOPBACK | POWER_DOWN)
    slots = card.post_packets(packet(60))
    assert not card.tx_done(slots[0])
    assert card.take() == []


def test_after_loopback_the_wire_is_back(looped):
    Mdio(looped).write(BMCR, 0x1140)
    looped.write(regs.RCTL, looped.read(regs.RCTL) & ~regs.RCTL_LBM)
    looped.post_packets(packet(60))
    looped.receive(packet(61))
    assert (looped.wire.sent, looped.take()) == ([packet(60)], [packet(61)])


def test_a_device_thread_loops_back_too(looped):
    with DeviceThread([looped.device]):
        looped.post_packets(*(packet(60, seed=i) for i in range(50)))
        while looped.read(regs.TDH) != 50:
            pass
    assert looped.take() == [packet(60, seed=i) for i in range(50)]


# --- without a link ---


def take_slu(card):
    card.write(regs.CTRL, card.read(regs.CTRL) & ~regs.CTRL_SLU)
    return lambda: card.write(regs.CTRL, card.read(regs.CTRL) | regs.CTRL_SLU)


def pull_the_cable(card):
    card.device.unplug()
    return lambda: card.device.plug(card.wire)


def power_the_phy_down(card):
    Mdio(card).write(BMCR, 0x1140 | POWER_DOWN)
    return lambda: Mdio(card).write(BMCR, 0x1140)


@pytest.mark.parametrize("lose", [take_slu, pull_the_cable, power_the_phy_down])
def test_without_a_link_packets_wait_in_the_ring(card, lose):
    mend = lose(card)
    slots = card.post_packets(packet(60), packet(61))
    assert not any(card.tx_done(slot) for slot in slots)
    card.write(regs.TDT, card.tx_tail)                  # deferred still, not again
    assert card.read(regs.TDH) == 0
    assert card.counts("GPTC", "DC") == (0, 1)
    mend()
    assert card.wire.sent == [packet(60), packet(61)]
    assert card.counts("GPTC", "DC") == (2, 0)
    lose(card)
    card.post_packets(packet(60))
    assert card.counts("DC") == (1,)


def test_a_reset_flushes_what_waits_for_the_link(card):
    mend = power_the_phy_down(card)
    card.post_packets(packet(60))
    card.write(regs.CTRL, regs.CTRL_RST)
    mend()
    card.tx_ring()
    card.post_packets(packet(61))
    assert card.wire.sent == [packet(61)]


@pytest.mark.parametrize("lose", [take_slu, power_the_phy_down])
def test_without_a_link_nothing_is_received(card, lose):
    mend = lose(card)
    card.receive(packet(60))
    assert card.device.drops["rx_disabled"] == 1
    mend()
    card.receive(packet(61))
    assert card.take() == [packet(61)]


def test_what_waits_leaves_when_the_link_comes_up_on_a_clock(make_card):
    clock = VirtualClock()
    card = make_card(clock=clock)
    card.tx_ring()
    card.post_packets(packet(60))
    clock.advance(SECOND)
    assert card.wire.sent == []
    clock.advance(SECOND)
    assert card.wire.sent == [packet(60)]


def test_speed_detection_tells_the_links_speed(card):
    Mdio(card).write(BMCR, 1 << 13 | FULL_DUPLEX)
    assert card.read(regs.STATUS) >> 8 & 3 == 0
    card.write(regs.CTRL_EXT, regs.CTRL_EXT_ASDCHK)
    assert card.read(regs.STATUS) >> 8 & 3 == 1
    assert not card.read(regs.CTRL_EXT) & regs.CTRL_EXT_ASDCHK
