"""Wires: what a card sends goes where the wire leads, whole, in order, counted."""

import gc
import struct
import weakref

import pytest
from sinks import RecordingSink

from e1000 import regs
from e1000.bus import HostMemory, LocalBus
from e1000.device import E1000Device
from e1000.driver import probe
from fastring.burst import Burst, BurstSink, CountingSink
from fastring.capture import Capture
from fastring.capture_writer import CaptureWriter
from fastring.clock import VirtualClock
from fastring.wire import NullWire, PairEnd, SinkWire, Wire, pair
from softnet.stack import Stack

EOP = 1 << 24
PACKETS = [bytes([i]) * (60 + 13 * i) for i in range(100)]


class Sender:
    """A card whose ring takes packets in pieces, straight from the test."""

    def __init__(self, wire):
        self.memory = HostMemory(size=1 << 22)
        self.card = E1000Device(wire=wire)
        self.bus = LocalBus(self.card, memory=self.memory)
        self.ring = self.memory.alloc_coherent(16 * 256)
        self.card.write(regs.TDBAL, self.ring)
        self.card.write(regs.TDLEN, 16 * 256)
        self.card.write(regs.TCTL, regs.TCTL_EN | regs.TCTL_PSP)
        self.tail = 0

    def send(self, *packets, ring_bell=True):
        """Each packet: bytes, or a list of pieces."""
        for packet in packets:
            pieces = [packet] if isinstance(packet, bytes) else packet
            for i, piece in enumerate(pieces):
                address = self.memory.alloc_coherent(len(piece), align=16)
                self.memory.addresses.write(address, piece)
                descriptor = struct.pack("<QQ", address, len(piece) | (EOP if i == len(pieces) - 1 else 0))
                self.memory.addresses.write(self.ring + 16 * self.tail, descriptor)
                self.tail = (self.tail + 1) % 256
        if ring_bell:
            self.card.write(regs.TDT, self.tail)


def device_on(stack, wire, **options):
    device = probe(LocalBus(E1000Device(wire=wire)), stack, **options)
    device.promiscuous = True
    device.register()
    return device


# --- a wire in Python ---


def test_a_python_wire_gets_every_burst_of_the_card():
    class Recording(Wire):
        def __init__(self):
            self.sent = []

        def transmit_burst(self, burst):
            self.sent += list(burst)

    wire = Recording()
    Sender(wire).send(*PACKETS)
    assert wire.sent == PACKETS
    assert wire.error is None


def test_what_a_python_wire_raises_is_kept_and_the_card_goes_on():
    class Broken(Wire):
        calls = 0

        def transmit_burst(self, burst):
            self.calls += 1
            raise KeyError("broken")

    wire = Broken()
    sender = Sender(wire)
    sender.send(PACKETS[0])
    assert isinstance(wire.error, KeyError)
    sender.send(PACKETS[1])
    assert wire.calls == 2
    assert sender.card.read(regs.TDH) == 2


def test_a_wire_that_overrides_nothing_says_so():
    wire = Wire()
    Sender(wire).send(PACKETS[0])
    assert isinstance(wire.error, NotImplementedError)
    assert "transmit_burst" in str(wire.error)


@pytest.mark.parametrize("pieces", [1, 2, 18])
def test_a_burst_a_wire_is_given_can_be_sent_on_by_another_device(pieces):
    class Bridge(Wire):
        def transmit_burst(self, burst):
            near.xmit(burst)

    ends = pair()
    with Stack(clock=VirtualClock()) as stack:
        near, far = device_on(stack, ends[0]), device_on(stack, ends[1])
        far.sink = RecordingSink()
        near.open()
        far.open()
        bridge = Bridge()
        content = bytes(range(250)) * 4
        size = len(content) // pieces
        cut = [content[i * size : (i + 1) * size if i < pieces - 1 else None] for i in range(pieces)]
        Sender(bridge).send(cut, cut)
        stack.run()
        assert bridge.error is None
        assert far.sink.packets == [content, content]
        assert near.netdev_ops.tx.bounced == 2 * pieces


def test_a_burst_a_wire_is_given_has_no_times_and_no_buffers():
    class Looking(Wire):
        def transmit_burst(self, burst):
            self.seen = (burst.times, burst.pool, burst.lengths)

    wire = Looking()
    Sender(wire).send(*PACKETS[:3], [PACKETS[9][:50], PACKETS[9][50:]])
    assert wire.seen[0] == [0] * len(wire.seen[2])
    assert wire.seen[1] is None


# --- attaching, injecting ---


def test_injected_packets_arrive_at_the_attached_card():
    wire = NullWire()
    card = E1000Device(wire=wire)
    wire.inject(Burst.from_packets([PACKETS[0]] * 3))
    assert card.drops["rx_disabled"] == 3


@pytest.mark.parametrize("make", [Wire, NullWire, PairEnd])
def test_injecting_without_a_card_is_refused(make):
    with pytest.raises(OSError, match="no card is attached"):
        make().inject(Burst.from_packets([b"x"]))


def test_a_wire_lets_go_of_its_card():
    wire = NullWire()
    card = E1000Device(wire=wire)
    with pytest.raises(OSError, match="has a card attached already"):
        E1000Device(wire=wire)
    card.close()
    with pytest.raises(OSError, match="no card is attached"):
        wire.inject(Burst.from_packets([b"x"]))
    E1000Device(wire=wire)


def test_cards_on_a_forgotten_cable_are_collected():
    class Marked(E1000Device):
        pass

    ends = pair()
    cards = [Marked(wire=end) for end in ends]
    refs = [weakref.ref(card) for card in cards]
    del cards, ends
    gc.collect()
    assert [ref() for ref in refs] == [None, None]


def test_repr_and_with_work_on_every_wire():
    for wire in (NullWire(), *pair(), SinkWire(CountingSink(), clock=VirtualClock())):
        with wire as same:
            assert same is wire
        assert "no card" in repr(wire)
        card = E1000Device(wire=wire)
        assert "card attached" in repr(wire)
        card.close()


# --- NullWire ---


def test_a_null_wire_counts_packets_and_bytes():
    wire = NullWire()
    Sender(wire).send(*PACKETS, [b"a" * 40, b"b" * 40], b"short")
    assert (wire.packets, wire.bytes) == (102, sum(map(len, PACKETS)) + 80 + 60)
    assert wire.capabilities() == {"mtu": None, "lossless": False}


# --- pair ---


@pytest.mark.parametrize("lossless", [True, False])
def test_the_two_ends_of_a_pair_lead_to_each_other(lossless):
    ends = pair(lossless=lossless)
    assert [end.lossless for end in ends] == [lossless] * 2
    assert ends[0].capabilities() == {"mtu": None, "lossless": lossless}
    with Stack(clock=VirtualClock()) as stack:
        devices = [device_on(stack, end, bql=False) for end in ends]
        for device in devices:
            device.sink = RecordingSink()
            device.open()
        devices[0].xmit(Burst.from_packets(PACKETS))
        devices[1].xmit(Burst.from_packets(PACKETS[:10]))
        stack.run()
        assert devices[1].sink.packets == PACKETS
        assert devices[0].sink.packets == PACKETS[:10]


@pytest.mark.parametrize("lossless", [True, False])
def test_sending_to_an_end_without_a_card_loses_the_packets_and_holds_nobody_up(lossless):
    sender = Sender(pair(lossless=lossless)[0])
    sender.send(*PACKETS)
    assert sender.card.read(regs.TDH) == 100


def test_an_end_that_is_unplugged_while_its_peer_waits_holds_nobody_up():
    ends = pair()
    sender, receiver = Sender(ends[0]), Sender(ends[1])
    receiver.card.write(regs.RCTL, regs.RCTL_EN | regs.RCTL_UPE)
    sender.send(PACKETS[2])
    assert sender.card.read(regs.TDH) == 0
    receiver.card.unplug()
    sender.send(PACKETS[4])
    assert sender.card.read(regs.TDH) == 2


# --- SinkWire ---


def test_a_sink_wire_hands_over_every_packet_whole_with_the_clocks_time():
    clock = VirtualClock(realtime=10**18 + 5)
    sink = RecordingSink()
    wire = SinkWire(sink, clock=clock)
    assert wire.sink is sink
    sender = Sender(wire)
    sender.send(*PACKETS[:50], [PACKETS[50][:30], PACKETS[50][30:]])
    clock.advance(1000)
    sender.send(*PACKETS[51:])
    assert sink.packets == PACKETS
    assert sink.times == [10**18 + 5] * 51 + [10**18 + 1005] * 49
    assert wire.failures == 0


def test_packets_in_many_pieces_stay_whole_in_a_sink_wire():
    sink = RecordingSink()
    sender = Sender(SinkWire(sink, clock=VirtualClock()))
    packets = [[bytes([i]) * 20] * (1 + i % 9) + [b"end" * 20] for i in range(40)]
    for packet in packets:
        sender.send(packet, ring_bell=False)
    sender.card.write(regs.TDT, sender.tail)
    assert sink.packets == [b"".join(packet) for packet in packets]


def test_a_capture_written_through_a_wire_has_the_lengths_the_packets_had(tmp_path):
    path = tmp_path / "out.pcap"
    with SinkWire(CaptureWriter(path), clock=VirtualClock(realtime=7 * 10**9)) as wire:
        sender = Sender(wire)
        for i in range(0, 100, 3):
            sender.send([PACKETS[i][:14], PACKETS[i][14:]], *PACKETS[i + 1 : i + 3])
    with Capture(path) as capture:
        index = capture.index()
        assert index["wirelen"].tolist() == index["caplen"].tolist() == [len(p) for p in PACKETS]
        assert set(index["time"].tolist()) == {7 * 10**9}
        assert [packet for _, packet in capture.cursor()] == PACKETS


def test_bursts_the_sink_refuses_are_counted_and_the_next_is_tried():
    class Broken(BurstSink):
        calls = 0

        def on_burst(self, burst):
            self.calls += 1
            if self.calls < 3:
                raise OSError("full")

    sink = Broken()
    wire = SinkWire(sink, clock=VirtualClock())
    sender = Sender(wire)
    for packet in PACKETS[:5]:
        sender.send(packet)
    assert (sink.calls, wire.failures) == (5, 2)
    assert str(sink.error) == "full"
