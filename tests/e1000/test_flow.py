"""Flow control: pause frames that arrive hold the transmitter, and a filling FIFO sends them."""

import pytest
from cards import BROADCAST, STATION, BareCard, RecordingWire, context, packet, pieces
from mdio import BMCR, FULL_DUPLEX, LOOPBACK, SECOND, SPEED_HIGH, SPEED_LOW, Mdio

from e1000 import regs
from e1000.bus import HostMemory
from e1000.device import DeviceThread
from fastring.burst import Burst
from fastring.clock import VirtualClock
from fastring.wire import pair

GROUP = bytes.fromhex("0180c2000001")
OTHER = b"\x02\0\0\0\0\1"
HIGH, LOW = 0x4000, 0x2000


def pause(quanta, *, to=GROUP, opcode=1, ethertype=0x8808):
    body = b"".join(n.to_bytes(2, "big") for n in (ethertype, opcode, quanta))
    return (to + OTHER + body).ljust(60, b"\0")


def set_up(card, *, control=regs.CTRL_RFCE | regs.CTRL_TFCE, rctl=0, xone=regs.FCRTL_XONE):
    """Rings, and flow control as Linux programs it, with lower thresholds."""
    card.tx_ring()
    card.write(regs.CTRL, card.read(regs.CTRL) & ~(regs.CTRL_RFCE | regs.CTRL_TFCE) | control)
    for register, value in ((regs.FCT, 0x8808), (regs.FCAH, 0x0100), (regs.FCAL, 0x00C28001), (regs.FCTTV, 0x1234)):
        card.write(register, value)
    card.write(regs.FCRTL, LOW | xone)
    card.write(regs.FCRTH, HIGH)
    card.rx_ring(rctl=regs.RCTL_SECRC | regs.RCTL_BAM | rctl)


@pytest.fixture
def timed(make_card):
    """A card with its link up on a VirtualClock; `clock` is that."""
    clock = VirtualClock()
    card = make_card(clock=clock)
    card.clock = clock
    card.clock.advance(2 * SECOND)
    set_up(card)
    return card


def paused(card):
    return bool(card.read(regs.STATUS) & regs.STATUS_TXOFF)


# --- pause frames that arrive ---


@pytest.mark.parametrize("to", [GROUP, STATION])
def test_xoff_holds_the_transmitter_for_its_quanta(timed, to):
    timed.receive(pause(100, to=to))
    assert paused(timed)
    slots = timed.post_packets(packet(60))
    timed.clock.advance(100 * 512 - 1)
    assert paused(timed)
    assert not timed.tx_done(slots[0])
    timed.clock.advance(1)
    assert not paused(timed)
    assert timed.wire.sent == [packet(60)]
    assert timed.counts("XOFFRXC", "XONRXC", "DC") == (1, 0, 1)


def test_xon_ends_the_pause(timed):
    timed.receive(pause(0xFFFF))
    timed.post_packets(packet(60))
    timed.clock.advance(1000)
    assert timed.wire.sent == []
    timed.receive(pause(0))
    assert not paused(timed)
    assert timed.wire.sent == [packet(60)]
    assert timed.clock.next_deadline is None
    assert timed.counts("XOFFRXC", "XONRXC") == (1, 1)


@pytest.mark.parametrize("end", ["XON", "time"])
def test_a_segmentation_that_a_pause_stops_midway_goes_on_with_its_next_segment(undo, end):
    class Pausing(RecordingWire):
        def transmit_burst(self, burst):
            super().transmit_burst(burst)
            if len(self.sent) == 64:                # what one call to the wire has
                self.inject(Burst.from_packets([pause(100)]))

    clock = VirtualClock()
    card = BareCard(undo, wire=Pausing(), clock=clock)
    clock.advance(2 * SECOND)
    set_up(card)
    content = packet(54 + 100 * 100, seed=3)
    tse = 1 << 26
    setup = context(cmd=tse | 1 << 24, payload=10000, ip=(14, 24, 33), transport=(34, 50, 0), header=54, mss=100)
    slots = card.post(setup, *pieces(card, content, [54, 4000], first=tse))
    assert paused(card)
    assert len(card.wire.sent) == 64
    assert not card.tx_done(slots[-1])
    if end == "XON":
        card.receive(pause(0))
    else:
        clock.advance(100 * 512 - 1)
        assert len(card.wire.sent) == 64
        clock.advance(1)
    assert not paused(card)
    assert b"".join(segment[54:] for segment in card.wire.sent) == content[54:]
    assert card.tx_done(slots[-1])
    assert card.counts("GPTC", "TSCTC", "TSCTFC") == (100, 1, 0)


def test_another_xoff_replaces_the_time_that_is_left(timed):
    timed.receive(pause(1000))
    timed.clock.advance(500 * 512)
    timed.receive(pause(10))
    timed.clock.advance(10 * 512 - 1)
    assert paused(timed)
    timed.clock.advance(1)
    assert not paused(timed)


@pytest.mark.parametrize(("bmcr", "bit"), [(SPEED_LOW | FULL_DUPLEX, 10), (FULL_DUPLEX, 100)])
def test_a_quantum_is_512_bit_times_at_the_links_speed(timed, bmcr, bit):
    Mdio(timed).write(BMCR, bmcr)
    timed.clock.advance(SECOND)
    timed.receive(pause(7))
    timed.clock.advance(7 * 512 * bit - 1)
    assert paused(timed)
    timed.clock.advance(1)
    assert not paused(timed)


def test_a_pause_amid_a_burst_that_is_received_lets_the_rest_of_it_in(timed):
    timed.receive(packet(60, to=BROADCAST), pause(5), packet(61, to=BROADCAST))
    assert paused(timed)
    assert timed.take() == [packet(60, to=BROADCAST), packet(61, to=BROADCAST)]


def test_pause_frames_are_not_for_the_host_and_count_as_no_good_packets(timed):
    timed.receive(pause(5))
    assert timed.take() == []
    assert timed.counts("GPRC", "MPRC", "PRC64", "TPR") == (0, 0, 0, 1)


@pytest.mark.parametrize(
    "frame",
    [pause(9, to=b"\x02\0\0\0\0\x99"), pause(9, ethertype=0x8809), pause(9)[:59]],
    ids=["another station", "another type", "a runt"],
)
def test_what_is_nearly_a_pause_frame_pauses_nothing(timed, frame):
    timed.receive(frame)
    assert not paused(timed)
    assert timed.counts("XOFFRXC", "XONRXC", "FCRUC") == (0, 0, 0)


def test_an_unknown_opcode_is_counted_and_nothing_else(timed):
    timed.receive(pause(9, opcode=2), pause(9, opcode=0x0101))
    assert not paused(timed)
    assert timed.counts("FCRUC", "XOFFRXC") == (2, 0)


def test_without_rfce_pause_frames_are_ignored(timed):
    set_up(timed, control=regs.CTRL_TFCE)
    timed.receive(pause(9))
    assert not paused(timed)


def test_without_rfce_after_the_eeprom_was_read_again_they_are_ignored_too(card):
    set_up(card, rctl=regs.RCTL_PMCF)
    card.write(regs.CTRL_EXT, regs.CTRL_EXT_EE_RST)
    assert not card.read(regs.CTRL) & regs.CTRL_RFCE
    card.receive(pause(100, to=BROADCAST))
    card.receive(pause(100))
    assert card.counts("XOFFRXC") == (0,)
    assert card.take() == [pause(100, to=BROADCAST)]


def test_in_half_duplex_there_is_no_pause(timed):
    Mdio(timed).write(BMCR, SPEED_LOW)
    timed.clock.advance(SECOND)
    timed.receive(pause(9))
    assert not paused(timed)


def test_the_frames_address_and_type_are_the_registers(timed):
    timed.write(regs.FCAL, 0x04030201)
    timed.write(regs.FCAH, 0x0605)
    timed.write(regs.FCT, 0x1234)
    timed.receive(pause(9))
    assert not paused(timed)
    timed.receive(pause(9, to=bytes(range(1, 7)), ethertype=0x1234))
    assert paused(timed)


def end_by_rfce(card):
    card.write(regs.CTRL, card.read(regs.CTRL) & ~regs.CTRL_RFCE)


def end_by_link(card):
    card.device.unplug()
    assert not paused(card)
    card.device.plug(card.wire)
    card.clock.advance(2 * SECOND)


@pytest.mark.parametrize("end", [end_by_rfce, end_by_link])
def test_a_pause_ends_with_what_brought_it(timed, end):
    timed.receive(pause(0xFFFF))
    timed.post_packets(packet(60))
    assert timed.wire.sent == []
    end(timed)
    assert not paused(timed)
    assert timed.wire.sent == [packet(60)]
    assert timed.clock.next_deadline is None


def test_a_reset_ends_a_pause_and_its_timer(timed):
    timed.receive(pause(0xFFFF))
    timed.write(regs.CTRL, regs.CTRL_RST)
    assert not paused(timed)
    assert timed.clock.next_deadline is None
    timed.tx_ring()
    timed.post_packets(packet(60))
    assert timed.wire.sent == [packet(60)]


def test_a_card_that_goes_away_while_paused_leaves_no_timer(timed):
    timed.receive(pause(0xFFFF))
    clock = timed.clock
    assert clock.next_deadline is not None
    timed.device.__init__(clock=clock)
    timed.device.unplug()
    assert clock.next_deadline is None or clock.next_deadline > clock.monotonic_ns() + SECOND


def test_without_a_clock_a_pause_is_over_as_it_begins(card):
    set_up(card)
    card.receive(pause(0xFFFF))
    assert not paused(card)
    card.post_packets(packet(60))
    assert card.wire.sent == [packet(60)]
    assert card.counts("XOFFRXC") == (1,)


def test_a_burst_being_sent_stops_at_the_pause_that_it_provokes(undo):
    """The other end answers the first packets with XOFF before the card has sent the rest."""

    class Answering(RecordingWire):
        def transmit_burst(self, burst):
            super().transmit_burst(burst)
            card.receive(pause(10))

    clock = VirtualClock()
    card = BareCard(undo, wire=Answering(), clock=clock)
    clock.advance(2 * SECOND)
    set_up(card)
    card.tx_ring(256)
    card.post_packets(*(packet(60, seed=i) for i in range(200)))
    assert 0 < len(card.wire.sent) < 200
    for _ in range(10):
        clock.advance(10 * 512)
    assert card.wire.sent == [packet(60, seed=i) for i in range(200)]


def test_a_device_thread_goes_on_after_a_pause(timed):
    timed.receive(pause(100))
    with DeviceThread([timed.device]):
        timed.post_packets(packet(60))
        timed.clock.advance(SECOND)
        while timed.read(regs.TDH) != 1:
            pass
    assert timed.wire.sent == [packet(60)]


# --- pause frames that are sent ---


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
