"""Traces: what happens on a card, as events, to JSON lines and to Perfetto's format."""

import io
import json
import struct

import pytest
from cards import BROADCAST, DEXT, EOP, IFCS, MAC, RS, BareCard, RecordingWire, context, data, legacy, packet

from e1000 import regs
from e1000.bus import HostMemory, LocalBus
from e1000.device import DeviceThread, E1000Device
from e1000.device.recorder import Recorder
from e1000.fields import decode
from e1000.trace import Reader, Trace, TraceError
from e1000.trace_events import CATEGORIES, describe
from fastring.clock import VirtualClock


def told(trace, *names):
    """The named values of each event."""
    trace.flush()
    return [tuple(event.get(name) for name in names) for event in trace.events]


@pytest.fixture
def trace(card):
    """A trace of `card`, kept in memory."""
    with Trace(card.device) as trace:
        yield trace


def test_register_accesses_have_offset_name_size_and_value(card, trace):
    card.write(regs.VET, 0x8100)
    card.read(regs.VET)
    card.write(regs.VET + 1, 0x91, 1)
    card.read(regs.VET, 2)
    assert told(trace, "cat", "event", "offset", "register", "size", "value") == [
        ("mmio", "write", 0x38, "VET", 4, 0x8100),
        ("mmio", "read", 0x38, "VET", 4, 0x8100),
        ("mmio", "write", 0x39, "VET", 1, 0x91),
        ("mmio", "read", 0x38, "VET", 2, 0x9100),
    ]


def test_io_and_configuration_space_are_told_apart(card, trace):
    card.device.io_write(0, regs.VET)
    card.device.io_write(4, 7)
    card.device.io_read(4)
    card.device.config_read(0, 2)
    card.device.config_write(0x3C, 11, 1)
    assert told(trace, "cat", "event", "offset", "register", "size", "value") == [
        ("io", "write", 0, "IOADDR", 4, regs.VET),
        ("io", "write", 4, "VET", 4, 7),
        ("io", "read", 4, "VET", 4, 7),
        ("config", "read", 0, None, 2, 0x8086),
        ("config", "write", 0x3C, None, 1, 11),
    ]


def test_a_packet_sent_is_fetched_read_sent_and_written_back(card, trace):
    card.tx_ring()
    card.write(regs.IMS, regs.ICR_TXDW)
    trace.flush()
    trace.events.clear()
    content = packet(100)
    card.post_packets(content)
    assert told(trace, "cat", "event") == [
        ("mmio", "write"), ("desc", "fetch"), ("dma", "read"), ("frame", "sent"), ("desc", "write-back"), ("irq", "up"),
    ]  # fmt: skip
    write, fetch, read, sent, back, line = trace.events
    assert (write["register"], write["value"]) == ("TDT", 1)
    assert (fetch["ring"], fetch["index"], fetch["address"]) == ("tx", 0, read["address"])
    assert read["length"] == sent["length"] == 100
    assert sent["head"] == content[:16].hex()
    assert int(back["word"], 16) == int(fetch["word"], 16) | 1 << 32
    assert line["icr"] & (regs.ICR_TXDW | regs.ICR_TXQE) == regs.ICR_TXDW | regs.ICR_TXQE
    assert line["ims"] == regs.ICR_TXDW


def test_a_packet_received_arrives_is_written_and_raises_the_line_until_icr_is_read(card, trace):
    card.rx_ring(8)
    card.write(regs.IMS, regs.ICR_RXT0)
    trace.flush()
    trace.events.clear()
    card.receive(packet(100))
    card.read(regs.ICR)
    assert told(trace, "cat", "event", "length") == [
        ("frame", "arrived", 100), ("desc", "fetch", None), ("dma", "write", 100), ("desc", "write-back", None), ("irq", "up", None),
        ("mmio", "read", None), ("irq", "down", None),
    ]  # fmt: skip
    assert decode("RX", int(trace.events[3]["word"], 16)) == "LENGTH=0x64 DD EOP IXSM"


def test_a_frame_that_goes_nowhere_is_told_with_its_reason(card, trace):
    card.receive(packet(60))
    card.rx_ring(8)
    card.receive(packet(60, to=b"\x02" * 6), packet(20))
    assert [event for event in told(trace, "event", "reason", "count") if event[0] == "dropped"] == [
        ("dropped", "rx_disabled", 1),
        ("dropped", "rx_filtered", 1),
        ("dropped", "rx_runt", 1),
    ]


def test_dma_that_leads_nowhere_is_told_as_aborted(card, trace):
    card.tx_ring()
    card.post(data(0xDEAD0000, 60))
    dma = [event for event in told(trace, "cat", "event", "address", "length", "aborted") if event[0] == "dma"]
    assert dma == [("dma", "read", "0xdead0000", 60, True)]


def test_a_message_signalled_interrupt_is_told_with_address_and_data(card, trace):
    where = card.alloc(4)
    card.device.config_write(0xF4, where)
    card.device.config_write(0xFC, 0x55, 2)
    card.device.config_write(0xF2, 1, 2)
    card.write(regs.IMS, regs.ICR_LSC)
    card.write(regs.ICS, regs.ICR_LSC)
    assert ("message", hex(where), 0x55) in told(trace, "event", "address", "data")


def test_timers_fire_at_their_time_on_the_clock():
    clock = VirtualClock(start=1000)
    with E1000Device(wire=RecordingWire(), clock=clock) as device, Trace(device) as trace:
        device.write(regs.CTRL, regs.CTRL_SLU)
        clock.advance(2_000_000_000)
        trace.flush()
        assert trace.events[0]["t"] == 1000
        assert ("timer", "fires", "link", 1_500_001_000) in told(trace, "cat", "event", "timer", "t")


def test_a_traced_card_does_what_one_that_is_not_does(make_card):
    def run(card):
        card.tx_ring(16)
        card.rx_ring(8)
        for i in range(20):
            card.post_packets(packet(60 + i, seed=i))
            card.post(context(), data(card.alloc(packet(80, seed=i)), 80))
            card.receive(packet(64 + i, to=BROADCAST, seed=i), packet(70, to=b"\x02" * 6))
        return card.wire.sent, card.take(), dict(card.device.dump()) | card.device.drops

    plain = run(make_card())
    traced = make_card()
    with Trace(traced.device):
        assert run(traced) == plain


def test_when_it_ends_the_card_is_as_before(card):
    with Trace(card.device) as trace:
        card.read(regs.STATUS)
    assert len(trace.events) == trace.recorded == 1
    card.read(regs.STATUS)
    card.tx_ring()
    card.post_packets(packet(60))
    assert len(trace.events) == 1
    trace.close()


def test_one_card_has_one_trace_at_a_time(card):
    with Trace(card.device):
        with pytest.raises(OSError, match="traced already"):
            Trace(card.device)
        card.read(regs.STATUS)
    with Trace(card.device):
        pass


def test_bus_mastering_can_be_taken_and_given_back_under_a_trace(card, trace):
    card.tx_ring()
    card.device.config_write(4, 3, 2)
    card.post_packets(packet(60))
    assert card.wire.sent == []
    card.device.config_write(4, 7, 2)
    assert card.wire.sent == [packet(60)]
    assert "sent" in {event for (event,) in told(trace, "event")}


def test_the_tap_is_gone_with_the_trace_also_when_memory_changed_meanwhile(card):
    with Trace(card.device):
        card.bus.close()
        with HostMemory(size=1 << 16) as other, LocalBus(card.device, memory=other):
            pass
        bus = LocalBus(card.device, memory=card.memory)
    card.tx_ring()
    card.post_packets(packet(60))
    assert card.wire.sent == [packet(60)]
    bus.close()


# --- files ---


def traced(card, path, **options):
    with Trace(card.device, path, **options) as trace:
        card.tx_ring()
        card.post_packets(packet(60), packet(90))
        card.read(regs.ICR)
    return trace


def test_a_file_of_json_lines_reads_back_as_the_same_events(card, tmp_path):
    traced(card, tmp_path / "a.jsonl")
    with Reader(tmp_path / "a.jsonl") as reader:
        events = list(reader)
    assert reader.cards == [card.device.mac]
    assert (reader.ended, reader.lost, reader.problem) == (True, 0, "")
    assert [event["event"] for event in events[-5:]] == ["sent", "sent", "write-back", "write-back", "read"]
    assert all(event["cat"] in CATEGORIES for event in events)


def test_a_file_for_perfetto_is_valid_in_its_format(card, tmp_path):
    card.write(regs.IMS, regs.ICR_TXDW)
    trace = traced(card, tmp_path / "a.json")
    content = json.loads((tmp_path / "a.json").read_text())
    assert content["otherData"] == {"events": trace.recorded, "lost": 0}
    events = [event for event in content["traceEvents"] if event["ph"] != "M"]
    assert len(events) == trace.recorded
    for event in content["traceEvents"]:
        assert {"name", "ph", "pid", "tid", "ts"} <= set(event)
        assert isinstance(event["ts"], int | float)
        assert event["ph"] in "MiBE"
        assert event["ph"] != "i" or event["s"] == "t"
        assert isinstance(event["args"], dict)
    assert [event["ph"] for event in events if event["name"] == "line up"] == ["B", "E"]
    assert any(event["name"] == "write TDT" and event["args"]["value"] == "0x2" for event in events)
    names = {event["args"]["name"] for event in content["traceEvents"] if event["ph"] == "M"}
    assert names == {*CATEGORIES, f"card 0: {card.device.mac}"}


def test_an_open_file_and_a_format_may_be_given(card):
    target = io.StringIO()
    traced(card, target, format="perfetto")
    assert json.loads(target.getvalue())["traceEvents"]
    with pytest.raises(ValueError, match="jsonl or perfetto, not 'xml'"):
        Trace(card.device, io.StringIO(), format="xml")


@pytest.mark.parametrize("buffer", [1, 2, 1 << 14])
def test_a_full_buffer_is_written_and_nothing_lost(card, tmp_path, buffer):
    trace = traced(card, tmp_path / "a.jsonl", buffer=buffer)
    with Reader(tmp_path / "a.jsonl") as reader:
        assert len(list(reader)) == trace.recorded > 10
    assert trace.lost == 0


def test_what_cannot_be_written_is_counted_and_raised_at_the_end(card):
    trace = Trace(card.device, "/dev/full", buffer=4)
    card.tx_ring()
    for _ in range(40):
        card.post_packets(packet(60))
    assert len(card.wire.sent) == 40
    with pytest.raises(OSError, match="No space left"):
        trace.close()
    card.read(regs.STATUS)


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


def test_several_cards_go_into_one_trace_and_threads_push_at_once(two_cards, tmp_path):
    two = two_cards()
    with Trace(two.cards, tmp_path / "a.jsonl", clock=two.clock, buffer=64) as trace, DeviceThread(two.cards):
        for i in range(50):
            two.send([packet(60, seed=i)])
        while len(two.sink.packets) < 50:
            two.stack.run()
    assert trace.lost == 0
    with Reader(tmp_path / "a.jsonl") as reader:
        events = list(reader)
    assert len(events) == trace.recorded
    assert [sum(e["card"] == n and e["event"] == what for e in events) for n, what in ((0, "sent"), (1, "arrived"))] == [50, 50]


def test_a_bad_file_is_refused_in_one_line(tmp_path):
    path = tmp_path / "x.jsonl"
    other = '{"fastring-trace": 2, "cards": []}\n'
    for content in ("", "x\n", "[]\n", other, '{"fastring-trace": 1, "cards": 5}\n', "[" * 100_000, "\0" * 99):
        path.write_text(content)
        with pytest.raises(TraceError, match="not a trace"):
            Reader(path)


HEAD = '{"fastring-trace": 1, "cards": ["a"]}\n'
GOOD = {"t": 1, "card": 0, "cat": "desc", "event": "fetch", "ring": "tx", "index": 1, "address": "0x1", "word": "0x2"}


@pytest.mark.parametrize(
    "change",
    [
        {"t": "x"}, {"t": True}, {"t": -1}, {"t": 1 << 70}, {"t": None}, {"card": 1}, {"card": -1}, {"cat": "x"}, {"cat": []}, {"event": 3},
        {"ring": None}, {"index": 1.5}, {"address": "zz"}, {"word": "-0x1"}, {"word": "0x1" + "0" * 40}, {"cat": "mmio"}, {"cat": "irq"},
        {"cat": "frame", "event": "sent"}, {"cat": "timer"},
    ],
)  # fmt: skip
def test_a_line_that_is_no_event_is_named(tmp_path, change):
    path = tmp_path / "x.jsonl"
    path.write_text(HEAD + json.dumps(GOOD) + "\n" + json.dumps(GOOD | change) + "\n")
    with Reader(path) as reader, pytest.raises(TraceError, match="line 3 is no event"):
        list(reader)


def test_a_trace_that_breaks_off_is_read_up_to_there(tmp_path):
    path = tmp_path / "x.jsonl"
    path.write_text(HEAD + json.dumps(GOOD) + "\n" + json.dumps(GOOD)[:-5])
    with Reader(path) as reader:
        assert list(reader) == [GOOD]
    assert "breaks off" in reader.problem
    assert describe(GOOD) == "fetch      tx[1]      0x1  LENGTH=2"


def test_moderation_timers_fire_and_descriptors_kept_back_are_written_then(undo):
    clock = VirtualClock()
    card = BareCard(undo)
    card.bus.close()
    card.device.close()
    device = card.device = undo.enter_context(E1000Device(wire=RecordingWire(), clock=clock, mac=MAC))
    undo.enter_context(LocalBus(device, memory=card.memory))
    card.read, card.write, card.wire = device.read, device.write, device.wire
    clock.advance(2_000_000_000)  # the link is up
    card.write(regs.RDTR, 100)
    card.write(regs.RXDCTL, 4 << 16 | 1 << 24)
    card.rx_ring(8)
    with Trace(device) as trace:
        card.receive(packet(100))
        assert "write-back" not in {event for (event,) in told(trace, "event")}
        clock.advance(1_000_000)
        back = [event for event in told(trace, "event", "ring", "index", "timer", "t") if event[0] in ("fires", "write-back")]
    fired = 2_000_102_400
    assert back == [("fires", None, None, "receive", fired), ("write-back", "rx", 0, None, fired)]


def test_a_packet_cut_into_segments_is_read_and_sent_piece_by_piece(card, trace):
    content = packet(54)[:12] + bytes.fromhex("0800450000280000000040060000") + bytes(28) + bytes(2000)
    card.tx_ring()
    card.post(
        struct.pack("<QQ", 14 | 24 << 8 | 33 << 16 | 34 << 32 | 50 << 40, 2000 | DEXT | 7 << 24 | 54 << 40 | 1000 << 48),
        struct.pack("<QQ", card.alloc(content), 2054 | 1 << 20 | DEXT | EOP | IFCS | RS | 1 << 26 | 3 << 40),
    )
    events = told(trace, "event", "index", "length")
    assert [event for event in events if event[0] == "sent"] == [("sent", None, 1054)] * 2
    assert {event[1] for event in events if event[0] == "fetch"} == {0, 1}
    assert [event[1] for event in events if event[0] == "write-back"] == [1]


def test_the_end_of_a_pause_is_a_timer_of_its_own(undo):
    clock = VirtualClock()
    card = BareCard(undo, clock=clock)
    clock.advance(2 * 10**9)
    card.write(regs.CTRL, card.read(regs.CTRL) | regs.CTRL_RFCE)
    for register, value in ((regs.FCT, 0x8808), (regs.FCAH, 0x0100), (regs.FCAL, 0x00C28001)):
        card.write(register, value)
    card.rx_ring()
    card.tx_ring()
    with Trace(card.device) as trace:
        card.receive((bytes.fromhex("0180C2000001") + bytes(6) + bytes.fromhex("880800010001")).ljust(60, b"\0"))
        card.post_packets(packet(60))
        clock.advance(512)
    names = [event.get("timer") or event["event"] for event in trace.events]
    assert names.index("pause") < names.index("sent")


def test_what_is_looped_back_is_told_as_sent_and_arrived(card, trace):
    card.rx_ring(rctl=regs.RCTL_SECRC | regs.RCTL_LBM_MAC)
    card.tx_ring()
    card.post_packets(packet(60), packet(61))
    assert [pair for pair in told(trace, "event", "length") if pair[0] in ("sent", "arrived")] == [
        ("sent", 60),
        ("sent", 61),
        ("arrived", 60),
        ("arrived", 61),
    ]


def test_null_descriptors_of_the_receiver_are_fetched_and_written_back(card, trace):
    card.rx_ring(8, give=0)
    card.addresses.write(card.rx_base, bytes(16))
    card.write(regs.RDT, 3)
    card.receive(packet(60))
    assert [e for e in told(trace, "event", "index", "address") if e[0] in ("fetch", "write-back")] == [
        ("fetch", 0, "0x0"),
        ("write-back", 0, "0x0"),
        ("fetch", 1, hex(card.rx_buffers[1])),
        ("write-back", 1, hex(card.rx_buffers[1])),
    ]


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
