"""What is no capture, or a damaged one, is refused with one line that says where and what would be right; nothing crashes."""

import gzip
import os
import runpy
import struct
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fastring.burst import Burst
from fastring.capture import Capture, CaptureError

files = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("test_capture_files.py"))))
Packet, pcap, section, interface, enhanced, block = (
    files.Packet, files.pcap, files.section, files.interface, files.enhanced, files.block)
HEADER = pcap([])
FRAME = Packet(files.T, b"f" * 60)
NG = section() + interface()
MAGIC_WANTED = "and a capture starts with the magic number of pcap or pcapng"
STANDARD_ONLY = "and only the standard pcap (0xa1b2c3d4, or 0xa1b23c4d with nanoseconds) and pcapng can be read"
BLOCK_LENGTHS = "and a block has 12 to 16777216 bytes, a multiple of 4"


def refusal(path):
    """Open and scan; return the CaptureError."""
    with pytest.raises(CaptureError) as caught, Capture(path) as capture:
        capture.scan()
    return caught.value


REFUSED = {
    "empty": (b"", 0, "empty, and a capture starts with a header of at least 24 bytes"),
    "text": (b"hello, world\nsecond line\n", 0, rf"this is text ('hello, world\nsecond '), {MAGIC_WANTED}"),
    "text of another alphabet": ("Grüße\n".encode(), 0, rf"this is text ('Gr\xfc\xdfe\n'), {MAGIC_WANTED}"),
    "terminal escapes": (b"\x1b[2Jgotcha\x07", 0, f"the first bytes are 1b 5b 32 4a 67 6f 74 63, {MAGIC_WANTED}"),
    "ELF": (b"\x7fELF\2\1\1" + bytes(99), 0, f"the first bytes are 7f 45 4c 46 02 01 01 00, {MAGIC_WANTED}"),
    "zstd": (b"\x28\xb5\x2f\xfd" + bytes(30), 0, "this is zstd-compressed data: decompress it first"),
    "twice compressed": (gzip.compress(gzip.compress(HEADER)), 0,
                         "this is gzip inside gzip, and one layer can be read: gunzip it once first (offset after decompression)"),
    "Kuznetzov": (struct.pack("<I", 0xA1B2CD34) + HEADER[4:], 0, f"magic 0xa1b2cd34 is Kuznetzov's modified pcap, {STANDARD_ONLY}"),
    "Navtel": (struct.pack(">I", 0xA12B3C4D) + HEADER[4:], 0, f"magic 0xa12b3c4d is Navtel's modified pcap, {STANDARD_ONLY}"),
    "short header": (HEADER[:20], 0, "the file header breaks off: 20 of its 24 bytes are there"),
    "version": (pcap([], version=(3, 0)), 4, "pcap version 3.0, and 2.0 to 2.4 can be read"),
    "zero snaplen": (pcap([], snaplen=0), 16, "snapshot length 0, and it is 1 to 262144"),
    "link type": (pcap([], linktype=113), 20, "link type LINUX_SLL (113), and only ETHERNET (1) is taken here"),
    "nameless link type": (pcap([], linktype=60000), 20, "link type 60000, and only ETHERNET (1) is taken here"),
    "reserved bits": (pcap([], linktype=0x00010001), 20, "reserved bits set in the link type field 0x00010001, and bits 16 to 25 are 0"),
    "caplen": (pcap([FRAME]) + struct.pack("<IIII", 1, 2, 262145, 262145) + bytes(262145), 100,
               "captured length 262145, and no record holds more than 262144 bytes"),
    "absurd caplen at the end": (HEADER + struct.pack("<IIII", 1, 2, 0xFFFFFFFF, 60), 24,
                                 "captured length 4294967295, and no record holds more than 262144 bytes"),
    "negative fraction": (HEADER + struct.pack("<IiII", 1, -1, 4, 4) + b"data", 24,
                          "negative fraction of a second (0xffffffff), and a time stamp has one from 0 up"),
    "ng: zero block": (NG + bytes(16), 48, f"block length 0, {BLOCK_LENGTHS}"),
    "ng: odd block": (NG + struct.pack("<II", 6, 33) + bytes(40), 48, f"block length 33, {BLOCK_LENGTHS}"),
    "ng: absurd block": (NG + struct.pack("<II", 6, 0xFFFFFFFC) + bytes(40), 48,
                         f"block length 4294967292, {BLOCK_LENGTHS}"),
    "ng: lengths differ": (NG + enhanced(FRAME)[:-4] + struct.pack("<I", 88), 48,
                           "block length 92 at its start but 88 at its end, and both are the same"),
    "ng: short packet block": (NG + block(6, bytes(16)), 48, "packet block of 28 bytes, and one has at least 32"),
    "ng: caplen": (NG + block(6, struct.pack("<IIIII", 0, 0, 0, 100, 100) + bytes(60)), 48,
                   "captured length 100, and the block of 92 bytes has room for 60"),
    "ng: caplen by one": (NG + block(6, struct.pack("<IIIII", 0, 0, 0, 61, 61) + bytes(60)), 48,
                          "captured length 61, and the block of 92 bytes has room for 60"),
    "ng: snaplen": (section() + interface(snaplen=50) + enhanced(FRAME), 48,
                    "captured length 60, and interface 0 captures at most 50 bytes"),
    "ng: simple block": (NG + files.simple(b"x" * 60, orig=90), 48, "captured length 90, and the block of 76 bytes has room for 60"),
    "ng: no interface": (section() + enhanced(FRAME), 28, "a packet of interface 0, and its section has described 0 so far"),
    "ng: interfaces of another section": (NG + section() + enhanced(FRAME), 76,
                                          "a packet of interface 0, and its section has described 0 so far"),
    "ng: link type": (section() + interface(linktype=127) + enhanced(FRAME), 48,
                      "a packet of link type IEEE802_11_RADIOTAP (127), and only ETHERNET (1) is taken here"),
    "ng: magic": (section(magic=0x1A2B3C4E), 0, "byte-order magic 0x1a2b3c4e in a section header, and it is 0x1a2b3c4d or 0x4d3c2b1a"),
    "ng: version": (section(version=(2, 0)), 0, "pcapng version 2.0, and 1.0 and 1.2 can be read"),
    "ng: short section": (block(0x0A0D0D0A, struct.pack("<I", 0x1A2B3C4D)) + bytes(20), 0,
                          "section header of 16 bytes, and one has at least 28"),
    "ng: short interface": (section() + block(1, bytes(4)), 28, "interface description of 16 bytes, and one has at least 20"),
    "ng: option": (section() + interface(options=struct.pack("<HH", 2, 400)), 28,
                   "option 2 of 400 bytes in an interface description with 4 left"),
    "ng: option at the very end": (section() + block(1, struct.pack("<HHIHH", 1, 0, 0, 2, 4)), 28,
                                   "option 2 of 4 bytes in an interface description with 0 left"),
    "ng: if_tsresol": (section() + interface(tsresol=20), 28, "if_tsresol 10^-20 s, and the finest is 10^-19 s"),
    "ng: binary if_tsresol": (section() + interface(tsresol=0xC0), 28, "if_tsresol 2^-64 s, and the finest is 2^-63 s"),
    "ng: if_tsresol twice": (section() + interface(tsresol=9, options=struct.pack("<HHBxxx", 9, 1, 6)), 28,
                             "if_tsresol of 1 bytes or twice, and an interface has one of 1 byte"),
    "ng: time": (section() + interface(tsresol=0) + enhanced(Packet(1 << 34, b"x")), 60,
                 "time stamp 0x400000000, and 64-bit nanoseconds hold times from 1677 to 2262"),
    "ng: short first block": (section()[:20], 0, "the section header breaks off: 20 bytes are there, and one has at least 28"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_damage_is_refused_with_its_place_and_what_would_be_right(tmp_path, name):
    content, offset, reason = REFUSED[name]
    path = tmp_path / "bad"
    path.write_bytes(content)
    error = refusal(path)
    assert (error.filename, error.offset, error.reason) == (str(path), offset, reason)
    assert str(error) == f"{path}: offset {offset}: {reason}"


def test_an_error_is_one_line_whatever_the_file_is_called(tmp_path):
    path = os.fsencode(tmp_path) + b"/a\nb\x1b\xff"
    Path(os.fsdecode(path)).write_bytes(b"x")
    assert str(refusal(path)).encode().endswith(b"/a\\nb\\x1b\\udcff: offset 0: this is text ('x'), " + MAGIC_WANTED.encode())


def test_a_section_with_too_many_interfaces_is_refused_in_little_memory(tmp_path):
    path = tmp_path / "bad"
    path.write_bytes(section() + interface() * 65536 + interface())
    assert str(refusal(path)).endswith("more than 65536 interfaces in one section, and no capture has that many")
    path.write_bytes((section() + interface() * 40000) * 2)
    with Capture(path) as capture:
        assert capture.scan().frames == 0


def test_files_that_cannot_be_opened_are_the_systems_errors_with_their_name(tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        Capture(tmp_path / "missing")
    assert caught.value.filename == str(tmp_path / "missing")
    with pytest.raises(IsADirectoryError) as caught:
        Capture(tmp_path)
    assert caught.value.filename == str(tmp_path)


def sparse(path):
    path.write_bytes(HEADER)
    os.truncate(path, 1 << 30)      # 67 million records without a byte


@pytest.mark.unsanitized            # AddressSanitizer keeps freed memory for a while
@pytest.mark.parametrize("make", [
    lambda path: path.write_bytes(b""),
    lambda path: path.write_bytes(b"text\n" * 100),
    lambda path: path.write_bytes(gzip.compress(bytes(200 << 20), 1)),
    lambda path: path.write_bytes(section() + interface() * 65537),
    sparse,
], ids=["empty", "text", "bomb", "interfaces", "sparse"])
def test_refusing_or_scanning_a_file_takes_less_than_64_mib(tmp_path, make):
    make(tmp_path / "bad")
    script = """if True:
        import sys
        from fastring.capture import Capture
        try:
            Capture(sys.argv[1]).scan()
        except ValueError:
            pass
        assert "numpy" not in sys.modules
        print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
    """
    done = subprocess.run([sys.executable, "-", tmp_path / "bad"], input=script, capture_output=True, text=True, check=True)
    assert int(done.stdout) < 64 << 10


def test_a_decompression_bomb_stops_at_the_limit(tmp_path):
    path = tmp_path / "bomb.gz"
    path.write_bytes(gzip.compress(HEADER + bytes(64 << 20)))
    with pytest.raises(CaptureError, match="more than 10000000 bytes once unpacked, the limit; spool_limit= allows more"):
        Capture(path, spool_limit=10_000_000)


def test_spooling_leaves_the_temporary_directory_some_room(tmp_path, monkeypatch):
    path = tmp_path / "capture.gz"
    path.write_bytes(gzip.compress(pcap([FRAME])))
    room = os.statvfs(tmp_path)
    monkeypatch.setattr(os, "statvfs", lambda directory: SimpleNamespace(f_bavail=1, f_frsize=room.f_frsize))
    with pytest.raises(CaptureError, match="unpacking it would leave less than 256 MiB free"):
        Capture(path)


def test_damaged_gzip_is_refused(tmp_path):
    path = tmp_path / "capture.gz"
    packed = bytearray(gzip.compress(pcap([FRAME])))
    packed[-6] ^= 1
    path.write_bytes(packed)
    assert "damaged gzip data" in str(refusal(path))
    path.write_bytes(gzip.compress(pcap([FRAME])) + b"garbage")
    assert "damaged gzip data" in str(refusal(path))


def test_a_file_that_shrinks_while_it_is_read_is_an_error_and_no_crash(tmp_path):
    path = tmp_path / "capture"
    path.write_bytes(pcap([FRAME] * 100_000))
    with Capture(path) as capture:
        cursor, burst = capture.cursor(), Burst(64)
        assert cursor.read(burst) == 64
        os.truncate(path, 4096)
        for read in (lambda: cursor.read(burst), lambda: next(cursor), capture.scan):
            with pytest.raises(CaptureError, match=r"the file shrank while it was read \(7600024 bytes then, 4096 now\): frames"):
                read()


def test_a_cursor_delivers_what_lies_before_the_damage_and_then_says_what_it_is(tmp_path):
    path = tmp_path / "bad"
    path.write_bytes(pcap([FRAME] * 3) + struct.pack("<IIII", 1, 2, 262145, 60) + bytes(300_000))
    with Capture(path) as capture:
        cursor, burst = capture.cursor(loop=0), Burst(2)
        assert [cursor.read(burst), cursor.read(burst)] == [2, 1]
        assert cursor.error.offset == 24 + 3 * 76
        for _ in range(2):
            with pytest.raises(CaptureError, match="captured length 262145"):
                cursor.read(burst)


def everything(path):
    """All frames before the first damage, if there is one."""
    frames = []
    try:
        with Capture(path) as capture:
            try:
                frames.extend(capture)
            finally:
                assert len(capture.cursor().capture.data) == capture.size
    except CaptureError as stopped:
        if "\n" in str(stopped):
            raise
    return frames


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(sorted(files.FILES)), st.integers(0, 2000), st.booleans())
def test_a_cut_file_yields_a_prefix(tmp_path, name, length, compressed):
    path = tmp_path / "cut"
    content = files.FILES[name]
    path.write_bytes(content)
    whole = everything(path)
    path.write_bytes(gzip.compress(content, mtime=0)[:length] if compressed else content[:length])
    frames = everything(path)
    assert frames == whole[: len(frames)]
    assert len(frames) == len(whole) or len(content) > length or compressed


@settings(deadline=None, max_examples=500, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(sorted(files.FILES)), st.lists(st.tuples(st.integers(0, 1 << 16), st.integers(0, 255)), max_size=4))
def test_changed_bytes_never_crash_and_scan_index_and_cursor_agree(tmp_path, name, changes):
    path = tmp_path / "changed"
    content = bytearray(files.FILES[name])
    for position, value in changes:
        content[position % len(content)] = value
    path.write_bytes(content)
    frames = everything(path)
    try:
        with Capture(path) as capture:
            summary = capture.scan()
            assert summary.frames == len(frames) == len(capture.index())
            assert summary.bytes == sum(len(data) for _, data in frames)
    except CaptureError:
        pass
