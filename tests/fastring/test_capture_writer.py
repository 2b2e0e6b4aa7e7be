"""Writing captures: what goes in comes out again, in our reader and in scapy's; and every packet not written is counted and told."""

import os
import resource
import runpy
import subprocess
import sys
import time
from collections import deque
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scapy.utils import RawPcapNgReader, RawPcapReader

from fastring.burst import Burst
from fastring.capture import Capture
from fastring.capture_writer import CaptureWriter
from fastring.clock import MonotonicClock

files = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("test_capture_files.py"))))
FORMATS = pytest.mark.parametrize("format", ["pcap", "pcapng"])
PCAP_END = 10**9 << 32
RECORDS = st.lists(st.tuples(
    st.one_of(st.integers(0, PCAP_END - 1), st.integers(0, 3 * 10**9)),
    st.one_of(st.binary(min_size=1, max_size=70), st.binary(min_size=1, max_size=3).map(lambda b: b * 5000)),
    st.integers(0, 70000),
), max_size=20)


def read_back(path):
    """(time, data, wirelen) of each record."""
    with Capture(path) as capture:
        data = capture.data
        return [(int(e["time"]), bytes(data[e["offset"] : e["offset"] + e["caplen"]]), int(e["wirelen"])) for e in capture.index()]


def scapy_reads(path, format):
    if format == "pcapng":
        with RawPcapNgReader(str(path)) as reader:
            return [((meta.tshigh << 32) + meta.tslow, data, meta.wirelen) for data, meta in reader]
    with RawPcapReader(str(path)) as reader:
        assert reader.nano
        return [(meta.sec * 10**9 + meta.usec, data, meta.wirelen) for data, meta in reader]


@FORMATS
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(records=RECORDS)
def test_what_is_written_is_read_back_by_us_and_by_scapy(tmp_path, format, records):
    path = tmp_path / "out"
    with CaptureWriter(path, format=format) as writer:
        for when, data, wire_len in records:
            writer.write(data, time=when, wire_len=wire_len)
        assert (writer.packets, writer.bytes) == (len(records), sum(len(data) for _, data, _ in records))
    expected = [(when, data, max(wire_len, len(data))) for when, data, wire_len in records]
    assert read_back(path) == scapy_reads(path, format) == expected


@FORMATS
def test_bursts_are_written_in_order_with_their_times(tmp_path, format):
    path = tmp_path / "out"
    packets = [bytes([i]) * (60 + i) for i in range(200)]
    with CaptureWriter(path, format=format) as writer:
        for first in range(0, 200, 50):
            writer.on_burst(Burst.from_packets(packets[first : first + 50], times=range(first, first + 50)))
    assert read_back(path) == [(i, data, len(data)) for i, data in enumerate(packets)]


def pieces(lengths, more, wire_len=0):
    """A burst of one Frame a length, bytes 0, 1, 2 …; those numbered in `more` go on in the next Frame."""
    burst = Burst.from_packets([bytes([i]) * length for i, length in enumerate(lengths)], times=range(10, 10 + len(lengths)))
    frames = files.frames_of(burst, len(lengths))
    assert [frame.len for frame in frames] == lengths
    for i, frame in enumerate(frames):
        frame.flags = int(i in more)
        frame.wire_len = 0
    frames[0].wire_len = wire_len
    return burst


@FORMATS
def test_a_packet_in_pieces_becomes_one_record(tmp_path, format):
    path = tmp_path / "out"
    with CaptureWriter(path, format=format, snaplen=70) as writer:
        writer.on_burst(pieces([10, 20, 30, 40, 50], more={0, 1, 3}))
        writer.on_burst(pieces([60, 60, 60], more={0, 1}, wire_len=200))
        assert (writer.packets, writer.bytes, writer.truncated) == (3, 60 + 70 + 70, 2)
    assert read_back(path) == [
        (10, b"\0" * 10 + b"\1" * 20 + b"\2" * 30, 60), (13, b"\3" * 40 + b"\4" * 30, 90), (10, b"\0" * 60 + b"\1" * 10, 200)]


def test_frames_go_from_a_cursor_to_a_writer_unchanged(tmp_path):
    records = [(i * 1001, bytes([i % 256]) * (1 + i * 7 % 1500), 1600) for i in range(5000)]
    with CaptureWriter(tmp_path / "a.pcap") as writer:
        for when, data, wire_len in records:
            writer.write(data, when, wire_len)
    with Capture(tmp_path / "a.pcap") as capture, CaptureWriter(tmp_path / "b.pcapng") as writer:
        cursor, burst = capture.cursor(), Burst(64)
        while cursor.read(burst):
            writer.on_burst(burst)
        assert writer.packets == cursor.frames == 5000
    assert read_back(tmp_path / "b.pcapng") == records


def test_packets_nobody_stamped_get_the_time_of_the_clock(tmp_path):
    before = time.time_ns()
    with CaptureWriter(tmp_path / "clock", clock=MonotonicClock()) as writer:
        writer.on_burst(Burst.from_packets([b"now", b"then"], times=[0, 5]))
        writer.write(b"now, too")
    with CaptureWriter(tmp_path / "none") as writer:
        writer.on_burst(Burst.from_packets([b"never"]))
        writer.write(b"now again")
    (now, *_), (then, *_), (too, *_) = read_back(tmp_path / "clock")
    (never, *_), (again, *_) = read_back(tmp_path / "none")
    assert before - 10**9 < now <= too <= again < time.time_ns() + 10**9
    assert (then, never) == (5, 0)


def test_the_format_is_what_the_name_ends_in_unless_told(tmp_path):
    cases = ("a.pcap", None, "pcap"), ("a.pcapng", None, "pcapng"), ("a", None, "pcap"), ("b.pcap", "pcapng", "pcapng")
    for name, format, expected in cases:
        with CaptureWriter(tmp_path / name, format=format) as writer:
            assert writer.format == expected
        with Capture(tmp_path / name) as capture:
            assert capture.format == expected


@FORMATS
def test_packets_longer_than_snaplen_are_cut_and_keep_their_length_on_the_wire(tmp_path, format):
    path = tmp_path / "out"
    with CaptureWriter(path, format=format, snaplen=61) as writer:
        writer.write(b"a" * 61, 1)
        writer.write(b"b" * 1500, 2)
        assert (writer.packets, writer.bytes, writer.truncated) == (2, 122, 1)
    assert read_back(path) == [(1, b"a" * 61, 61), (2, b"b" * 61, 1500)]


@FORMATS
def test_the_largest_packets_and_many_of_them_pass_through_the_buffer(tmp_path, format):
    path = tmp_path / "out"
    with CaptureWriter(path, format=format, linktype=147) as writer:
        for i in range(20):
            writer.write(bytes([i]) * 262144, i)
    with Capture(path, linktypes={147}) as capture:
        assert list(capture) == [(i, bytes([i]) * 262144) for i in range(20)]


def test_a_time_pcap_cannot_hold_is_refused_and_counted_not_wrapped(tmp_path):
    path = tmp_path / "out.pcap"
    with CaptureWriter(path) as writer:
        for when in (-1, PCAP_END, 1 << 63):
            with pytest.raises(ValueError, match=r"out\.pcap"):
                writer.write(b"x", when)
        writer.write(b"y", PCAP_END - 1)
        assert (writer.packets, writer.unstampable) == (1, 2)
        with pytest.raises(ValueError, match="2 packets left out, the first of time -5 ns: pcap holds times from 0 to 4294967295"):
            writer.on_burst(Burst.from_packets([b"1", b"2", b"3"], times=[-5, 7, PCAP_END]))
        writer.flush()          # told once
    assert read_back(path) == [(PCAP_END - 1, b"y", 1), (7, b"2", 1)]
    with CaptureWriter(tmp_path / "out.pcapng") as writer:
        writer.write(b"x", (1 << 63) - 1)
        with pytest.raises(ValueError, match="pcapng holds times from 0"):
            writer.write(b"x", -1)
    assert read_back(tmp_path / "out.pcapng") == [((1 << 63) - 1, b"x", 1)]


def test_a_full_disk_is_told_and_every_packet_accounted_for(tmp_path):
    path = tmp_path / "out"
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)      # Python ignores SIGXFSZ: writes past it fail with EFBIG
    burst = Burst.from_packets([bytes(1500)] * 100, times=range(1, 101))
    resource.setrlimit(resource.RLIMIT_FSIZE, (3 << 20, limits[1]))
    try:
        writer = CaptureWriter(path)
        with pytest.raises(OSError, match="File too large") as caught:
            deque(map(writer.on_burst, [burst] * 100), 0)
        assert caught.value.filename == str(path)
        assert writer.error is not caught.value
        assert (type(writer.error), writer.error.errno) == (OSError, caught.value.errno)
        offered = writer.packets + writer.lost
        assert offered % 100 == 0
        for again in (lambda: writer.write(b"x"), writer.flush, writer.close):
            with pytest.raises(OSError, match="File too large"):
                again()
        writer.close()
        assert writer.packets + writer.lost == offered + 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    with Capture(path) as capture:
        summary = capture.scan()
    assert summary.frames >= writer.packets > 0
    assert summary.broken_off is not None


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
def test_a_device_without_room_is_refused_at_once():
    with pytest.raises(OSError, match="No space left") as caught:
        CaptureWriter("/dev/full")
    assert caught.value.filename == "/dev/full"


def test_a_path_that_cannot_be_written_is_the_systems_error_with_its_name(tmp_path):
    for path, kind in ((tmp_path / "no" / "such", FileNotFoundError), (tmp_path, IsADirectoryError)):
        with pytest.raises(kind) as caught:
            CaptureWriter(path)
        assert caught.value.filename == str(path)


def test_options_that_make_no_sense_leave_an_existing_file_alone(tmp_path):
    path = tmp_path / "precious"
    path.write_bytes(b"data")
    for options in ({"snaplen": 0}, {"snaplen": 262145}, {"linktype": 65536}, {"linktype": -1}, {"format": "pcap-ng"}):
        with pytest.raises(ValueError, match="not "):
            CaptureWriter(path, **options)
    assert path.read_bytes() == b"data"


def test_a_capture_being_read_or_written_is_not_overwritten(tmp_path):
    path = tmp_path / "capture"
    with CaptureWriter(path) as writer:
        writer.write(b"x", 1)
        with pytest.raises(OSError, match="a capture being read or written cannot be overwritten"):
            CaptureWriter(path)
    with Capture(path) as capture:
        with pytest.raises(OSError, match="a capture being read or written cannot be overwritten"):
            CaptureWriter(path)
        assert list(capture) == [(1, b"x")]
    del capture
    CaptureWriter(path).close()
    assert read_back(path) == []


def test_a_longer_file_is_replaced_whole(tmp_path):
    path = tmp_path / "capture"
    path.write_bytes(bytes(100_000))
    with CaptureWriter(path):
        pass
    assert path.stat().st_size == 24


def test_a_closed_writer_takes_nothing_and_counts_it(tmp_path):
    writer = CaptureWriter(tmp_path / "out")
    writer.close()
    writer.close()
    for use in (lambda: writer.write(b"x", 1), writer.flush, lambda: writer.on_burst(Burst.from_packets([b"x"]))):
        with pytest.raises(ValueError, match="is closed"):
            use()
    assert (writer.packets, writer.lost, writer.closed) == (0, 2, True)


def test_a_writer_that_is_dropped_writes_what_it_had(tmp_path):
    writer = CaptureWriter(tmp_path / "out")
    writer.write(b"x", 1)
    del writer
    assert read_back(tmp_path / "out") == [(1, b"x", 1)]


def test_a_pipe_whose_reader_comes_and_goes_slowly_gets_everything_and_a_closed_one_is_an_error(tmp_path):
    path = tmp_path / "fifo"
    os.mkfifo(path)
    slow = "import sys, time; f = open(sys.argv[1], 'rb'); time.sleep(.1); n = len(f.read(300_000)); print(n + len(f.read()))"
    reader = subprocess.Popen([sys.executable, "-c", slow, path], stdout=subprocess.PIPE)
    with CaptureWriter(path) as writer:
        for i in range(1000):
            writer.write(bytes(1484), i)
    assert int(reader.communicate()[0]) == 24 + 1000 * 1500
    reader = subprocess.Popen([sys.executable, "-c", "import sys; open(sys.argv[1], 'rb').read(24)", path])
    writer = CaptureWriter(path)
    reader.wait()
    writer.write(b"x", 1)
    with pytest.raises(BrokenPipeError):
        writer.close()
    assert (writer.packets, writer.lost) == (0, 1)
