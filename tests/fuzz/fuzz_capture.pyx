"""libFuzzer's target for the capture reader: an input is a byte of options and a file.

Whatever the file: it is refused by a CaptureError, or its three walks (scan, index, cursor) find the same frames, all of them inside of it,
and what a CaptureWriter makes of them is read back the same.
"""

import os
import sys
import zlib
from itertools import pairwise

from libc.stdint cimport uint8_t

from fastring.burst import Burst
from fastring.capture import Capture, CaptureError
from fastring.capture_writer import CaptureWriter

GZIP, ANY_LINKTYPE, WRITE, LOOP = 1, 2, 4, 8       # options; the high four bits: frames in a burst

cdef int original = os.memfd_create("input"), copied = os.memfd_create("output")
ORIGINAL, COPIED = (f"/proc/self/fd/{fd}" for fd in (original, copied))


cdef int run_input(const uint8_t* data, size_t size) noexcept nogil:
    with gil:
        try:
            run((<const char*>data)[:size])
        except BaseException:
            sys.excepthook(*sys.exc_info())
            os.abort()
    return 0


def run(bytes data):
    options, contents = data[0] if data else 0, data[1:]
    if options & GZIP:
        contents = zlib.compress(contents, 1, wbits=31)
    os.ftruncate(original, 0)
    os.pwrite(original, contents, 0)
    try:
        with Capture(ORIGINAL, linktypes=None if options & ANY_LINKTYPE else (1,)) as capture:
            walk(capture, options)
    except CaptureError as error:
        assert str(error).isprintable() and len(str(error)) < 500, error


def walk(capture, options):
    whole, frames, refusal = None, [], None
    try:
        whole, table = capture.scan(), capture.index()
    except CaptureError as error:
        refusal = str(error)
    try:
        frames = read(capture, 1 + (options >> 4), 2 if options & LOOP else 1)
    except CaptureError as error:
        assert str(error) == refusal, (error, refusal)
        return
    assert refusal is None, refusal
    assert whole.frames == len(table)
    assert len(frames) == whole.frames * (2 if options & LOOP else 1)
    for (time, wire_len, packet), entry in zip(frames, table, strict=False):
        offset, size = int(entry["offset"]), int(entry["caplen"])
        assert 0 < offset and offset + size <= capture.size
        assert (time, wire_len, packet) == (entry["time"], entry["wirelen"], capture.data[offset:offset + size])
    assert all(one < other for one, other in pairwise(table["offset"].tolist()))
    assert sum(len(frame[2]) for frame in frames[:whole.frames]) == whole.bytes
    if options & WRITE:
        write(frames)


def read(capture, size, loops):
    """All frames: (time, length on the wire, bytes)."""
    found, burst, cursor = [], Burst(size), capture.cursor(loop=loops)
    table = capture.index() if loops == 1 else None
    while cursor.read(burst):
        for time, packet in zip(burst.times, burst, strict=True):
            found.append((time, int(table[len(found)]["wirelen"]) if table is not None else 0, packet))
    if table is None:
        lengths = [int(length) for length in capture.index()["wirelen"]]
        found = [(time, lengths[i % len(lengths)], packet) for i, (time, _, packet) in enumerate(found)]
    return found


def write(frames):
    with CaptureWriter(COPIED, format="pcapng", linktype=1) as writer:
        for time, wire_len, packet in frames:
            writer.write(packet, time, wire_len)
        left_out = writer.unstampable
    if left_out:
        return
    with Capture(COPIED) as again:
        table = again.index()
        assert len(table) == len(frames)
        for entry, (time, wire_len, packet), copy in zip(table, frames, again, strict=True):
            assert (entry["time"], entry["wirelen"]) == (time, max(wire_len, len(packet))), (entry, time, wire_len)
            assert copy[1] == packet


ENTRY = <size_t><void*>run_input
