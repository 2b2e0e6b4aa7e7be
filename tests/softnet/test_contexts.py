"""Calls from where they must not come: a sink, a wire's callback, a line that stays up. Each is refused at once, and nothing breaks."""

import errno
from contextlib import ExitStack

import pytest

from e1000 import regs
from e1000.bus import HostMemory, LocalBus
from e1000.device import DeviceThread, E1000Device
from e1000.driver import probe
from fastring.burst import Burst, BurstSink, RepeatSource
from fastring.clock import VirtualClock
from fastring.wire import PairEnd, Wire, pair
from softnet import Stack

FRAME = b"\xff" * 6 + bytes(54)


def frames(count):
    return Burst.from_packets([FRAME] * count)


class Cards:
    """Two open devices on a cable, or one on `wire`."""

    def __init__(self, undo, wire=None):
        self.stack = undo.enter_context(Stack(clock=VirtualClock()))
        self.memory = HostMemory()
        self.cards = [E1000Device(wire=end) for end in (pair() if wire is None else (wire,))]
        self.buses = [LocalBus(card, memory=self.memory) for card in self.cards]
        self.devices = [probe(bus, self.stack) for bus in self.buses]
        for device in self.devices:
            device.promiscuous = True
            device.register()
            device.open()


@pytest.fixture
def undo():
    with ExitStack() as stack:
        yield stack


class Calling(BurstSink):
    def __init__(self, call):
        self.call, self.packets, self.refused = call, 0, None

    def on_burst(self, burst):
        self.packets += len(burst)
        try:
            self.call()
        except OSError as error:
            self.refused = error.errno


class CallingWire(Wire):
    def __init__(self, call=None):
        self.call, self.packets, self.kept, self.refused = call, 0, None, None

    def transmit_burst(self, burst):
        self.packets += len(burst)
        self.kept = burst
        if self.call is not None:
            try:
                self.call()
            except OSError as error:
                self.refused = error.errno


@pytest.mark.breaks_rules(14)  # unregister_netdev takes rtnl first
@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("operation", ["stop", "unregister"])
def test_a_sink_cannot_stop_a_device_of_the_softirq_it_runs_in(undo, which, operation):
    cards = Cards(undo)
    near, far = cards.devices
    far.sink = sink = Calling(lambda: getattr(cards.devices[which], operation)())
    far.stop()
    far.open()
    near.xmit(frames(10))
    cards.stack.run()
    assert (sink.refused, sink.packets) == (errno.EDEADLK, 10)
    assert near.up
    assert far.up
    near.xmit(frames(5))
    cards.stack.run()
    assert sink.packets == 15


def test_a_device_cannot_transmit_from_inside_its_own_transmission(undo):
    wire = CallingWire()
    cards = Cards(undo, wire)
    (device,) = cards.devices
    wire.call = lambda: device.xmit(frames(1))
    assert device.xmit(frames(3)) == 3
    assert (wire.packets, wire.refused) == (3, errno.EDEADLK)


def test_a_burst_that_a_wire_keeps_is_empty_afterwards(undo):
    wire = CallingWire()
    cards = Cards(undo, wire)
    cards.devices[0].xmit(frames(3))
    assert (wire.packets, len(wire.kept), wire.kept.lengths) == (3, 0, [])


@pytest.mark.parametrize("how", ["reset", "close"])
def test_a_wire_may_take_the_ring_away_under_the_engine(undo, how):
    wire = CallingWire()
    cards = Cards(undo, wire)
    (device,), (bus,), (card,) = cards.devices, cards.buses, cards.cards

    def close():
        device.stop()
        bus.close()
        cards.memory.close()

    wire.call = close if how == "close" else lambda: card.write(regs.CTRL, regs.CTRL_RST)
    device.xmit(frames(200))
    assert 0 < wire.packets <= 200
    assert wire.refused is None
    assert device.up == (how == "reset")


def test_memory_with_an_open_device_on_it_is_not_closed(undo):
    cards = Cards(undo)
    with pytest.raises(OSError, match="stop it first") as error:
        cards.memory.close()
    assert error.value.errno == errno.EBUSY
    assert cards.devices[0].xmit(frames(5)) == 5
    cards.stack.close()
    cards.memory.close()
    cards.memory.close()


def test_a_card_taken_off_its_bus_lets_the_line_down(undo):
    cards = Cards(undo)
    cards.cards[0].write(regs.ICS, regs.ICR_TXDW)
    cards.buses[0].close()
    assert cards.stack.run() < 10


def test_a_line_that_no_handler_quiets_is_shut_off(undo):
    cards = Cards(undo)
    line = cards.buses[0].irq
    line.free_irq()
    line.request_irq(lambda: None)
    line.raise_irq()
    with pytest.raises(OSError, match="nobody cared"):
        cards.stack.run()
    assert line.nobody_cared
    assert cards.stack.run() == 0
    line.lower_irq()
    line.free_irq()
    line.request_irq(line.lower_irq)
    line.raise_irq()
    assert cards.stack.run() == 1


def test_a_sender_whose_device_was_stopped_says_so_at_once(undo):
    cards = Cards(undo)
    sender = cards.devices[0].transmitter()
    cards.devices[0].stop()
    for send in (lambda: sender.send(frames(2)), lambda: sender.play(RepeatSource(frames(2), packets=2))):
        with pytest.raises(OSError, match="takes no packets") as error:
            send()
        assert error.value.errno == errno.ENETDOWN


def test_a_device_that_cannot_open_is_not_left_registered():
    stack = Stack(clock=VirtualClock())
    device = probe(LocalBus(E1000Device(), memory=HostMemory(size=1 << 16)), stack)
    with pytest.raises(OSError, match="no free"), device:
        pass
    assert (device.registered, stack.devices) == (False, {})


def test_frames_without_a_card_at_the_other_end_are_counted_and_without_a_cable_wait(undo):
    cards = Cards(undo)
    near, far_end = cards.devices[0], cards.cards[1].wire
    cards.cards[1].unplug()
    near.xmit(frames(5))
    assert far_end.lost == 5
    near_end = cards.cards[0].wire
    cards.cards[0].unplug()
    near.xmit(frames(2))
    assert far_end.lost == 5
    cards.cards[0].plug(near_end)
    assert far_end.lost == 7


def test_what_a_failing_wire_loses_is_counted(undo):
    class Failing(Wire):
        def transmit_burst(self, burst):
            raise RuntimeError("no")

    wire = Failing()
    cards = Cards(undo, wire)
    cards.devices[0].xmit(frames(7))
    assert (wire.lost, str(wire.error)) == (7, "no")


def test_an_end_that_pair_did_not_make_loses_what_it_is_given(undo):
    wire = PairEnd()
    cards = Cards(undo, wire)
    cards.devices[0].xmit(frames(4))
    assert wire.lost == 4


def test_a_wire_in_python_may_read_its_cards_registers_under_a_device_thread(undo):
    wire = CallingWire()
    cards = Cards(undo, wire)
    wire.call = lambda: cards.cards[0].read(regs.STATUS)
    with DeviceThread(cards.cards):
        cards.devices[0].xmit(frames(100))
        while wire.packets < 100:
            cards.stack.run()
    assert wire.refused is None


def test_a_cable_may_be_pulled_under_a_device_thread(undo):
    cards = Cards(undo, CallingWire())
    (card,), (device,) = cards.cards, cards.devices
    with DeviceThread(cards.cards):
        for _ in range(300):
            card.unplug()
            card.plug(CallingWire())
            device.xmit(frames(20))
            cards.stack.run()


def test_a_repeated_burst_may_be_cleared(undo):
    cards = Cards(undo)
    burst = frames(3)
    source = RepeatSource(burst, packets=100)
    burst.clear()
    sender = cards.devices[0].transmitter()
    while sender.play(source):
        pass
    assert sender.packets == 100


@pytest.mark.parametrize("says", [0, 1, 100000])
def test_a_burst_believes_no_length_but_its_own(says):
    class Lying(list):
        def __len__(self):
            return says

    burst = Burst.from_mapped(bytes(100), iova=0, offsets=Lying([0] * 1000), lengths=Lying([1] * 1000))
    assert len(burst) == 1000
