"""`fastring diff`: the same, or the first difference in one line."""

import time
from types import SimpleNamespace

import pytest

from fastring.capture import CaptureError
from softnet.diff import diff

FRAME = bytes(range(64))


@pytest.fixture
def pair(capture):
    """Write two captures; return them with what diff finds."""

    def make(first, second, **options):
        a, b = capture(first, "a.pcap"), capture(second, "b.pcapng")
        return SimpleNamespace(a=a, b=b, **vars(diff(a, b, **options)))

    return make


def test_every_capture_is_the_same_as_itself(data, fastring):
    paths = [path for path in data.iterdir() if ".pcap" in path.name]
    assert len(paths) >= 13
    for path in paths:
        outcome = fastring("diff", path, path, "--times")
        assert (outcome.status, outcome.err) == (0, "")
        assert outcome.out.startswith("the same ")
        assert outcome.out.endswith(" frames in the same order, time stamps included\n")


def test_the_format_does_not_matter_nor_do_times_unless_asked(pair):
    assert pair([(1, FRAME), (2, FRAME)], [(5, FRAME), (2, FRAME)]).text == "the same 2 frames in the same order"


@pytest.mark.parametrize("byte", [0, 1, 31, 62, 63])
def test_one_byte_is_found_wherever_it_is(byte, pair):
    changed = FRAME[:byte] + bytes([FRAME[byte] ^ 0x80]) + FRAME[byte + 1 :]
    found = pair([FRAME, FRAME, FRAME], [FRAME, FRAME, changed])
    assert (found.same, found.frames) == (False, 2)
    assert found.text.startswith(f"frame 3 differs: byte {byte} of 64, counted from 0, is {byte:02x} against {byte ^ 0x80:02x}")


def test_lengths_differ(pair):
    assert pair([FRAME], [FRAME[:-1]]).text == "frame 1 differs: 64 bytes against 63, the first 63 the same"
    assert pair([FRAME], [b"\1" + FRAME[1:-1]]).text == "frame 1 differs: 64 bytes against 63, differing from byte 0 on"


def test_one_has_more_frames(pair):
    found = pair([FRAME] * 3, [FRAME] * 2)
    assert (found.same, found.frames) == (False, 2)
    assert found.text == f"3 frames against 2: the first 2 are the same, then {found.b} ends"
    found = pair([], [FRAME])
    assert found.text == f"0 frames against 1: the first 0 are the same, then {found.a} ends"


def test_order_matters(pair):
    other = FRAME[::-1]
    assert not pair([FRAME, other], [other, FRAME]).same


def test_two_captures_without_frames_are_the_same(pair):
    assert pair([], []).same


def test_times_are_compared_to_the_nanosecond(pair):
    found = pair([(10**18, FRAME), (10**18 + 1, FRAME)], [(10**18, FRAME), (10**18 + 2, FRAME)], times=True)
    assert found.text == "frame 2 differs: its time is 1000000000.000000001 s against 1000000000.000000002 s"
    assert pair([(10**18, FRAME)], [(10**18, FRAME)], times=True).same


def test_padding_is_forgiven_when_asked_and_only_zeroes_up_to_60_bytes(pair):
    short = b"\1" * 42
    assert not pair([short], [short.ljust(60, b"\0")]).same
    assert pair([short], [short.ljust(60, b"\0")], padding=True).same
    assert pair([short.ljust(60, b"\0")], [short], padding=True).same
    assert not pair([short], [short.ljust(61, b"\0")], padding=True).same
    assert not pair([short], [short.ljust(59, b"\0") + b"\1"], padding=True).same
    assert not pair([FRAME], [FRAME + b"\0"], padding=True).same
    assert not pair([(1, short)], [(2, short.ljust(60, b"\0"))], padding=True, times=True).same


def test_records_without_bytes_are_not_passed_over_in_silence(pcap, record, fastring, tmp_path):
    (tmp_path / "a.pcap").write_bytes(pcap(record(FRAME), record(b"")))
    (tmp_path / "b.pcap").write_bytes(pcap(record(FRAME)))
    outcome = fastring("diff", tmp_path / "a.pcap", tmp_path / "b.pcap")
    assert (outcome.status, outcome.out) == (1, "the same 1 frames, but 1 records of no bytes against 0\n")


def test_link_types_other_than_ethernet_can_be_compared(pcap, record, fastring, tmp_path):
    (tmp_path / "a.pcap").write_bytes(pcap(record(FRAME), linktype=101))
    assert fastring("diff", tmp_path / "a.pcap", tmp_path / "a.pcap").status == 0


def test_a_capture_that_breaks_off_cannot_be_compared(pcap, record, fastring, tmp_path):
    (tmp_path / "a.pcap").write_bytes(pcap(record(FRAME), record(FRAME)[:-1]))
    outcome = fastring("diff", tmp_path / "a.pcap", tmp_path / "a.pcap")
    assert (outcome.status, outcome.out, outcome.err.count("\n")) == (2, "", 1)
    with pytest.raises(CaptureError, match="ends inside a record"):
        diff(tmp_path / "a.pcap", tmp_path / "a.pcap")


def test_ten_thousand_frames_are_compared_quickly(data):
    start = time.process_time()
    assert diff(data / "mixed.pcap", data / "mixed.pcap", times=True, padding=True).frames == 11017
    assert time.process_time() - start < 0.3
