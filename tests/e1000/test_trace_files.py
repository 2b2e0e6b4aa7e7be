"""Traces in files: JSON lines, read back and refused, and Perfetto's format."""

import io
import json

import pytest
from cards import packet

from e1000 import regs
from e1000.device import DeviceThread
from e1000.trace import Reader, Trace, TraceError
from e1000.trace_events import CATEGORIES, describe


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
