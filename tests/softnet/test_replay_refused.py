"""Bad usage and bad input: one clear line on standard error, exit status 2, no traceback, little memory, nothing overwritten."""

import ctypes
import gzip
import os
import re
import resource
import struct
import subprocess
import sys

import pytest

MEASURED = """
import re, sys
from softnet.cli import main
status = main(sys.argv[2:])
peak = re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1]
open(sys.argv[1], "w").write(peak)
sys.exit(status)
"""

# AddressSanitizer alone takes more memory than is allowed here.
SANITIZED = "asan" in os.environ.get("LD_PRELOAD", "")


@pytest.fixture
def refused(tmp_path):
    """Run the command in a process of its own, and return the one line it says; checks everything else refusals share."""

    def run(*arguments, **options):
        command = [sys.executable, "-c", MEASURED, tmp_path / "peak", *arguments]
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=60, cwd=tmp_path, **options)
        assert done.returncode == 2, done
        assert done.stdout == ""
        assert re.fullmatch(r"fastring( \w+)?: [^\n]+\n", done.stderr)
        assert SANITIZED or int((tmp_path / "peak").read_text()) < 64 << 10, "peak RSS in KiB"
        return done.stderr.rstrip("\n").split(": ", 1)[1]

    return run


# --- input ---


def header(**fields):
    values = {"magic": 0xA1B2C3D4, "major": 2, "minor": 4, "snaplen": 65535, "linktype": 1} | fields
    return struct.pack("<IHHiIII", values["magic"], values["major"], values["minor"], 0, 0, values["snaplen"], values["linktype"])


BAD_FILES = {
    "empty": (b"", 0, "empty"),
    "text": (b"hello, this is no capture\n" * 4, 0, "this is text"),
    "binary": (bytes(range(0x80, 0x100)), 0, "first bytes are 80 81 82"),
    "truncated header": (header()[:23], 0, "23 of its 24 bytes"),
    "link type": (header(linktype=228), 20, "IPV4 (228)"),
    "unknown link type": (header(linktype=9999), 20, "9999"),
    "version": (header(major=9), 4, "9.4"),
    "zero snaplen": (header(snaplen=0), 16, "snapshot length 0"),
    "caplen": (header() + struct.pack("<IIII", 1, 0, 262145, 262145) + bytes(262145), 24, "262145"),
    "caplen of 4 GB": (header() + struct.pack("<IIII", 1, 0, 0xFFFFFFFF, 0xFFFFFFFF) + bytes(100), 24, "4294967295"),
    "negative fraction": (header() + struct.pack("<IiII", 1, -1, 60, 60) + bytes(60), 24, "fraction"),
    "second record": (header() + struct.pack("<IIII", 1, 0, 60, 60) + bytes(60) + struct.pack("<IiII", 1, -5, 60, 60) + bytes(60), 100, ""),
    "pcapng": (struct.pack("<III", 0x0A0D0D0A, 28, 0x12345678) + bytes(16), 0, "byte-order magic"),
}


@pytest.mark.parametrize(
    ("command", "name"),
    [("replay", name) for name in BAD_FILES] + [("diff", name) for name in BAD_FILES if "link type" not in name],  # diff takes any
)
def test_a_bad_capture_is_refused_with_its_name_the_offset_and_the_reason(name, command, refused, data, tmp_path):
    content, offset, reason = BAD_FILES[name]
    (tmp_path / "bad.pcap").write_bytes(content)
    said = refused(command, *([data / "arp.pcap"] if command == "diff" else ["--out", "out.pcap"]), "bad.pcap")
    assert said.startswith("bad.pcap: ")
    assert re.search(rf"\boffset {offset}\b", said)
    assert reason in said
    assert not (tmp_path / "out.pcap").exists()


def test_a_bad_capture_among_good_ones_is_refused_before_a_frame_is_sent(refused, data, tmp_path):
    (tmp_path / "bad.pcap").write_bytes(b"")
    assert refused("replay", data / "arp.pcap", "bad.pcap", "--out", "out.pcap").startswith("bad.pcap: ")
    assert not (tmp_path / "out.pcap").exists()


def test_damaged_gzip_is_refused(refused, data, tmp_path):
    packed = bytearray(gzip.compress((data / "arp.pcap").read_bytes()))
    packed[len(packed) // 2] ^= 0xFF
    (tmp_path / "bad.pcap.gz").write_bytes(packed)
    assert refused("replay", "bad.pcap.gz").startswith("bad.pcap.gz: ")


def test_what_cannot_be_opened_is_named(refused, data):
    assert refused("replay", "missing.pcap") == "missing.pcap: No such file or directory"
    assert refused("replay", data) == f"{data}: Is a directory"
    assert refused("diff", data / "arp.pcap", "missing.pcap") == "missing.pcap: No such file or directory"


def test_a_name_that_breaks_lines_is_told_on_one(refused):
    assert refused("replay", "mis\nsing\x1b[31m.pcap") == "mis\\nsing\\x1b[31m.pcap: No such file or directory"


def test_a_name_that_is_no_text_is_told(data, tmp_path, process):
    path = os.fsencode(tmp_path) + b"/caf\xe9.pcap"
    with open(path, "wb") as file:
        file.write((data / "arp.pcap").read_bytes()[: 24 + 58])
    outcome = process("diff", os.fsdecode(path), data / "arp.pcap")
    assert outcome.status == 1
    assert "caf\\udce9.pcap ends" in outcome.out
    assert process("replay", os.fsdecode(path)).status == 0


@pytest.mark.parametrize("suffix", ["pcap", "pcap.gz"])
@pytest.mark.parametrize("clock", ["real", "virtual"])
def test_whole_records_before_a_break_are_replayed_and_the_break_is_told(suffix, clock, pcap, record, frame, process, tmp_path):
    content = pcap(*(record(frame(100, n)) for n in range(50)), record(frame(100))[:-1])
    (tmp_path / f"in.{suffix}").write_bytes(gzip.compress(content) if suffix.endswith("gz") else content)
    outcome = process("replay", f"in.{suffix}", "--clock", clock, "--loop", 3, cwd=tmp_path)
    assert outcome.status == 1
    assert "received   150 frames" in outcome.out
    assert re.fullmatch(rf"fastring replay: in.{suffix}: offset {24 + 50 * 116}: [^\n]+\n", outcome.err)


def test_gzip_that_breaks_off_is_replayed_up_to_there(data, process, tmp_path):
    (tmp_path / "in.pcap.gz").write_bytes((data / "dns-ns.pcap.gz").read_bytes()[:-2000])
    outcome = process("replay", tmp_path / "in.pcap.gz")
    assert outcome.status == 1
    assert 500 < int(re.search(r"received\s+([\d,]+) frames", outcome.out)[1].replace(",", "")) < 1000
    assert outcome.err.count("\n") == 1


# --- output ---


def test_an_output_that_cannot_be_written_is_refused(refused, data, tmp_path):
    for out, why in (
        (tmp_path, "Is a directory"),
        (tmp_path / "missing" / "out.pcap", "No such file or directory"),
        ("/dev/full", "No space left on device"),
    ):
        assert refused("replay", data / "arp.pcap", "--out", out) == f"{out}: {why}"
        assert refused("replay", data / "arp.pcap", "--wire", f"pcap:{out}") == f"{out}: {why}"


def give_up_roots_way_past_permissions():
    """In a child before its exec: CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH leave the bounding set (fails harmlessly if not root)."""
    for capability in (1, 2):
        ctypes.CDLL(None).prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP


def test_files_without_permission_are_refused(refused, data, tmp_path):
    (tmp_path / "out.pcap").touch(0o400)
    (tmp_path / "in.pcap").touch(0o200)
    unprivileged = {"preexec_fn": give_up_roots_way_past_permissions}
    assert refused("replay", data / "arp.pcap", "--out", "out.pcap", **unprivileged) == "out.pcap: Permission denied"
    assert refused("replay", "in.pcap", **unprivileged) == "in.pcap: Permission denied"


@pytest.mark.parametrize("source", ["arp.pcap", "two-interfaces.pcapng", "dns-ns.pcap.gz"])
@pytest.mark.parametrize("link", ["same", "symlink", "hardlink"])
@pytest.mark.parametrize("option", ["--out={}", "--wire=pcap:{}", "--wire=pcapng:{}"])
def test_the_input_is_never_overwritten(source, link, option, refused, data, tmp_path):
    original = (data / source).read_bytes()
    (tmp_path / source).write_bytes(original)
    target = source if link == "same" else "other.pcap"
    if link == "symlink":
        (tmp_path / target).symlink_to(source)
    elif link == "hardlink":
        (tmp_path / target).hardlink_to(tmp_path / source)
    said = refused("replay", data / "arp.pcap", source, option.format(target))
    assert said == f"{target}: a capture being read or written cannot be overwritten"
    assert (tmp_path / source).read_bytes() == original


# --- usage ---


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ("", "COMMAND"),
        ("play", "'play'"),
        ("--loop", "COMMAND"),
        ("replay", "CAPTURE"),
        ("replay arp.pcap --bogus", "--bogus"),
        ("replay arp.pcap --loop -1", "--loop: '-1' is not a whole number of 0 or more"),
        ("replay arp.pcap --loop 1.5", "'1.5' is not a whole number"),
        ("replay arp.pcap --limit many", "'many' is not a whole number"),
        ("replay arp.pcap --limit 9223372036854775808", "a whole number of 0 to 9223372036854775807"),
        ("replay arp.pcap --limit", "--limit"),
        ("replay arp.pcap --clock sundial", "'sundial'"),
        ("replay arp.pcap --mtu 0", "the MTU is 46 to 16110, not 0"),
        ("replay arp.pcap --mtu 45", "not 45"),
        ("replay arp.pcap --mtu 16111", "not 16111"),
        ("replay arp.pcap --mtu 9223372036854775807", "the MTU is 46 to 16110"),
        ("replay arp.pcap --mtu x", "'x' is not a whole number"),
        ("replay arp.pcap --wire string", "there is no wire 'string': it is pair, pair:lossy, null, pcap:FILE, pcapng:FILE"),
        ("replay arp.pcap --wire=", "there is no wire ''"),
        ("replay arp.pcap --wire pair:odd", "not 'pair:odd'"),
        ("replay arp.pcap --wire null:x", "takes no argument"),
        ("replay arp.pcap --wire pcap", "pcap:FILE"),
        ("replay arp.pcap --wire pcapng:", "pcapng:FILE"),
        ("replay arp.pcap --clock virtual --wire udp:127.0.0.1:9", "'udp:127.0.0.1:9' leads to where time is real"),
        ("replay arp.pcap --clock virtual --wire fault:loss=1%@udp:127.0.0.1:9", "leads to where time is real"),
        ("diff arp.pcap", "B"),
        ("diff arp.pcap arp.pcap arp.pcap", "arp.pcap"),
    ],
)
def test_bad_usage_is_told_in_one_line(arguments, reason, refused, data, tmp_path):
    (tmp_path / "arp.pcap").write_bytes((data / "arp.pcap").read_bytes())
    assert reason in refused(*arguments.split())


@pytest.mark.parametrize("options", ["--mtu 45", "--wire string", "--wire null", "--wire pcap:wire.pcap", "--clock sundial"])
def test_bad_usage_leaves_no_file_and_touches_none(options, refused, data, tmp_path):
    (tmp_path / "kept.pcap").write_bytes(b"kept")
    for out in ("kept.pcap", "new.pcap"):
        refused("replay", data / "arp.pcap", "--out", out, *options.split())
    assert {path.name for path in tmp_path.iterdir()} == {"kept.pcap", "peak"}
    assert (tmp_path / "kept.pcap").read_bytes() == b"kept"


def test_an_output_for_a_wire_that_ends_there_is_refused(refused, data):
    said = refused("replay", data / "arp.pcap", "--wire", "null", "--out", "out.pcap")
    assert said == "nothing is received over the wire 'null', so there is nothing to write to 'out.pcap'"


def test_a_name_of_nothing_is_shown(refused, data):
    assert refused("replay", "") == "'': No such file or directory"
    assert refused("diff", data / "arp.pcap", "") == "'': No such file or directory"
    assert refused("replay", data / "arp.pcap", "--out", "") == "'': No such file or directory"


@pytest.mark.parametrize("option", ["--limit", "--loop", "--mtu"])
@pytest.mark.parametrize("number", ["9223372036854775808", "9" * 100, "9" * 5000])
def test_a_number_too_large_is_told_with_its_range_and_in_short(number, option, refused):
    said = refused("replay", "arp.pcap", option, number)
    shown = number if len(number) <= 20 else "9" * 19 + "…"
    assert f"'{shown}' is too much: it is a whole number of 0 to 9223372036854775807;" in said


@pytest.mark.parametrize("arguments", ["replay arp.pcap --lim 3", "diff arp.pcap arp.pcap --time", "--vers"])
def test_an_option_is_spelled_in_full(arguments, refused):
    assert refused(*arguments.split())


@pytest.mark.parametrize("device", ["/dev/zero", "/dev/urandom"])
def test_a_device_that_gives_no_capture_is_refused_at_once(device, refused, tmp_path):
    said = refused("replay", device, env={**os.environ, "TMPDIR": str(tmp_path)}, preexec_fn=few_megabytes)
    assert said.startswith(f"{device}: offset 0: ")


def few_megabytes():
    """In a child before its exec: no file gets larger."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (4 << 20, 4 << 20))


@pytest.mark.parametrize("name", ["text", "binary", "caplen of 4 GB", "pcapng"])
@pytest.mark.parametrize("packed", [False, True])
def test_what_is_no_capture_is_refused_before_the_rest_of_it_is_spooled(name, packed, refused, tmp_path):
    content, offset, reason = BAD_FILES[name]
    path = tmp_path / "bad.gz"
    path.write_bytes(gzip.compress(content + bytes(64 << 20), 1))
    said = refused("replay", path, preexec_fn=few_megabytes) if packed else refused(
        "replay", "-", stdin=subprocess.Popen(["gunzip", "-c", path], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout,
        preexec_fn=few_megabytes)
    assert said.startswith(f"{path if packed else 'standard input'}: offset {offset}: ")
    assert reason in said


def test_standard_input_without_a_capture_is_refused(refused):
    assert refused("replay", "-", stdin=subprocess.DEVNULL).startswith("standard input: offset 0: empty")


def test_a_terminal_on_standard_input_is_refused(refused):
    ours, theirs = os.openpty()
    try:
        assert refused("replay", "-", stdin=theirs) == "standard input is a terminal: pipe a capture in, or name a file"
    finally:
        os.close(ours)
        os.close(theirs)
