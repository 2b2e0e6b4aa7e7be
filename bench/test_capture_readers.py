"""Reading a capture from Python: our index against every other reader there is here, on one file, in turns.

    pytest bench/test_capture_readers.py -s

Each reads all records of a pcap with time stamp, lengths and bytes, the way its own documentation does. `make bench` installs dpkt,
pcapy-ng and scapy; python-libpcap (pip install python-libpcap) is compiled with libpcap's headers, and measured where it is there.
"""

import importlib
import statistics
import struct
import time

import pytest

from fastring.burst import Burst
from fastring.capture import Capture

FRAMES = 300_000
RUNS = 5


def index(path):
    with Capture(path) as capture:
        return len(capture.index())


def iterate(path):
    """(time, bytes) pairs, as the others give."""
    count = 0
    with Capture(path) as capture:
        for _ in capture:
            count += 1
    return count


def bursts(path):
    count, burst = 0, Burst(256)
    with Capture(path) as capture:
        cursor = capture.cursor()
        while got := cursor.read(burst):
            count += got
    return count


def dpkt(path):
    reader, count = importlib.import_module("dpkt").pcap.Reader, 0
    with open(path, "rb") as file:
        for _ in reader(file):
            count += 1
    return count


def pcapy(path):
    reader, count = importlib.import_module("pcapy").open_offline(str(path)), 0
    while reader.next()[0] is not None:
        count += 1
    return count


def pylibpcap(path):
    count = 0
    for _ in importlib.import_module("pylibpcap.pcap").rpcap(str(path)):
        count += 1
    return count


def scapy(path):
    reader, count = importlib.import_module("scapy.utils").RawPcapReader(str(path)), 0
    for _ in reader:
        count += 1
    return count


OURS = {"index": index, "cursor.read": bursts, "iteration": iterate}
THEIRS = {"dpkt": dpkt, "pcapy-ng": pcapy, "python-libpcap": pylibpcap, "scapy": scapy}


@pytest.fixture(scope="module")
def capture(tmp_path_factory):
    """FRAMES frames of 60 to 1514 bytes."""
    path = tmp_path_factory.mktemp("readers") / "many.pcap"
    with open(path, "wb") as file:
        file.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, 1))
        for start in range(0, FRAMES, 1000):
            sizes = [60 + (i * 97) % 1455 for i in range(start, start + 1000)]
            file.write(b"".join(struct.pack("<IIII", start, i, size, size) + bytes(size) for i, size in enumerate(sizes)))
    return path


def test_the_index_against_other_readers(capture, capsys):
    readers = dict(OURS)
    for name, read in THEIRS.items():
        try:
            read(capture)
        except ImportError:
            continue
        readers[name] = read
    times = {name: [] for name in readers}
    for _ in range(RUNS):
        for name, read in readers.items():
            start = time.perf_counter()
            assert read(capture) == FRAMES
            times[name].append(time.perf_counter() - start)
    medians = {name: statistics.median(taken) for name, taken in times.items()}
    with capsys.disabled():
        print(f"\n{FRAMES:,} frames of a pcap, median of {RUNS}:")
        for name, seconds in sorted(medians.items(), key=lambda pair: pair[1]):
            print(f"  {name:<16}{1e9 * seconds / FRAMES:8.1f} ns a frame   {seconds / medians['index']:7.1f} times the index")
        for name in THEIRS.keys() - readers.keys():
            print(f"  {name:<16}not installed")
