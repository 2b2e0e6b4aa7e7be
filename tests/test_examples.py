"""examples/pipeline.py: three processes; a killed filter loses nothing and passes nothing on twice."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fastring.capture import Capture
from fastring.capture_writer import CaptureWriter

ROOT = Path(__file__).resolve().parent.parent
PACKETS = 120_000
PIPELINE = ROOT / "examples/pipeline.py"


@pytest.fixture(scope="module")
def capture(tmp_path_factory):
    """A capture whose packets tell their numbers: every third is no IPv4."""
    path = tmp_path_factory.mktemp("pipeline") / "in.pcap"
    with CaptureWriter(path) as writer:
        for number in range(PACKETS):
            ethertype = b"\x08\x06" if number % 3 == 0 else b"\x08\x00"
            writer.write(bytes(12) + ethertype + number.to_bytes(4, "big") + bytes(number % 90), number)
    return path


def numbers(path):
    with Capture(path) as capture:
        return [int.from_bytes(packet[14:18], "big") for _, packet in capture]


def children(pid):
    """Process numbers of a process's children whose command line has `--stage filter`."""
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in found if b"--stage\0filter" in Path(f"/proc/{child}/cmdline").read_bytes()]


def kill_filters(pipeline, kills):
    killed = 0
    while killed < kills and pipeline.poll() is None:
        time.sleep(0.3)
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            for child in children(pipeline.pid):
                os.kill(child, signal.SIGKILL)
                killed += 1
    return killed


@pytest.mark.parametrize("kills", [0, 3])
def test_every_ipv4_packet_comes_out_once_however_often_the_filter_is_killed(capture, tmp_path, kills):
    out = tmp_path / "out.pcap"
    arguments = [sys.executable, PIPELINE, capture, out]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True) as pipeline:
        try:
            killed = kill_filters(pipeline, kills)
            printed, _ = pipeline.communicate(timeout=120)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pipeline.pid, signal.SIGKILL)
    expected = [number for number in range(PACKETS) if number % 3]
    assert (pipeline.returncode, printed) == (0, f"{len(expected)} packets written\n")
    assert kills == 0 or killed > 0
    assert numbers(out) == expected
