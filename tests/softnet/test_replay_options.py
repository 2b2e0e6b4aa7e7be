"""What the options of `fastring replay` do, and what becomes of frames of odd lengths and times."""

import os
import struct
import threading
from contextlib import ExitStack
from functools import partial

import pytest

from e1000.bus import LocalBus
from e1000.device import E1000Device
from e1000.driver import probe
from fastring.wire import pair
from softnet import Stack
from softnet.wire import KINDS, Cabling, WireKind

YEAR = 365 * 24 * 3600 * 10**9
LONGEST = 16128  # bytes a card of MTU 16110 sends: header and room for a VLAN tag


# --- how many ---


@pytest.mark.parametrize("clock", ["real", "virtual"])
def test_loop_passes_over_all_captures_again(clock, capture, frame, replayed, frames_of, tmp_path):
    first = capture([frame(100, n) for n in range(5)], "first.pcap")
    second = capture([frame(200, n) for n in range(3)], "second.pcapng")
    status, result = replayed(first, second, "--loop", 3, "--clock", clock, "--out", tmp_path / "out.pcap")
    one_pass = [frame(100, n) for n in range(5)] + [frame(200, n) for n in range(3)]
    assert (status, result["sent"]) == (0, 24)
    assert [packet for _time, packet in frames_of(tmp_path / "out.pcap")] == one_pass * 3


@pytest.mark.parametrize("limit", [0, 1, 7, 127, 128, 129, 1000])
def test_limit_ends_an_endless_loop_after_so_many_frames(limit, capture, frame, replayed, frames_of, tmp_path):
    path = capture([frame(100, n) for n in range(50)])
    status, result = replayed(path, "--loop", 0, "--limit", limit, "--out", tmp_path / "out.pcap")
    assert (status, result["sent"], result["received"]) == (0, limit, limit)
    assert [packet for _time, packet in frames_of(tmp_path / "out.pcap")] == [frame(100, n % 50) for n in range(limit)]


def test_limit_counts_over_several_captures(capture, frame, replayed):
    paths = [capture([frame(100)] * 10, name) for name in ("a.pcap", "b.pcap")]
    assert replayed(*paths, "--limit", 15)[1]["sent"] == 15
    assert replayed(*paths, "--limit", 150)[1]["sent"] == 20


def test_the_same_capture_may_be_named_twice(capture, frame, replayed):
    path = capture([frame(100)] * 10)
    assert replayed(path, path)[1]["received"] == 20


@pytest.mark.parametrize("loop", [0, 1, 5])
def test_a_capture_without_frames_is_replayed_at_once(loop, capture, replayed):
    status, result = replayed(capture([]), "--loop", loop, "--clock", "virtual")
    assert (status, result["sent"], result["seconds"], result["pps"]) == (0, 0, 0, 0)


def test_an_endless_loop_over_records_without_bytes_ends(pcap, record, replayed, tmp_path):
    (tmp_path / "in.pcap").write_bytes(pcap(record(b""), record(b"")))
    status, result = replayed(tmp_path / "in.pcap", "--loop", 0)
    assert (status, result["sent"], result["drops"]) == (1, 2, {"empty": 2})


def test_a_fifo_can_be_replayed(data, process):
    with open(data / "http.pcap", "rb") as stdin:
        assert "received   944 frames" in process("replay", "/dev/stdin", stdin=stdin).out


# --- lengths ---


@pytest.mark.parametrize("clock", ["real", "virtual"])
def test_frames_under_60_bytes_are_padded_with_zeroes(clock, capture, frame, replayed, frames_of, tmp_path):
    lengths = range(1, 62)
    status, result = replayed(capture([frame(n) for n in lengths]), "--clock", clock, "--out", tmp_path / "out.pcap")
    assert status == 0
    assert [packet for _time, packet in frames_of(tmp_path / "out.pcap")] == [frame(n).ljust(60, b"\0") for n in lengths]
    assert (result["padded"], result["pad_bytes"]) == (59, sum(60 - n for n in range(1, 60)))


@pytest.mark.parametrize("clock", ["real", "virtual"])
def test_the_mtu_follows_the_longest_frame(clock, capture, frame, replayed, frames_of, tmp_path):
    for length, mtu in ((60, 1500), (1514, 1500), (1515, 1501), (9014, 9000), (16124, 16110), (LONGEST, 16110)):
        frames = [frame(length, n) for n in range(600)]
        status, result = replayed(capture(frames), "--clock", clock, "--out", tmp_path / "out.pcap")
        assert (status, result["mtu"]) == (0, mtu)
        assert [packet for _time, packet in frames_of(tmp_path / "out.pcap")] == frames


@pytest.mark.parametrize("wire", ["pair", "null"])
@pytest.mark.parametrize("length", [LONGEST + 1, 16381, 16384, 16385, 40000, 65535, 262144])
def test_a_frame_too_long_for_any_mtu_is_dropped_by_name_and_the_others_arrive(length, wire, capture, frame, replayed):
    path = capture([frame(60), frame(length), frame(1514), frame(length)])
    status, result = replayed(path, "--wire", wire)
    assert (status, result["received"], result["drops"]) == (1, 2, {"mtu_exceeded": 2})


def test_frames_longer_than_the_mtu_given_are_dropped_by_name(capture, frame, replayed):
    path = capture([frame(length) for length in (60, 118, 119, 120, 1514)])  # MTU 100, 14 of header, 4 for a tag
    status, result = replayed(path, "--mtu", 100)
    assert (status, result["mtu"], result["received"], result["drops"]) == (1, 100, 2, {"mtu_exceeded": 3})


@pytest.mark.parametrize("mtu", [46, 1500, 16110])
def test_every_mtu_of_the_card_can_be_had(mtu, capture, frame, replayed):
    assert replayed(capture([frame(60)] * 1000), "--mtu", mtu)[1]["mtu"] == mtu


def test_records_without_bytes_are_dropped_by_name(pcap, record, frame, replayed, tmp_path):
    (tmp_path / "in.pcap").write_bytes(pcap(record(b""), record(frame(60)), record(b""), record(frame(70))))
    status, result = replayed(tmp_path / "in.pcap", "--loop", 2)
    assert (status, result["sent"], result["received"], result["drops"]) == (1, 8, 4, {"empty": 4})


def test_a_frame_captured_short_is_sent_as_captured_and_counted(pcap, record, frame, replayed, fastring, tmp_path):
    (tmp_path / "in.pcap").write_bytes(pcap(record(frame(64), wirelen=1514), record(frame(64))))
    status, result = replayed(tmp_path / "in.pcap")
    assert (status, result["received_bytes"], result["truncated"]) == (0, 128, 1)
    assert "cut short  1 frames" in fastring("replay", tmp_path / "in.pcap").out


# --- times ---


def times_after_replay(times, replayed, capture, frames_of, frame, tmp_path, suffix="pcap"):
    path = capture([(time, frame(64, n)) for n, time in enumerate(times)], f"in.{suffix}")
    status, result = replayed(path, "--clock", "virtual", "--out", tmp_path / f"out.{suffix}")
    assert status == 0
    return [time for time, _packet in frames_of(tmp_path / f"out.{suffix}")], result


@pytest.mark.parametrize(
    ("times", "seconds"),
    [
        ([10**18] * 300, 0),
        ([5 * 10**9, 3 * 10**9, 4 * 10**9, 10**9], 1),  # backwards only the wall clock is set
        ([0, 0, 1], 1e-9),
        ([YEAR, 20 * YEAR, 60 * YEAR], 59 * YEAR / 1e9),
        ([4294967295_999999999, 0, 4294967295_999999999], 4294967295.999999999),
    ],
    ids=["all equal", "backwards", "1970", "years apart", "the ends of pcap"],
)
def test_odd_time_stamps_are_kept(times, seconds, replayed, capture, frames_of, frame, tmp_path):
    arrived, result = times_after_replay(times, replayed, capture, frames_of, frame, tmp_path)
    assert arrived == times
    assert result["seconds"] == pytest.approx(seconds)


def test_the_last_time_there_is_can_be_replayed_over_and_over(replayed, capture, frame, fastring, tmp_path):
    path = capture([((1 << 63) - 1, frame(64)), (0, frame(64))], "in.pcapng")
    status, result = replayed(path, "--clock", "virtual", "--loop", 5, "--out", tmp_path / "out.pcapng")
    assert (status, result["received"]) == (0, 10)


def pcapng(*, seconds):
    """One frame at 0.5 s after `seconds` after 1970 (if_tsoffset)."""
    options = struct.pack("<HHqHH", 14, 8, seconds, 0, 0)
    section = struct.pack("<IIIHHqI", 0x0A0D0D0A, 28, 0x1A2B3C4D, 1, 0, -1, 28)
    interface = struct.pack("<IIHHI", 1, 36, 1, 0, 0) + options + struct.pack("<I", 36)
    packet = struct.pack("<IIIIIII", 6, 92, 0, 0, 500000, 60, 60) + bytes(60) + struct.pack("<I", 92)
    return section + interface + packet


def test_a_time_before_1970_is_sent_at_1970(replayed, frames_of, tmp_path):
    (tmp_path / "in.pcapng").write_bytes(pcapng(seconds=-1000))
    status, _result = replayed(tmp_path / "in.pcapng", "--clock", "virtual", "--out", tmp_path / "out.pcap")
    assert (status, frames_of(tmp_path / "out.pcap")) == (0, [(0, bytes(60))])


@pytest.mark.parametrize("receive", ["--out={}", "--wire=pcap:{}"])
def test_a_time_that_pcap_has_no_room_for_is_a_named_loss(receive, capture, frame, replayed, fastring, tmp_path):
    path = capture([(10**18, frame(64)), (1 << 62, frame(64))], "in.pcapng")
    arguments = (path, "--clock", "virtual", receive.format(tmp_path / "out.pcap"))
    status, result = replayed(*arguments, silent=False)
    assert (status, result["received"], result["drops"]) == (1, 1, {"time_not_writable": 1})
    assert fastring("replay", *arguments).err.count("\n") == 1


# --- wires that lose ---


@pytest.mark.parametrize("wire", ["pair", "pair:lossy"])
def test_a_lossy_pair_names_what_it_missed_and_a_pair_misses_nothing(wire, capture, frame, replayed, monkeypatch):
    monkeypatch.setattr("softnet.plug.probe", partial(probe, rx_descriptors=80))  # fewer than a burst, and its FIFO holds few
    status, result = replayed(capture([frame(1514, n) for n in range(500)]), "--wire", wire, "--loop", 10)
    assert result["sent"] == 5000
    if wire == "pair":
        assert (status, result["received"]) == (0, 5000)
    else:
        assert (status, list(result["drops"])) == (1, ["rx_missed"])
        assert 0 < result["lost"] < 5000


@pytest.fixture
def stalling_wire(monkeypatch):
    """A wire kind whose far card nobody polls: once its ring is full it holds the sender up for ever."""
    with ExitStack() as undo:
        near, far = pair()
        deaf = Stack()
        bus = undo.enter_context(LocalBus(undo.enter_context(E1000Device(wire=far))))
        undo.enter_context(probe(bus, deaf))
        monkeypatch.setitem(KINDS, "stalling", WireKind(lambda _argument, _clock: Cabling(near), False, "stalling", ""))
        yield


def test_a_queue_that_stops_moving_ends_the_replay_with_every_frame_accounted_for(stalling_wire, capture, frame, replayed):
    status, result = replayed(capture([frame(64, n) for n in range(2000)]), "--wire", "stalling", silent=False)
    assert (status, result["complete"], result["received"]) == (1, False, 0)
    assert set(result["drops"]) == {"queue_stalled", "in_flight"}
    assert result["bql_stops"] > 0
    assert result["problems"][0].startswith("the transmit queue made no progress for 5 s")


def test_an_output_that_fails_on_the_way_is_a_named_loss_and_told(capture, frame, replayed, tmp_path):
    out = tmp_path / "fifo"
    os.mkfifo(out)

    def read_a_little():
        with open(out, "rb") as reader:
            reader.read(100_000)

    thread = threading.Thread(target=read_a_little)
    thread.start()
    arguments = (capture([frame(1514)] * 3000), "--out", out)
    status, result = replayed(*arguments, silent=False)
    thread.join()
    assert (status, list(result["drops"]), result["complete"]) == (1, ["write_failed"], False)
    assert 0 <= result["received"] < 3000
    assert result["problems"] == [f"{out}: Broken pipe"]
