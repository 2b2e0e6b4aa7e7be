"""A capture is never loaded: two million frames are replayed in the memory that a few take."""

import re
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
