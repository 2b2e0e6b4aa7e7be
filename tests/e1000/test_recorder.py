"""A recorder's sink may do anything: fail, use the card, end the recording, take the card away."""

import pytest
from cards import BareCard, RecordingWire, legacy, packet

from e1000 import regs
from e1000.device.recorder import Recorder
from e1000.trace import Trace


def test_a_sink_that_fails_or_touches_the_card_loses_events_and_counts_them(card):
    taken = []

    def sink(records):
        card.read(regs.STATUS)
        taken.append(len(records) // 40)
        if len(taken) == 3:
            raise RuntimeError("full")

    recorder = Recorder(sink, capacity=2)
    card.device.record(recorder)
    for _ in range(20):
        card.read(regs.VET)
    card.device.record(None)
    assert isinstance(recorder.error, RuntimeError)
    assert recorder.lost > 0
    assert recorder.recorded + recorder.lost == 20 + len(taken)


@pytest.mark.parametrize("ends", ["wire", "sink"])
def test_a_wire_or_a_sink_may_end_the_recording_from_within(make_card, ends):
    """The engine is in the middle of a register access then, and nobody else holds the recorder."""
    recorders = []

    def stop():
        if recorders:
            recorders.clear()
            card.device.record(None)

    class EndingWire(RecordingWire):
        def transmit_burst(self, burst):
            super().transmit_burst(burst)
            if ends == "wire":
                stop()

    card = make_card(wire=EndingWire())
    card.tx_ring()
    recorders.append(Recorder(lambda records: stop() if ends == "sink" else None, capacity=4))
    card.device.record(recorders[0])
    card.post_packets(packet(60), packet(70))
    assert recorders == []
    assert card.wire.sent == [packet(60), packet(70)]
    with Trace(card.device) as trace:
        card.read(regs.STATUS)
    assert len(trace.events) == 1


USES = {
    "reset": lambda card: card.write(regs.CTRL, regs.CTRL_RST),
    "sleep": lambda card: (card.device.config_write(0xE0, 3, 2), card.device.config_write(0xE0, 0, 2)),
    "shrink": lambda card: card.write(regs.PBA, 8),
    "restore": lambda card: card.device.restore(card.device.snapshot()),
    "move": lambda card: (card.write(regs.RDLEN, 128), card.write(regs.TDBAL, 0)),
    "unplug": lambda card: card.device.close(),
    "pull": lambda card: (card.bus.close(), card.memory.close()),
}


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("calls", [1, 2, 3, 5])
def test_a_sink_may_do_anything_to_the_card(undo, use, calls):
    card = BareCard(undo)
    left = [calls]

    def sink(records):
        left[0] -= 1
        if left[0] == 0:
            USES[use](card)

    card.rx_ring(16, give=0)
    card.receive(*(packet(300, seed=i) for i in range(5)))
    card.tx_ring()
    buffers = [card.alloc(200) for _ in range(8)]
    given = card.put(*(legacy(buffer, 200) for buffer in buffers))
    recorder = Recorder(sink, capacity=1)
    card.device.record(recorder)
    card.write(regs.RDT, 15)
    if card.device.wire is not None:
        card.receive(packet(4000), packet(200))
    card.write(regs.TDT, len(given))
    while left[0] > 0:
        card.read(regs.STATUS)
    card.device.record(None)
    assert recorder.error is None
    assert recorder.lost == 0


def test_a_sink_that_uses_the_card_each_time_ends(card):
    recorder = Recorder(lambda records: card.read(regs.STATUS), capacity=1)
    card.device.record(recorder)
    for _ in range(10):
        card.read(regs.CTRL)
    card.device.record(None)
    assert recorder.lost == 0
