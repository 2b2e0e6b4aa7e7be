"""Flow control: pause frames that arrive hold the transmitter."""

import pytest
from cards import BROADCAST, STATION, BareCard, RecordingWire, context, packet, pieces
from flow_control import GROUP, pause, paused, set_up, timed_card
from mdio import BMCR, FULL_DUPLEX, SECOND, SPEED_LOW, Mdio

from e1000 import regs
from e1000.device import DeviceThread
from fastring.burst import Burst
from fastring.clock import VirtualClock


@pytest.fixture
def timed(undo):
    return timed_card(undo)


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
