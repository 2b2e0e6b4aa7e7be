"""Changes while traffic runs: MTU, ring sizes; and the statistics that outlive them."""

import pytest
from cards import BareCard, packet

from e1000 import regs
from e1000.driver import probe
from fastring.burst import Burst
from softnet.stack import Stack

FAR = bytes.fromhex("520000000002")


def test_the_mtu_changes_while_up_both_ways_with_the_same_sender(two_cards):
    two = two_cards()
    sender = two.near.transmitter()
    for mtu in (9000, 46, 16110, 1500):
        two.near.mtu = two.far.mtu = mtu
        longest = packet(min(mtu, 1500) + 14, to=FAR, seed=mtu)
        two.offered += 1
        assert sender.send(Burst.from_packets([longest])) == 1
        two.send([packet(mtu + 14, to=FAR)])
        assert two.sink.packets[-1] == packet(mtu + 14, to=FAR)
        assert two.near.carrier_ok
    assert len(two.sink.packets) == 8


def test_a_change_while_packets_are_in_the_ring_gives_them_up_and_counts_them(two_cards):
    two = two_cards()
    two.stack.run()
    card = two.cards[0]
    card.write(regs.TCTL, card.read(regs.TCTL) & ~regs.TCTL_EN)
    two.send([packet(100, to=FAR, seed=i) for i in range(9)])
    two.near.mtu = 4000
    assert two.near.stats64.tx_errors == 9
    assert (two.near.txq.inflight, two.near.txq.xmit_stopped) == (0, False)
    assert two.send([packet(100, to=FAR)]) == 1
    assert two.sink.packets == [packet(100, to=FAR)]


def test_statistics_of_the_card_are_kept_over_resets_and_stop(two_cards):
    two = two_cards()
    groups = [packet(200, to=b"\x01\0\x5e\0\0\1", seed=i) for i in range(5)]
    for i in range(3):
        two.send(groups)
        two.near.mtu = two.far.mtu = 2000 + i
    assert two.far.stats64.multicast == 15
    hw = two.near.netdev_ops.hw_stats
    two.near.stop()
    two.far.stop()
    assert two.far.stats64.multicast == 15
    assert (hw.total["tpt"], hw.total["gotc"], hw.total["ptc255"]) == (15, 15 * 204, 15)


def test_a_counter_is_added_up_beyond_32_bits_and_read_once(two_cards):
    two = two_cards()
    hw = two.near.netdev_ops.hw_stats
    two.send([packet(1000, to=FAR)])
    hw.total["gotc"] = (1 << 40) - 4
    assert two.near.stats64.tx_packets == 1  # it reads the registers
    assert hw.total["gotc"] == (1 << 40) + 1000
    assert two.near.stats64.tx_packets == 1
    assert hw.total["gotc"] == (1 << 40) + 1000


def test_damaged_frames_are_rx_errors_by_their_kind(undo):
    card = BareCard(undo)
    stack = undo.enter_context(Stack())
    device = probe(card.bus, stack)
    device.promiscuous = True
    device.register()
    device.open()
    card.receive(packet(40), packet(59), packet(1600), packet(60))
    stack.run()
    stats = device.stats64
    assert (stats.rx_length_errors, stats.rx_errors, stats.rx_packets) == (3, 3, 1)
    device.stop()
    assert device.stats64.rx_length_errors == 3


@pytest.mark.parametrize("which", ["tx", "rx"])
def test_rings_are_resized_while_up(two_cards, which):
    two = two_cards()
    device = two.far if which == "rx" else two.near
    ops, ethtool = device.netdev_ops, device.ethtool_ops
    for count in (4096, 80, 256):
        ethtool.set_ringparam(device, **{f"{which}_pending": count})
        assert ethtool.get_ringparam(device)[f"{which}_pending"] == getattr(ops, which).count == count
        packets = [packet(100, to=FAR, seed=i) for i in range(300)]
        before = len(two.sink.packets)
        assert two.send(packets) == 300
        assert two.sink.packets[before:] == packets
    with pytest.raises(OSError, match=f"{which}_descriptors is a multiple of 8 from 80 to 4096; not 81"):
        ethtool.set_ringparam(device, **{f"{which}_pending": 81})
    assert getattr(ops, which).count == 256
