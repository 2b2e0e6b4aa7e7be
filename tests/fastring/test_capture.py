"""Reading captures: what the summary, the index and the cursor say of well-formed files, and of those that merely break off."""

import gzip
import os
import runpy
import struct
import threading
import zlib
from pathlib import Path
from types import SimpleNamespace

import pytest

from fastring.burst import Burst
from fastring.capture import Capture
from fastring.capture_spool import CHUNK
from fastring.memory import AddressSpace

files = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("test_capture_files.py"))))
Packet, pcap, section, interface, enhanced = files.Packet, files.pcap, files.section, files.interface, files.enhanced
PACKETS = files.PACKETS
FRAMES = [(p.units * 1000, p.data) for p in PACKETS]        # as a microsecond file has them


@pytest.fixture
def capture_of(tmp_path):
    """Make a Capture of the bytes given."""
    opened = []

    def make(content, **options):
        path = tmp_path / f"capture{len(opened)}"
        path.write_bytes(content)
        opened.append(Capture(path, **options))
        return opened[-1]

    yield make
    for capture in opened:
        capture.close()


def test_a_summary_counts_what_is_there(capture_of):
    capture = capture_of(pcap([*PACKETS, Packet(files.T, b"", 60)]))
    summary = capture.scan()
    assert (summary.frames, summary.bytes, summary.shortest, summary.longest) == (5, sum(len(p.data) for p in PACKETS), 60, 9000)
    assert (summary.first_time, summary.last_time) == (PACKETS[0].units * 1000, PACKETS[-1].units * 1000)
    assert (summary.truncated, summary.empty, summary.untimed, summary.broken_off) == (1, 1, 0, None)
    assert repr(summary) == "<CaptureSummary: 5 frames of 60 to 9000 bytes, 10466 bytes in 0.000010 s, 1 truncated, 1 empty>"


def test_a_capture_without_frames_has_no_lengths_and_no_times(capture_of):
    for content in (pcap([]), section()):
        capture = capture_of(content)
        summary = capture.scan()
        assert (summary.frames, summary.shortest, summary.longest, summary.first_time, summary.last_time) == (0, None, None, None, None)
        assert len(capture.index()) == 0
        assert list(capture) == []


def test_simple_packets_have_no_time_and_move_neither_end_of_the_summary(capture_of):
    content = section() + interface() + files.simple(b"s" * 60) + enhanced(PACKETS[0]) + enhanced(PACKETS[1]) + files.simple(b"s" * 60)
    capture = capture_of(content)
    summary = capture.scan()
    assert summary.untimed == 2
    assert (summary.first_time, summary.last_time) == (FRAMES[0][0], FRAMES[1][0])
    assert [time for time, _ in capture] == [0, FRAMES[0][0], FRAMES[1][0], 0]


def test_a_capture_tells_what_its_header_says(capture_of):
    capture = capture_of(pcap(PACKETS, order=">", snaplen=1000))
    assert (capture.format, capture.byteorder, capture.version, capture.linktype, capture.snaplen) == ("pcap", "big", (2, 4), 1, 1000)
    assert (capture.fcs_length, capture.compressed, capture.size) == (None, False, len(pcap(PACKETS)))
    assert capture_of(pcap([], linktype=0x24000001)).fcs_length == 4
    capture = capture_of(section(version=(1, 2), order=">"))
    assert (capture.format, capture.byteorder, capture.version, capture.linktype) == ("pcapng", "big", (1, 2), None)


def test_seconds_are_unsigned_up_to_2106(capture_of):
    assert list(capture_of(pcap([Packet(0xFFFFFFFF * 10**6, b"x")]))) == [(0xFFFFFFFF * 10**9, b"x")]


def test_sections_may_differ_in_byte_order_and_interfaces(capture_of):
    little, big = Packet(files.T, b"little"), Packet(files.T * 1000 + 7, b"big")
    content = section() + interface() + enhanced(little) + section(order=">") + interface(order=">", tsresol=9) + enhanced(big, order=">")
    assert list(capture_of(content + content)) == 2 * [(files.T * 1000, b"little"), (files.T * 1000 + 7, b"big")]


@pytest.mark.parametrize(("tsresol", "ticks", "offset", "time"), [
    (0x80 | 63, 1 << 62, 0, 500_000_000),
    (0x80 | 63, 1, -1, -1_000_000_000),
    (0x80 | 40, (7 << 40) + (1 << 39) + 1, 0, 7_500_000_000),       # libpcap's 64 bits overflow here
    (19, 10**19 + 5, 3, 4_000_000_000),
    (12, 1_999, 0, 1),
])
def test_resolutions_finer_than_64_bits_of_nanoseconds_are_exact(capture_of, tsresol, ticks, offset, time):
    content = section() + interface(tsresol=tsresol, tsoffset=offset) + enhanced(Packet(ticks, b"x"))
    assert list(capture_of(content)) == [(time, b"x")]


def test_other_link_types_are_taken_when_asked_for(capture_of):
    assert list(capture_of(pcap(PACKETS, linktype=113), linktypes={1, 113})) == FRAMES
    content = section() + interface() + interface(linktype=276) + enhanced(PACKETS[0])
    assert list(capture_of(content)) == FRAMES[:1]          # the other interface has no packet
    assert len(list(capture_of(content + enhanced(PACKETS[1]._replace(interface=1)), linktypes=None))) == 2


@pytest.mark.parametrize(("content", "last"), [
    (pcap(PACKETS), len(pcap(PACKETS[:4]))),
    (section() + interface() + b"".join(map(enhanced, PACKETS)), len(section() + interface() + b"".join(map(enhanced, PACKETS[:4])))),
], ids=["pcap", "pcapng"])
def test_a_file_that_ends_inside_a_record_gives_the_whole_ones_before(capture_of, content, last):
    for cut in (1, 8999, 9010):
        capture = capture_of(content[:-cut])
        summary = capture.scan()
        assert summary.frames == 4
        assert summary.broken_off.offset == last
        assert summary.broken_off.reason.startswith("the file ends inside a record: ")
        assert len(capture.index()) == 4
        cursor = capture.cursor(loop=2)
        assert list(cursor) == 2 * FRAMES[:4]
        assert cursor.broken_off.offset == last
        assert cursor.error is None


def test_bursts_point_into_the_mapping_and_carry_bus_addresses_once_it_is_mapped(capture_of):
    capture, space, burst = capture_of(pcap(PACKETS)), AddressSpace(), Burst(3)
    cursor = capture.cursor()
    assert cursor.read(burst) == 3
    assert all(frame.iova == 2**64 - 1 for frame in files.frames_of(burst, 3))
    assert burst.times == [time for time, _ in FRAMES[:3]]
    assert list(burst) == [data for _, data in FRAMES[:3]]
    cursor.dma_base = space.map(capture)
    assert space.regions == [(cursor.dma_base, capture.size, False)]
    assert cursor.read(burst, 1) == 1
    frame, = files.frames_of(burst, 1)
    assert space.read(frame.iova, frame.len) == PACKETS[3].data
    assert (frame.wire_len, frame.buffer, frame.flags) == (frame.len, 0xFFFFFFFF, 0)
    assert cursor.position == 24 + sum(16 + len(p.data) for p in PACKETS[:4])
    assert (cursor.read(burst), cursor.read(burst), cursor.frames) == (1, 0, 5)


def test_bursts_and_cursors_outlive_a_closed_capture(capture_of):
    capture, burst = capture_of(pcap(PACKETS)), Burst(3)
    cursor = capture.cursor()
    cursor.read(burst)
    capture.close()
    capture.close()
    kept = list(burst)
    del capture
    assert list(cursor) == FRAMES[3:]
    del cursor
    assert list(burst) == kept == [data for _, data in FRAMES[:3]]


def test_a_closed_capture_says_so(capture_of):
    capture = capture_of(pcap(PACKETS))
    capture.close()
    for use in (capture.scan, capture.index, capture.cursor, lambda: capture.data, lambda: memoryview(capture)):
        with pytest.raises(ValueError, match="is closed"):
            use()
    assert repr(capture).endswith("closed>")


@pytest.mark.parametrize(("limit", "loop", "expected", "passes"), [
    (None, 1, 5, 1), (3, 1, 3, 0), (None, 3, 15, 3), (7, 3, 7, 1), (12, 0, 12, 2), (0, 0, 0, 0),
])
def test_limit_and_loop_bound_what_a_cursor_yields(capture_of, limit, loop, expected, passes):
    cursor, burst = capture_of(pcap(PACKETS)).cursor(limit=limit, loop=loop), Burst(4)
    for _ in range(2):
        got = []
        while cursor.read(burst):
            got.extend(zip(burst.times, burst, strict=True))
        assert got == [FRAMES[i % 5] for i in range(expected)]
        assert (cursor.frames, cursor.loops) == (expected, passes)
        cursor.rewind()
        assert (cursor.frames, cursor.loops, cursor.position) == (0, 0, 24)


def test_an_endless_loop_over_no_frames_ends(capture_of):
    assert list(capture_of(pcap([Packet(0, b"")] * 3)).cursor(loop=0)) == []


def test_the_index_has_every_frames_place_length_time_and_interface(capture_of):
    capture = capture_of(section() + interface() + interface() + enhanced(PACKETS[0]) + enhanced(PACKETS[2]._replace(interface=1)))
    index = capture.index()
    assert index.dtype.names == ("offset", "time", "caplen", "wirelen", "interface")
    assert [tuple(row)[1:] for row in index.tolist()] == [(FRAMES[0][0], 60, 60, 0), (FRAMES[2][0], 64, 1514, 1)]
    assert bytes(capture.data[index["offset"][1] :][:64]) == PACKETS[2].data


@pytest.mark.parametrize("members", [1, 3])
def test_gzip_is_read_whole_in_any_number_of_members(capture_of, members):
    content = pcap(PACKETS * 300)
    step = len(content) // members + 1
    packed = b"".join(gzip.compress(content[i : i + step]) for i in range(0, len(content), step))
    for padding in (b"", bytes(1000)):
        capture = capture_of(packed + padding)
        assert capture.compressed
        assert list(capture) == FRAMES * 300
        assert capture.scan().broken_off is None


def test_well_compressed_gzip_is_read_whole(capture_of):
    content = pcap([Packet(0, bytes(200_000))] * 50)
    assert capture_of(gzip.compress(content)).scan().bytes == 10_000_000


def test_truncated_gzip_gives_the_last_byte_that_can_be_had(capture_of):
    packed = gzip.compress(pcap([]) + bytes(2 << 20))
    inflate, whole = zlib.decompressobj(wbits=31), 0
    for cut in range(1, len(packed)):
        whole += len(inflate.decompress(packed[cut - 1 : cut]))
        if 0 <= whole - CHUNK < 9000:           # where a full chunk leaves a little more in zlib's own state
            assert capture_of(packed[:cut]).size == whole


def test_truncated_gzip_gives_what_could_be_read_and_says_it_is_broken_off(capture_of):
    content = pcap([Packet(i, struct.pack("<I", i * 2654435761 % 2**32) * 15) for i in range(1000)])
    summary = capture_of(gzip.compress(content)[:8000]).scan()
    assert 100 < summary.frames < 1000
    assert summary.broken_off.reason.startswith("the gzip data breaks off: ")
    # All of the data, and only the member's trailer is missing:
    capture = capture_of(gzip.compress(content)[:-3])
    assert capture.scan().frames == 1000
    assert capture.scan().broken_off.reason == ("the gzip data breaks off: the records before it are usable (offset after decompression)")
    cursor = capture.cursor()
    assert len(list(cursor)) == 1000
    assert cursor.broken_off.offset == len(content)


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_fifo_is_spooled(tmp_path, pack):
    path = tmp_path / "fifo"
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_bytes, args=(pack(pcap(PACKETS * 500)),))
    writer.start()
    with Capture(path) as capture:
        assert list(capture) == FRAMES * 500
    writer.join()
