"""`pcap:FILE` and `pcapng:FILE`: frames end in a capture file, stamped as they arrive."""

from __future__ import annotations

from typing import Literal

from fastring.capture_writer import CaptureWriter
from fastring.clock import Clock
from fastring.wire import SinkWire
from softnet.wire.cabling import Cabling


def open_pcap(argument: str, clock: Clock) -> Cabling:
    """Write frames to a pcap file. Raises OSError if it cannot be written."""
    return _open(argument, clock, "pcap")


def open_pcapng(argument: str, clock: Clock) -> Cabling:
    """Write frames to a pcapng file. Raises OSError if it cannot be written."""
    return _open(argument, clock, "pcapng")


def _open(path: str, clock: Clock, format: Literal["pcap", "pcapng"]) -> Cabling:
    if not path:
        raise ValueError(f"the wire '{format}' needs a file: {format}:FILE")
    writer = CaptureWriter(path, format=format)
    return Cabling(SinkWire(writer, clock=clock), taken=lambda: (writer.packets, writer.bytes), drops=lambda: writer_drops(writer))


def writer_drops(writer: CaptureWriter) -> dict[str, int]:
    """What a capture writer could not write, by reason."""
    return {"write_failed": writer.lost, "time_not_writable": writer.unstampable}
