"""Flow control: a FIFO that fills sends pause frames, and so does software."""

import pytest
from cards import STATION, BareCard, packet
from flow_control import GROUP, HIGH, LOW, pause, paused, set_up, timed_card
from mdio import BMCR, FULL_DUPLEX, LOOPBACK, SECOND, SPEED_HIGH, SPEED_LOW, Mdio

from e1000 import regs
from e1000.bus import HostMemory
from fastring.clock import VirtualClock
from fastring.wire import pair


@pytest.fixture
def timed(undo):
    return timed_card(undo)


def fill(card, until):
    """Let packets wait in the FIFO until it sends something, or `until` of them wait."""
    card.write(regs.RDT, card.read(regs.RDH))
    for i in range(until):
        card.receive(packet(1000, seed=i))
        if card.wire.sent:
            return i + 1
    return until


def test_a_filling_fifo_sends_xoff_once_and_xon_when_it_has_drained(card):
    set_up(card)
    waiting = fill(card, 30)
    assert HIGH // 1100 < waiting <= HIGH // 1000 + 1
    assert card.wire.sent == [(GROUP + STATION + bytes.fromhex("880800011234")).ljust(60, b"\0")]
    card.receive(packet(1000), packet(1000))
    assert len(card.wire.sent) == 1
    card.rx_tail = card.read(regs.RDH)
    for given in range(waiting + 2):
        assert len(card.wire.sent) == 1, given
        card.give(1)
        if len(card.wire.sent) == 2:
            break
    assert LOW // 1100 <= waiting + 2 - given - 1 <= LOW // 1000
    assert card.wire.sent[1] == (GROUP + STATION + bytes.fromhex("880800010000")).ljust(60, b"\0")
    assert card.counts("XOFFTXC", "XONTXC", "GPTC", "MPTC", "PTC64", "TPT", "TOT") == (1, 1, 0, 0, 0, 2, 128)


def test_a_fifo_that_fills_again_sends_xoff_again(card):
    set_up(card)
    for _ in range(3):
        waiting = fill(card, 30)
        card.rx_tail = card.read(regs.RDH)
        card.give(waiting)
        assert len(card.take()) == waiting
        assert len(card.wire.sent) == 2
        card.wire.sent.clear()
    assert card.counts("XOFFTXC", "XONTXC") == (3, 3)


def test_xon_is_sent_only_with_xone(card):
    set_up(card, xone=0)
    waiting = fill(card, 30)
    card.rx_tail = card.read(regs.RDH)
    card.give(waiting)
    assert len(card.wire.sent) == 1
    fill(card, 30)
    assert card.counts("XOFFTXC", "XONTXC") == (1, 0)


@pytest.mark.parametrize("why", ["no TFCE", "half duplex", "TCTL.EN is clear"])
def test_no_xoff_is_sent_when_flow_control_is_off(card, why):
    set_up(card, control=regs.CTRL_RFCE if why == "no TFCE" else regs.CTRL_TFCE)
    if why == "half duplex":
        Mdio(card).write(BMCR, SPEED_LOW)
    elif why == "TCTL.EN is clear":
        card.write(regs.TCTL, 0)
    assert fill(card, 30) == 30
    assert card.counts("XOFFTXC") == (0,)


def test_a_paused_card_still_sends_pause_frames(timed):
    timed.receive(pause(0xFFFF))
    fill(timed, 30)
    assert len(timed.wire.sent) == 1


def test_software_sends_xoff_with_any_time_and_without_tfce(card):
    set_up(card, control=0)
    for quanta, expected in ((0x1234, (1, 0)), (0, (0, 1))):
        card.write(regs.FCTTV, quanta)
        card.write(regs.TCTL, card.read(regs.TCTL) | regs.TCTL_SWXOFF)
        assert not card.read(regs.TCTL) & regs.TCTL_SWXOFF
        assert card.wire.sent.pop()[14:18] == b"\0\1" + quanta.to_bytes(2, "big")
        assert card.counts("XOFFTXC", "XONTXC") == expected
    assert card.wire.sent == []


def test_software_xoff_waits_for_the_link(card):
    set_up(card)
    card.device.unplug()
    card.write(regs.TCTL, card.read(regs.TCTL) | regs.TCTL_SWXOFF)
    assert card.read(regs.TCTL) & regs.TCTL_SWXOFF
    card.device.plug(card.wire)
    assert not card.read(regs.TCTL) & regs.TCTL_SWXOFF
    assert len(card.wire.sent) == 1


def test_two_cards_on_a_lossy_cable_lose_nothing_when_they_talk_pause(undo):
    clock = VirtualClock()
    memory = undo.enter_context(HostMemory(size=1 << 24))
    sender, receiver = (BareCard(undo, wire=end, memory=memory, clock=clock) for end in pair(lossless=False))
    clock.advance(2 * SECOND)
    for card in (sender, receiver):
        set_up(card)
    receiver.write(regs.RDT, receiver.read(regs.RDH))
    sender.tx_ring(256)
    sent = [packet(500, seed=i) for i in range(200)]
    for frame in sent:
        sender.post_packets(frame)
    assert sender.read(regs.TDH) < 200
    assert paused(sender)
    receiver.rx_tail = receiver.read(regs.RDH)
    got = []
    for _ in range(200):
        receiver.give(8)
        got += receiver.take()
    assert got == sent
    assert receiver.counts("MPC") == (0,)
    xoffs, xons = sender.counts("XOFFRXC", "XONRXC")
    assert (xoffs, xons) == receiver.counts("XOFFTXC", "XONTXC")
    assert xoffs == xons > 1


def test_loopback_of_pause_frames_ends(timed):
    Mdio(timed).write(BMCR, LOOPBACK | SPEED_HIGH | FULL_DUPLEX)
    timed.clock.advance(SECOND)
    timed.write(regs.RDT, timed.read(regs.RDH))
    timed.post_packets(*(packet(1000, seed=i) for i in range(40)))
    assert paused(timed), "by itself"
    timed.clock.advance(SECOND)
    timed.rx_tail = timed.read(regs.RDH)
    timed.give(60)
    timed.clock.advance(SECOND)
    assert timed.take() == [packet(1000, seed=i) for i in range(40)]


def test_pause_frames_that_are_looped_back_and_fill_the_fifo_come_to_an_end(card):
    """FCRTL above FCRTH: each frame in the FIFO asks for XOFF, and then for XON."""
    set_up(card, control=regs.CTRL_TFCE, rctl=regs.RCTL_LBM_MAC | regs.RCTL_UPE | regs.RCTL_MPE)
    card.write(regs.FCRTH, 8)
    card.write(regs.FCRTL, 0xFFF8 | regs.FCRTL_XONE)
    card.write(regs.RDT, 0)
    card.post_packets(packet(60))
    assert sum(card.counts("XOFFTXC", "XONTXC")) <= 4
    card.receive(packet(60))
    card.give(20)
    card.write(regs.RCTL, card.read(regs.RCTL) & ~regs.RCTL_LBM)
    card.write(regs.FCRTL, 0)
    card.receive(packet(70))
    assert card.take()[-1] == packet(70)
