"""The driver's interrupt delays and write-back thresholds: what it programs, and when descriptors come back for it."""

import errno

import pytest
from cards import DD, packet

from e1000 import regs
from e1000.bus import LocalBus
from e1000.device import E1000Device
from e1000.driver import probe
from fastring.burst import Burst
from softnet.stack import Stack

FAR = bytes.fromhex("520000000002")
DELAY_NS = 1024


def timed(two_cards, **options):
    two = two_cards(timed=True, bql=False, rx_usecs=0, **options)
    two.clock.advance(3_000_000_000)
    two.stack.run()
    return two


def written_back(two, ring):
    """Descriptors with DD set."""
    start = ring.iova - two.memory.iova
    return sum(memoryview(two.memory.arena)[start + 16 * number + 12] & DD for number in range(ring.count))


def packets(count):
    return [packet(100, to=FAR, seed=number) for number in range(count)]


def test_what_was_asked_for_is_in_the_registers(two_cards):
    two = timed(two_cards, tx_int_delay=8, tx_abs_int_delay=32, rx_int_delay=9, rx_abs_int_delay=65535, tx_wthresh=4, rx_wthresh=63)
    for card in two.cards:
        assert [card.read(register) for register in (regs.TIDV, regs.TADV, regs.RDTR, regs.RADV)] == [8, 32, 9, 65535]
        assert card.read(regs.TXDCTL) == regs.DCTL_GRAN | 4 << regs.DCTL_WTHRESH_SHIFT
        assert card.read(regs.RXDCTL) == regs.DCTL_GRAN | 63 << regs.DCTL_WTHRESH_SHIFT


def test_by_default_nothing_is_delayed_or_kept(two_cards):
    two = timed(two_cards)
    registers = (regs.TIDV, regs.TADV, regs.RDTR, regs.RADV, regs.TXDCTL, regs.RXDCTL)
    assert [two.cards[0].read(register) for register in registers] == [E1000Device().read(register) for register in registers]
    two.send(packets(1))
    assert two.sink.packets == packets(1)


def test_received_packets_are_written_back_in_groups_or_when_the_delay_is_over(two_cards):
    two = timed(two_cards, far={"rx_wthresh": 4, "rx_int_delay": 100})
    sent, ring = packets(7), two.far.netdev_ops.rx
    for number, done in enumerate((0, 0, 0, 4, 4), 1):
        two.send(sent[number - 1 : number])
        assert written_back(two, ring) == done
    two.send(sent[5:])
    assert two.sink.packets == []
    two.clock.advance(100 * DELAY_NS)
    two.stack.run()
    assert two.sink.packets == sent


def test_sent_packets_are_reported_in_groups_or_when_the_delay_is_over(two_cards):
    two = timed(two_cards, near={"tx_wthresh": 4, "tx_int_delay": 100, "rs_every": 1})
    ring = two.near.netdev_ops.tx
    for number, done in enumerate((0, 0, 0, 4, 4), 1):
        two.send(packets(1))
        assert written_back(two, ring) == done
        assert ring.in_flight == number
    assert len(two.sink.packets) == 5, "the packets themselves do not wait"
    two.clock.advance(100 * DELAY_NS)
    two.stack.run()
    assert ring.in_flight == 0


def test_everything_arrives_with_all_of_them_and_small_rings(two_cards):
    two = timed(
        two_cards, tx_descriptors=80, rx_descriptors=80, rs_every=3, tx_int_delay=5, tx_abs_int_delay=20, rx_int_delay=5,
        rx_abs_int_delay=20, tx_wthresh=16, rx_wthresh=16, copybreak=64,
    )
    sent, left = packets(500), 0
    while left < len(sent):
        accepted = two.near.xmit(burst := Burst.from_packets(sent[left : left + 40]))
        assert accepted <= len(burst)
        two.offered += accepted
        left += accepted
        two.clock.advance(30 * DELAY_NS)
        two.stack.run()
    two.clock.advance(30 * DELAY_NS)
    two.stack.run()
    assert two.sink.packets == sent


@pytest.mark.parametrize("side", ["tx", "rx"])
def test_a_threshold_needs_a_delay_that_bounds_it(side):
    with pytest.raises(OSError, match=f"{side}_wthresh needs a {side}_int_delay") as error:
        probe(LocalBus(E1000Device()), Stack(), **{f"{side}_wthresh": 2})
    assert error.value.errno == errno.EINVAL
