"""Transmitter: bursts through a driver's queue, with flow control, whole packets, and every packet accounted for."""

import errno
import struct

import pytest
from sinks import RecordingSink

from e1000 import regs
from e1000.bus import LocalBus
from e1000.device import E1000Device
from e1000.driver import probe
from fastring.burst import Burst, BurstSource, RepeatSource
from fastring.capture import Capture, CaptureError
from fastring.clock import MonotonicClock, VirtualClock
from fastring.irq import IrqLine
from fastring.transmitter import Transmitter
from fastring.txq import TxQueue, XmitTarget
from fastring.wire import NullWire, pair
from softnet.stack import Stack

FAR_MAC = "52:54:00:00:00:02"


def packets(count, size=60):
    return [i.to_bytes(4, "big") * (size // 4) for i in range(count)]


def play_out(sender, source):
    while sender.play(source):
        pass


class Link:
    """A sending and a receiving device on one cable."""

    def __init__(self, stack, **options):
        self.stack = stack
        wires = pair()
        self.cards = [E1000Device(wire=wire) for wire in wires]
        self.near, self.far = (probe(LocalBus(card), stack, **options) for card in self.cards)
        self.far.promiscuous = True
        self.sink = self.far.sink = RecordingSink()
        for device in (self.near, self.far):
            device.register()
            device.open()

    def hold(self):
        """The far card keeps its descriptors: the cable takes nothing until `let_go`."""
        self.tail = self.cards[1].read(regs.RDT)
        self.cards[1].write(regs.RDT, self.cards[1].read(regs.RDH))

    def let_go(self):
        self.cards[1].write(regs.RDT, self.tail)


@pytest.fixture
def link():
    with Stack(clock=VirtualClock()) as stack:
        yield Link(stack, bql=False, tx_descriptors=80)


# --- send ---


@pytest.mark.parametrize("count", [1, 30, 500])
def test_send_gives_every_packet_to_the_driver_and_says_how_many(link, count):
    sender = link.near.transmitter()
    assert sender.send(Burst.from_packets(packets(count))) == count
    link.stack.run()
    assert link.sink.packets == packets(count)
    assert (sender.packets, sender.bytes, sender.oversize) == (count, 60 * count, 0)


def test_sending_an_empty_burst_sends_nothing(link):
    assert link.near.transmitter().send(Burst(4)) == 0


@pytest.mark.parametrize("where", [[0], [5], [29], [0, 1, 2], list(range(30)), [3, 9, 29]])
def test_packets_too_long_for_the_mtu_are_dropped_and_counted_and_the_others_sent(link, where):
    mixed = [b"x" * 1519 if i in where else p for i, p in enumerate(packets(30))]
    sender = link.near.transmitter()
    assert sender.send(Burst.from_packets(mixed)) == 30 - len(where)
    link.stack.run()
    assert link.sink.packets == [p for i, p in enumerate(packets(30)) if i not in where]
    assert (sender.packets, sender.oversize) == (30 - len(where), len(where))


@pytest.mark.parametrize(("length", "passes"), [(1518, True), (1519, False)])
def test_the_longest_packet_is_mtu_and_header_and_one_vlan_tag(link, length, passes):
    sender = link.near.transmitter()
    assert sender.send(Burst.from_packets([b"\2" * 12 + b"\x81\0" + bytes(length - 14)])) == passes
    link.stack.run()
    assert [len(p) for p in link.sink.packets] == [length] * passes


def test_when_nothing_moves_it_times_out_and_says_how_far_it_got(link):
    link.hold()
    sender = link.near.transmitter()
    with pytest.raises(TimeoutError, match=r"no progress for 0.02 s: <TxQueue: DRV_XOFF"):
        sender.send(Burst.from_packets(packets(200)), patience=0.02)
    assert 0 < sender.packets < 80
    link.let_go()
    link.stack.run()
    assert link.sink.packets == packets(200)[: sender.packets]


@pytest.mark.parametrize("how", ["send", "play"])
def test_what_a_handler_raises_while_nothing_moves_is_raised_at_once_and_nothing_is_lost(link, how):
    def handler():
        line.lower_irq()
        raise OSError(errno.EIO, "the other card is on fire")

    line = IrqLine()
    line.request_irq(handler)
    link.stack.softirq.add_irq(line)
    link.hold()
    sender, source = link.near.transmitter(), RepeatSource(Burst.from_packets(packets(100)), packets=300)
    line.raise_irq()
    with pytest.raises(OSError, match="on fire"):
        sender.play(source) if how == "play" else sender.send(Burst.from_packets(packets(200)))
    link.let_go()
    if how == "play":
        play_out(sender, source)
        assert sender.packets == 300
    link.stack.run()
    assert len(link.sink.packets) == sender.packets


def test_while_the_queue_is_stopped_the_softirq_runs_and_completions_wake_it(link):
    sender = link.near.transmitter()
    assert sender.send(Burst.from_packets(packets(1000))) == 1000
    assert link.near.txq.stops > 0
    assert link.near.txq.wakes == link.near.txq.stops
    assert link.near.txq.requeues == 0


@pytest.mark.breaks_rules(3)  # the test starts it
def test_a_busy_driver_is_counted_as_a_requeue_and_the_packet_is_kept(link):
    link.hold()
    sender = link.near.transmitter()
    with pytest.raises(TimeoutError):
        sender.send(Burst.from_packets(packets(200)), patience=0.01)
    before = sender.packets
    link.near.txq.start()
    with pytest.raises(TimeoutError):
        sender.send(Burst.from_packets(packets(200)[before:]), patience=0.01)
    assert sender.packets == before
    assert link.near.txq.requeues > 0


# --- play ---


@pytest.mark.parametrize("burst_size", [1, 7, 128])
@pytest.mark.parametrize("rounds", [1, 3, 1000])
def test_play_sends_a_source_to_its_end(link, burst_size, rounds):
    source = RepeatSource(Burst.from_packets(packets(10)), packets=500)
    sender = link.near.transmitter(burst_size=burst_size)
    calls = 1
    while sender.play(source, rounds=rounds):
        calls += 1
    link.stack.run()
    assert link.sink.packets == packets(10) * 50
    assert calls >= 500 // burst_size // rounds
    assert sender.packets == 500


def test_play_stops_after_so_many_bursts_and_goes_on_where_it_was(link):
    source = RepeatSource(Burst.from_packets(packets(10)), packets=100)
    sender = link.near.transmitter(burst_size=10)
    assert sender.play(source, rounds=3) is True
    assert sender.packets <= 30
    assert 100 - source.left == 30
    assert sender.play(source, rounds=100) is False
    link.stack.run()
    assert link.sink.packets == packets(10) * 10


def test_play_keeps_what_a_full_queue_left_over(link):
    link.hold()
    source = RepeatSource(Burst.from_packets(packets(100)), packets=300)
    sender = link.near.transmitter()
    with pytest.raises(TimeoutError, match=r"no progress for 0.02 s"):
        sender.play(source, patience=0.02)
    link.let_go()
    play_out(sender, source)
    link.stack.run()
    assert link.sink.packets == packets(100) * 3
    assert sender.packets == 300


def test_play_drops_what_is_too_long(link):
    burst = Burst.from_packets([b"x" * 2000, *packets(3), b"y" * 2000])
    sender = link.near.transmitter(burst_size=4)
    play_out(sender, RepeatSource(burst, packets=50))
    link.stack.run()
    assert link.sink.packets == packets(3) * 10
    assert (sender.packets, sender.oversize) == (30, 20)


def test_an_empty_source_ends_at_once(link):
    assert link.near.transmitter().play(BurstSource()) is False


def test_what_a_source_fails_with_is_raised_after_the_packets_before_it(link, tmp_path):
    path = tmp_path / "damaged.pcap"
    header = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)
    records = [struct.pack("<IIII", 0, 0, 60, 60) + p for p in packets(5)]
    path.write_bytes(header + b"".join(records) + struct.pack("<IIII", 0, 0, 1 << 30, 1 << 30) + bytes(5000))
    sender = link.near.transmitter()
    with Capture(path) as capture:
        cursor = capture.cursor()
        with pytest.raises(CaptureError):
            play_out(sender, cursor)
    link.stack.run()
    assert link.sink.packets == packets(5)


def test_a_captures_frames_are_sent_where_they_lie_when_they_are_mapped(link, tmp_path):
    path = tmp_path / "in.pcap"
    header = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)
    path.write_bytes(header + b"".join(struct.pack("<IIII", 0, 0, 60, 60) + p for p in packets(50)))
    sender = link.near.transmitter()
    with Capture(path) as capture:
        cursor = capture.cursor()
        cursor.dma_base = link.near.netdev_ops.bus.memory.map(capture)
        play_out(sender, cursor)
        link.stack.run()
        link.near.netdev_ops.bus.memory.unmap(cursor.dma_base)
        assert link.near.netdev_ops.tx.bounced == 0
    assert link.sink.packets == packets(50)


# --- on a virtual clock ---


def test_a_replay_sends_each_packet_at_its_own_time_and_polls_before_the_next(link):
    times = [10**18 + n for n in (0, 5, 5, 1000, 10**9)]
    sender = link.near.transmitter(replays=True)
    sender.send(Burst.from_packets(packets(5), times=times))
    link.stack.run()
    assert link.sink.packets == packets(5)
    assert link.sink.times == times
    assert link.sink.sizes == [1] * 5


def test_timers_on_the_way_of_a_replay_fire_at_their_own_time(link):
    fired = []
    for when in (0, 100, 150, 5000):
        link.stack.clock.call_at(when, lambda: fired.append(link.stack.clock.monotonic_ns()))
    link.near.transmitter(replays=True).send(Burst.from_packets(packets(2), times=[100, 200]))
    assert fired == [0, 100, 150]


def test_time_stamps_that_go_back_set_the_wall_clock_alone(link):
    link.near.transmitter(replays=True).send(Burst.from_packets(packets(3), times=[1000, 400, 600]))
    link.stack.run()
    assert link.sink.times == [1000, 400, 600]
    assert link.stack.clock.monotonic_ns() == 1200


def test_without_replays_a_virtual_clock_stands_still(link):
    link.near.transmitter().send(Burst.from_packets(packets(3), times=[1000, 2000, 3000]))
    link.stack.run()
    assert link.stack.clock.time_ns() == 0
    assert link.sink.times == [0] * 3


def test_on_a_real_clock_replays_means_as_fast_as_the_ring_takes():
    with Stack(clock=MonotonicClock()) as stack, LocalBus(E1000Device(wire=NullWire())) as bus, probe(bus, stack) as device:
        sender = device.transmitter(replays=True)
        assert sender.send(Burst.from_packets(packets(3), times=[0, 10**18, 0])) == 3


# --- construction ---


def test_a_transmitter_of_a_device_that_is_down_is_refused(link):
    link.near.stop()
    with pytest.raises(OSError, match="is down"):
        link.near.transmitter()


@pytest.mark.parametrize("missing", range(4))
def test_it_needs_all_its_parts(missing):
    stack = Stack(clock=VirtualClock())
    parts = [XmitTarget(), TxQueue(), stack.softirq, stack.clock]
    parts[missing] = None
    with pytest.raises(TypeError):
        Transmitter(*parts, max_frame=1518)


@pytest.mark.parametrize("burst_size", [0, -1, 1 << 21])
def test_a_burst_size_that_cannot_be_is_refused(link, burst_size):
    with pytest.raises((ValueError, OverflowError)):
        link.near.transmitter(burst_size=burst_size)


def test_a_target_that_takes_nothing_is_a_timeout():
    stack = Stack(clock=VirtualClock())
    sender = Transmitter(XmitTarget(), TxQueue(), stack.softirq, stack.clock, max_frame=1518)
    with pytest.raises(TimeoutError):
        sender.send(Burst.from_packets(packets(1)), patience=0.01)
    assert sender.packets == 0


def test_repr_says_what_was_sent(link):
    sender = link.near.transmitter()
    sender.send(Burst.from_packets([*packets(2), b"x" * 3000]))
    assert repr(sender) == "<Transmitter: 2 packets, 120 bytes sent, 1 too long>"
