"""`fastring capture`: from a wire to files, over a UNIX datagram socket."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time

import pytest

from softnet.capturing import Capturing, FileNames

PACKETS = [bytes([i]) * (60 + i) for i in range(100)]
LONG = 60


@pytest.fixture
def spec(tmp_path):
    return f"unix:{tmp_path}/wire"


@pytest.fixture
def world(tmp_path):
    """Sends datagrams to the wire."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.settimeout(LONG)

        def send(packets):
            for packet in packets:
                sender.sendto(packet, f"{tmp_path}/wire")

        yield send


def captured(world, packets, spec, path, **options):
    """What a capture of these packets, and no more, becomes."""
    capturing = Capturing(spec, path, **{"count": len(packets), **options})
    for packet in packets:  # a socket holds few datagrams
        world([packet])
        if not capturing.ring.full:
            capturing.port.poll()
    return capturing.run()


@pytest.mark.parametrize("name", ["out.pcap", "out.pcapng"])
def test_what_arrives_is_in_the_file(world, spec, tmp_path, frames_of, name):
    before = time.time_ns()
    result = captured(world, PACKETS, spec, tmp_path / name)
    frames = frames_of(tmp_path / name)
    assert [packet for _, packet in frames] == PACKETS
    assert all(before <= when <= time.time_ns() for when, _ in frames)
    assert (result.received, result.captured, result.bytes, result.drops) == (100, 100, sum(map(len, PACKETS)), {})


def test_a_count_is_exact_and_the_rest_is_told(world, spec, tmp_path, frames_of):
    capturing = Capturing(spec, tmp_path / "o.pcap", count=7)
    world(PACKETS[:9])
    result = capturing.run()
    assert [packet for _, packet in frames_of(tmp_path / "o.pcap")] == PACKETS[:7]
    assert (result.captured, result.received) == (7, 7 + result.not_wanted)


def test_packets_are_cut_and_filtered(world, spec, tmp_path, frames_of):
    result = captured(world, PACKETS, spec, tmp_path / "o.pcap", snaplen=64, filter="greater 100", count=60)
    assert [packet for _, packet in frames_of(tmp_path / "o.pcap")] == [packet[:64] for packet in PACKETS[40:]]
    assert (result.filtered, result.truncated, result.received) == (40, 60, 100)


def test_files_follow_one_another_by_size(world, spec, tmp_path, frames_of):
    result = captured(world, PACKETS, spec, tmp_path / "o.pcap", file_size=3000)
    assert len(result.files) > 2
    assert result.files[:2] == [str(tmp_path / "o.pcap"), str(tmp_path / "o.pcap1")]
    assert [packet for file in result.files for _, packet in frames_of(file)] == PACKETS
    sizes = [os.path.getsize(file) for file in result.files]
    assert all(3000 < size < 3000 + 200 for size in sizes[:-1])


@pytest.mark.parametrize("format", ["pcap", "pcapng"])
def test_a_ring_of_files_keeps_the_last(world, spec, tmp_path, frames_of, format):
    result = captured(world, PACKETS, spec, tmp_path / "o", file_size=2000, files=3, format=format)
    assert sorted(os.path.basename(file) for file in result.files) == ["o0", "o1", "o2"]
    assert result.overwritten > 0
    kept = [packet for file in result.files for _, packet in frames_of(file)]
    assert kept == PACKETS[-len(kept) :]
    assert result.captured == 100


def test_names_are_tcpdumps():
    sized = FileNames("f", sized=True, timed=False, files=12)
    assert [sized.next(0) for _ in range(13)] == [*(f"f{i:02}" for i in range(12)), "f00"]
    timed = FileNames("f%s", sized=False, timed=True, files=2)
    assert [timed.next(5 * 10**9), timed.next(9 * 10**9), timed.next(10**10)] == ["f5", "f9", None]
    same = FileNames("f", sized=False, timed=True, files=None)
    assert [same.next(0), same.next(0)] == ["f", "f1"]


def test_files_by_time_end_the_capture(world, spec, tmp_path, monkeypatch):
    capturing = Capturing(spec, tmp_path / "o", file_seconds=1, files=2)
    deadline = time.monotonic() + LONG
    while not capturing.ring.full and time.monotonic() < deadline:
        world(PACKETS[:1])
        capturing.port.poll()
        time.sleep(0.05)
    result = capturing.run()
    assert result.files == [str(tmp_path / "o"), str(tmp_path / "o1")]
    assert result.drops == {}
    assert result.captured == result.received - result.not_wanted < result.received


def test_a_duration_ends_it(spec, tmp_path):
    result = Capturing(spec, tmp_path / "o", duration=0.05).run()
    assert (result.captured, result.problem) == (0, None)


def test_a_disk_that_is_full_is_told(spec):
    with pytest.raises(OSError, match="No space left"):
        Capturing(spec, "/dev/full", count=5)


@contextlib.contextmanager
def running(*arguments):
    command = [sys.executable, "-m", "softnet.cli", "capture", *map(str, arguments)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        assert b"capturing on" in process.stderr.readline()
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_statistics(world, spec, tmp_path, frames_of, stop):
    path = tmp_path / "o.pcap"
    with running("-i", spec, "-w", path, "--json") as process:
        world(PACKETS)
        deadline = time.monotonic() + LONG
        while path.stat().st_size < sum(map(len, PACKETS)) and time.monotonic() < deadline:
            time.sleep(0.01)  # what has come is in the file while nothing comes
        process.send_signal(stop)
        out, err = process.communicate(timeout=LONG)
    assert (process.returncode, err) == (0, b"")
    assert json.loads(out)["captured"] == 100
    assert [packet for _, packet in frames_of(path)] == PACKETS


def test_to_standard_output(world, spec, tmp_path, frames_of):
    with running("-i", spec, "-w", "-", "-c", "20", "greater 80") as process:
        world(PACKETS[:40])
        out, err = process.communicate(timeout=LONG)
    (tmp_path / "o.pcap").write_bytes(out)
    assert [packet for _, packet in frames_of(tmp_path / "o.pcap")] == PACKETS[20:40]
    assert process.returncode == 0
    assert b"captured" in err
    assert b"dropped" in err


def test_a_reader_that_has_gone_ends_it_and_is_told(world, spec):
    with running("-i", spec, "-w", "-", "--json") as process:
        process.stdout.read(24)  # the header
        process.stdout.close()
        world(PACKETS[:1])
        assert process.wait(LONG) == 1
        problem, result = process.stderr.read().decode().splitlines()
    assert problem == "fastring capture: standard output: Broken pipe"
    assert sum(json.loads(result)["drops"].values()) > 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-i", "null", "-w", "x"], "nothing arrives"),
        (["-i", "nonsense:x", "-w", "x"], "there is no wire"),
        (["-i", "unix:/tmp/x", "-w", "-", "-C", "1"], "has no next one"),
        (["-i", "unix:/tmp/x", "-w", "x", "-W", "2"], "needs a size or a time"),
        (["-i", "unix:/tmp/x", "-w", "x", "-f", "port", "udp"], "not both"),
        (["-i", "unix:/tmp/x", "-w", "x", "-f", "no such filter"], "no such filter"),
        (["-i", "unix:/tmp/x", "-w", "x", "-c", "0"], "1 or more"),
        (["-i", "unix:/tmp/x", "-w", "x", "-C", "99999999999999999"], "too much"),
        (["-i", "unix:/tmp/x", "-w", "x", "-G", "9999999999999"], "too much"),
        (["-w", "x"], "required"),
    ],
)
def test_bad_usage_is_one_line(fastring, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    outcome = fastring("capture", *[argument.replace("/tmp", str(tmp_path)) for argument in arguments])
    assert (outcome.status, outcome.out) == (2, "")
    assert message in outcome.err
    assert outcome.err.count("\n") == 1
    assert os.listdir(tmp_path) == []
