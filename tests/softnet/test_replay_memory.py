"""A capture is never loaded: two million frames, or four gigabytes, are replayed in the memory that a few take."""

import gzip
import json
import re
import shutil
import subprocess
import sys

import pytest

from fastring.burst import Burst
from fastring.capture_writer import CaptureWriter

FRAMES = 2_000_000
LIMIT = 200 << 10  # KiB of anonymous memory

MEASURED = """
import re, sys
from softnet.replay import Replay

peak = 0

def measure(sent=0):
    global peak
    peak = max(peak, int(re.search(r"RssAnon:\\s+(\\d+) kB", open("/proc/self/status").read())[1]))

measure()
result = Replay([sys.argv[1]], clock=sys.argv[2]).run(measure)
measure()
print(result.received, peak)
"""


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """A capture of two million frames of 60 to 123 bytes."""
    path = tmp_path_factory.mktemp("large") / "large.pcap"
    packets = [bytes(6) + b"\x52\x54\0\0\0\x09\x88\xb5" + bytes(46 + n % 64) for n in range(10_000)]
    burst = Burst.from_packets(packets, times=[10**18 + n for n in range(10_000)])
    with CaptureWriter(path) as writer:
        for _ in range(FRAMES // 10_000):
            writer.on_burst(burst)
    yield path
    path.unlink()


@pytest.mark.parametrize("clock", ["real", "virtual"])
def test_two_million_frames_are_replayed_in_little_memory(large, clock):
    done = subprocess.run([sys.executable, "-c", MEASURED, large, clock], capture_output=True, text=True, timeout=300, check=True)
    received, peak = re.fullmatch(r"(\d+) (\d+)\n", done.stdout).groups()
    assert int(received) == FRAMES
    assert int(peak) < LIMIT


ROOM = 64 << 10  # KiB of resident memory, mapped pages included, that a longer capture may take
PEAK = """
import re, sys
from softnet.cli import main

status = main(["replay", sys.argv[1], "--json"])
print(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1])
sys.exit(status)
"""


def long_frames(path, *, size):
    """Write a capture of that many bytes, or somewhat more: frames of 1514 bytes. How many they are."""
    packets = [b"\x52\x54\0\0\0\x08\x52\x54\0\0\0\x09\x88\xb5" + n.to_bytes(4, "big") * 375 for n in range(1000)]
    burst = Burst.from_packets(packets, times=[10**18 + n for n in range(1000)])
    with CaptureWriter(path) as writer:
        while writer.bytes < size:
            writer.on_burst(burst)
    return writer.packets


def peak_of_replay(path, *, frames):
    """KiB that `fastring replay` of so many frames was resident in at most."""
    done = subprocess.run([sys.executable, "-c", PEAK, path], capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    result, peak = done.stdout.splitlines()
    assert (json.loads(result)["sent"], json.loads(result)["received"]) == (frames, frames)
    return int(peak)


@pytest.mark.unsanitized
@pytest.mark.parametrize("ending", ["pcap", "pcapng", "pcap.gz"])
def test_memory_does_not_grow_with_the_capture(tmp_path, ending):
    peaks = []
    for size in (30_000_000, 130_000_000):
        path = tmp_path / f"{size}.{ending.removesuffix('.gz')}"
        frames = long_frames(path, size=size)
        if ending.endswith(".gz"):
            with path.open("rb") as plain, gzip.open(packed := tmp_path / f"{size}.{ending}", "wb", compresslevel=1) as target:
                shutil.copyfileobj(plain, target, 1 << 20)
            path = packed
        peaks.append(peak_of_replay(path, frames=frames))
    assert peaks[1] - peaks[0] < ROOM


@pytest.mark.slow
@pytest.mark.parametrize("ending", ["pcap", "pcapng"])
def test_four_gigabytes_are_replayed_in_the_memory_of_few(tmp_path, ending):
    """More than 2**32 bytes, so that no offset fits 32 bits."""
    small, large = tmp_path / f"small.{ending}", tmp_path / f"large.{ending}"
    at_first = peak_of_replay(small, frames=long_frames(small, size=30_000_000))
    try:
        frames = long_frames(large, size=(4 << 30) + (16 << 20))
        assert large.stat().st_size > 1 << 32
        assert peak_of_replay(large, frames=frames) - at_first < ROOM
    finally:
        large.unlink()
