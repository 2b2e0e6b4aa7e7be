"""Three processes and two rings: one reads a capture, one filters, one writes what is left. Kill the filter: the next goes on where it was.

    python examples/pipeline.py IN.pcap OUT.pcap

A record is a packet's number, its time, and its bytes; one that has no bytes is the end. The filter passes a packet on before it lets go of
it, so what it was at when it was killed is passed on again, and the writer, who knows the last number, drops that.
"""

import argparse
import os
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

from fastring.capture import Capture
from fastring.capture_writer import CaptureWriter
from fastring.ring_end import PeerGone, RingEnd
from fastring.segment import Segment, SegmentError

HEADER = struct.Struct("=QQ")  # number, time in ns
IPV4 = b"\x08\x00"


def push(end: RingEnd, record: bytes, on_wait=None) -> None:
    """Append a record, however long the ring is full; `on_wait` is called meanwhile. Without it, PeerGone for a dead consumer."""
    while not end.ring.push(record):
        try:
            end.wait((len(record) + 15) // 8, timeout=0.2)
        except PeerGone:
            if on_wait is None:
                raise
        if on_wait is not None:
            on_wait()


def read(segment: Segment, path: str, start_filter) -> None:
    """The first stage: every packet of a capture into the ring; it starts the filter, and another one when that has died."""
    worker = start_filter()

    def look_after_it(patience: float = 0.05) -> None:
        nonlocal worker
        try:
            worker.wait(patience)
        except subprocess.TimeoutExpired:
            return
        print("pipeline: the filter died; here is the next", file=sys.stderr)
        worker = start_filter()

    number = 0
    with Capture(path) as capture, segment.producer("read") as out:
        for number, (time, packet) in enumerate(capture, 1):
            push(out, HEADER.pack(number, time) + packet, look_after_it)
        push(out, HEADER.pack(number + 1, 0), look_after_it)
        while worker.wait() != 0:  # 0: it has seen the end
            look_after_it()


def filter_ipv4(segment: Segment) -> None:
    """The second stage: from one ring to the other, and only IPv4."""
    with segment.consumer("read") as source, segment.producer("kept") as out:
        while True:
            source.wait()
            with source.ring.peek() as view:
                record = bytes(view)
            packet = record[HEADER.size:]
            if not packet or packet[12:14] == IPV4:
                push(out, record)
            source.ring.release()
            if not packet:
                return


def write(segment: Segment, path: str) -> int:
    """The third stage: what comes out of the last ring into a capture. Returns how many."""
    last, parent = 0, os.getppid()
    with segment.consumer("kept") as source, CaptureWriter(path) as writer:
        while True:
            try:
                source.wait()
            except PeerGone:
                if os.getppid() != parent:
                    raise
                continue  # the next filter is on its way
            record = source.ring.pop()
            number, time = HEADER.unpack_from(record)
            if len(record) == HEADER.size:
                return writer.packets
            if number > last:
                writer.write(record[HEADER.size:], time)
                last = number


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("input")
    parser.add_argument("output")
    arguments = parser.parse_args()
    try:
        Capture(arguments.input).close()
    except (OSError, ValueError) as error:
        parser.error(f"{arguments.input}: {getattr(error, 'strerror', None) or error}")
    with tempfile.TemporaryDirectory() as folder, Segment.create("pipeline", size=1 << 22) as segment:
        socket = str(Path(folder) / "pipeline.sock")
        segment.create_record_ring("read", 1 << 20, wait="futex")
        segment.create_record_ring("kept", 1 << 20, wait="futex")

        def stage(*words: str) -> subprocess.Popen[bytes]:
            return subprocess.Popen([sys.executable, __file__, "--stage", *words, socket])

        with segment.listen(socket):
            writer = stage("write", arguments.output)
            read(segment, arguments.input, lambda: stage("filter"))
            return writer.wait()


def run_stage(kind: str, *words: str) -> int:
    """What the other two processes do."""
    try:
        with Segment.attach(words[-1]) as segment:
            if kind == "filter":
                filter_ipv4(segment)
            else:
                print(f"{write(segment, words[0])} packets written")
    except (PeerGone, SegmentError, OSError) as error:
        print(f"pipeline: {kind}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(run_stage(*sys.argv[2:]) if sys.argv[1:2] == ["--stage"] else main())
