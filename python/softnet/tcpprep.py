"""What tcpreplay's users have besides captures: tcpprep's cache files, and lists of packet numbers."""

from __future__ import annotations

import os
import re
import struct

from fastring.capture import Capture
from fastring.capture_selection import Selection
from fastring.capture_summary import CaptureSummary

MAGIC = b"tcpprep\0"
VERSION = 4  # since tcpreplay 3.0: a 64-bit count of packets
PACKETS_PER_BYTE = 4
HEADER = struct.Struct(">8s4sQHH")  # magic, version as text, packets, packets per byte, length of the comment
MOST_PACKETS = 1 << 32  # 1 GiB of directions: who says more says it in a damaged header, or a sparse file
LAST = (1 << 64) - 1


def read_cache(path: str | os.PathLike[str]) -> tuple[bytes, int]:
    """Read a cache file; return the directions, two bits a packet, and how many packets they are of.

    Raises OSError, and ValueError for what is no cache file, is of another version, or breaks off.
    """
    name = os.fspath(path)
    size = os.stat(path).st_size
    with open(path, "rb") as file:
        head = file.read(HEADER.size)
        if not head.startswith(MAGIC):
            raise ValueError(f"{name}: no cache file of tcpprep, which begins with {MAGIC!r}")
        if len(head) < HEADER.size:
            raise ValueError(f"{name}: the header breaks off: {len(head)} of its {HEADER.size} bytes are there")
        _magic, version, packets, per_byte, comment = HEADER.unpack(head)
        if version.rstrip(b"\0 ") != b"%02d" % VERSION:
            raise ValueError(f"{name}: a cache file of version {version!r}, and version {VERSION} can be read")
        if per_byte != PACKETS_PER_BYTE:
            raise ValueError(f"{name}: {per_byte} packets per byte, and it is {PACKETS_PER_BYTE} in every cache file")
        needed = -(-packets // PACKETS_PER_BYTE)
        there = max(0, size - HEADER.size - comment)
        if there < needed:
            raise ValueError(f"{name}: breaks off: {needed} bytes for {packets} packets, and {there} are there")
        if packets > MOST_PACKETS:
            raise ValueError(f"{name}: of {packets} packets, and {MOST_PACKETS} are the most that can be read")
        file.seek(comment, os.SEEK_CUR)
        return file.read(needed), packets


def parse_packet_list(text: str) -> list[tuple[int, int]]:
    """Ranges of packet numbers from tcpreplay's spelling: 1-5,9,15- ; the last one has no end. Raises ValueError."""
    ranges = []
    for word in text.split(","):
        match = re.fullmatch(r"([0-9]{1,19})(-([0-9]{1,19})?)?", word, re.ASCII)
        first = int(match[1]) if match else 0
        last = first if match is None or not match[2] else int(match[3]) if match[3] else LAST
        if not 1 <= first <= last:
            raise ValueError(f"{word!r} is no packet number or range, such as 1-5,9,15-: they count from 1")
        ranges.append((first, last))
    return ranges


def check_cache(cachefile: str | os.PathLike[str], selection: Selection, capture: Capture, summary: CaptureSummary) -> None:
    """Raise ValueError if a cache file was made of a shorter capture."""
    records = summary.frames + summary.empty
    if records > selection.cached:
        raise ValueError(f"{os.fspath(cachefile)}: made of {selection.cached} packets, and {capture.filename} has {records}")
