"""Captures read burst by burst, for Python: `softnet.open_capture`."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

from fastring.burst import Burst
from fastring.capture import Capture


class CaptureReader:
    """The packets of a capture, in bursts: iterate as often as you like. `capture` is the file: its format, link type, scan().

    A burst's packets lie in the mapped file, uncopied, and stay valid for as long as the burst or anything that looks at it is kept.
    Iterating raises CaptureError where the capture is damaged, or after its last whole packet if it breaks off.
    """

    def __init__(self, capture: Capture, *, burst_size: int, limit: int | None) -> None:
        if not 0 < burst_size <= 1 << 20:
            raise ValueError(f"a burst holds 1 to 2^20 packets, not {burst_size}")
        self.capture = capture
        self.burst_size = burst_size
        self.limit = limit

    def __iter__(self) -> Iterator[Burst]:
        cursor = self.capture.cursor(limit=self.limit)
        while cursor.read(burst := Burst(self.burst_size)):  # a new one each time: its owner may keep it
            yield burst
        if cursor.broken_off is not None:
            raise cursor.broken_off

    def close(self) -> None:
        """Let go of the file, which stays mapped while bursts of it live; again is harmless."""
        self.capture.close()

    def __enter__(self) -> CaptureReader:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<CaptureReader of {self.capture!r}>"


def open_capture(
    path: str | os.PathLike[str], *, burst_size: int = 256, limit: int | None = None, linktypes: Iterable[int] | None = (1,)
) -> CaptureReader:
    """Open a pcap or pcapng file, gzipped too, `-` for standard input: ``for burst in softnet.open_capture("trace.pcap")``.

    `limit`: packets at most; `linktypes`: numbers of LINKTYPE_*, None for any. Raises CaptureError for what is no capture, OSError.
    """
    return CaptureReader(Capture(path, linktypes=linktypes), burst_size=burst_size, limit=limit)
