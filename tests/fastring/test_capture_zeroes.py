"""Captures that go on in zeroes, as after a crash or with a hole in them, are told at once where that begins, however large they are."""

import json
import os
import struct

import pytest

from fastring.burst import Burst
from fastring.capture import Capture, CaptureError
from fastring.capture_writer import CaptureWriter
from softnet.cli import main

HUGE = 100 << 30
RUN = 64 << 10  # bytes of zeroes in a row that no capture has
FRAMES = [b"\x02\0\0\0\0\1\x02\0\0\0\0\2\x88\xb5" + bytes([n]) * 100 for n in range(20)]


@pytest.fixture(params=["pcap", "pcapng"])
def sparse(request, tmp_path):
    """A capture of 20 frames and a hole, and where the hole begins."""
    return in_zeroes(tmp_path / f"sparse.{request.param}", HUGE)


def in_zeroes(path, size, frames=FRAMES):
    with CaptureWriter(path) as writer:
        if frames:
            writer.on_burst(Burst.from_packets(frames, times=range(10**18, 10**18 + len(frames))))
    end = path.stat().st_size
    os.truncate(path, size or end)
    return path, end


def reason(path, end):
    if path.suffix == ".pcapng":
        return f"{path}: offset {end}: block length 0, and a block has 12 to 16777216 bytes, a multiple of 4"
    return (f"{path}: offset {end}: nothing but zeroes from here on, for {RUN} bytes or more: this was never written to its end; "
            "the records before it are usable")


def fastring(capsys, *words):
    status = main([*map(str, words)])
    said = capsys.readouterr()
    return status, said.out, said.err


def test_replay_tells_where_the_zeroes_begin(sparse, capsys):
    path, end = sparse
    status, out, err = fastring(capsys, "replay", path, "--json")
    assert err == f"fastring replay: {reason(path, end)}\n"
    if path.suffix == ".pcapng":  # damage: nothing of it is believed
        assert (status, out) == (2, "")
    else:
        result = json.loads(out)
        assert (status, result["sent"], result["received"], result["drops"]) == (1, 20, 20, {})


def test_rewrite_writes_what_lies_before(sparse, tmp_path, capsys):
    path, end = sparse
    status, out, err = fastring(capsys, "rewrite", path, tmp_path / "out.pcap")
    assert (status, err) == (1, f"fastring rewrite: {reason(path, end)}\n")
    assert out.startswith("20 of 20 packets written")
    with Capture(tmp_path / "out.pcap") as written:
        assert [packet for _, packet in written] == FRAMES


def test_diff_and_generate(sparse, tmp_path, capsys):
    path, end = sparse
    whole, _ = in_zeroes(tmp_path / "whole.pcap", None)
    assert fastring(capsys, "diff", whole, path) == (2, "", f"fastring diff: {reason(path, end)}\n")
    assert fastring(capsys, "generate", "--template", path, "--count", "3")[0] == 0
    hollow, _ = in_zeroes(tmp_path / "hollow.pcap", HUGE, frames=[])
    assert fastring(capsys, "generate", "--template", hollow, "--count", "3") == (
        2, "", f"fastring generate: {hollow}: there is no packet in it\n")


def test_a_pass_ends_where_the_zeroes_begin(tmp_path):
    path, end = in_zeroes(tmp_path / "sparse.pcap", HUGE)
    with Capture(path) as capture:
        cursor = capture.cursor(loop=3)
        assert [packet for _, packet in cursor] == 3 * FRAMES
        assert (cursor.empty, cursor.loops, cursor.position, str(cursor.broken_off)) == (0, 3, end, reason(path, end))
        assert (capture.scan().frames, len(capture.index())) == (20, 20)


@pytest.mark.parametrize(("zeroes", "empty"), [(RUN - 16, RUN // 16 - 1), (RUN, None), (RUN + 5, None), (160, 10)])
def test_a_few_empty_records_are_records(tmp_path, zeroes, empty):
    """At the end of the file, and before another record."""
    path, end = in_zeroes(tmp_path / "few.pcap", None)
    data = path.read_bytes()
    for more in (b"", data[24:]):
        path.write_bytes(data + bytes(zeroes) + more)
        with Capture(path) as capture:
            summary = capture.scan()
        if empty is None:
            assert (summary.frames, summary.empty, summary.broken_off.offset) == (20, 0, end)
        else:
            assert (summary.frames, summary.empty, summary.broken_off) == (40 if more else 20, empty, None)


def test_runs_of_zeroes_between_records_are_each_looked_at_once(tmp_path):
    """As many runs just short of the limit as would take minutes if each record were compared with what follows."""
    path, _ = in_zeroes(tmp_path / "runs.pcap", None, frames=[])
    run = bytes(RUN - 16) + struct.pack("=IIII", 1, 1, 4, 4) + b"abcd"
    with path.open("ab") as target:
        for _ in range(1000):
            target.write(run)
    with Capture(path) as capture:
        summary = capture.scan()
    assert (summary.frames, summary.empty, summary.broken_off) == (1000, 1000 * (RUN // 16 - 1), None)


def test_damage_behind_zeroes_is_still_damage(tmp_path):
    path, end = in_zeroes(tmp_path / "damaged.pcap", None)
    with path.open("ab") as target:
        target.write(bytes(160) + b"\xff" * 16)
    with Capture(path) as capture, pytest.raises(CaptureError, match=f"offset {end + 160}: captured length 4294967295"):
        capture.scan()
