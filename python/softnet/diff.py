"""Diff: two captures compared frame by frame."""

from __future__ import annotations

import os
from dataclasses import dataclass
from itertools import zip_longest

from fastring.capture import Capture

ETH_ZLEN = 60  # shortest frame without CRC
NANOSECONDS = 10**9


@dataclass(frozen=True)
class Difference:
    """What `diff` found: whether they are the same, how many frames were before the first difference, and what that is."""

    same: bool
    frames: int
    text: str

    def __str__(self) -> str:
        return self.text


def diff(first: str | os.PathLike[str], second: str | os.PathLike[str], *, times: bool = False, padding: bool = False) -> Difference:
    """Compare frames in order, and with `times` their time stamps; `padding` forgives zeroes that fill a frame to 60 bytes.

    Raises CaptureError or OSError for a file that cannot be read to its end.
    """
    with Capture(first, linktypes=None) as a, Capture(second, linktypes=None) as b:
        summaries = [capture.scan() for capture in (a, b)]
        for summary in summaries:
            if summary.broken_off is not None:
                raise summary.broken_off
        totals = f"{summaries[0].frames:,} frames against {summaries[1].frames:,}"
        frames = 0
        for left, right in zip_longest(a, b):
            if left is None or right is None:
                shorter = a.filename if left is None else b.filename
                return Difference(False, frames, f"{totals}: the first {frames:,} are the same, then {shorter} ends")
            if left != right and (problem := _compare(left, right, times, padding)):
                return Difference(False, frames, f"frame {frames + 1:,} differs: {problem}")
            frames += 1
    if summaries[0].empty != summaries[1].empty:
        text = f"the same {frames:,} frames, but {summaries[0].empty:,} records of no bytes against {summaries[1].empty:,}"
        return Difference(False, frames, text)
    return Difference(True, frames, f"the same {frames:,} frames in the same order{', time stamps included' if times else ''}")


def _compare(left: tuple[int, bytes], right: tuple[int, bytes], times: bool, padding: bool) -> str:
    """What is different, or nothing."""
    a, b = left[1], right[1]
    if padding:
        a, b = a.ljust(ETH_ZLEN, b"\0"), b.ljust(ETH_ZLEN, b"\0")
    if a != b:
        common = min(len(a), len(b))
        offset = next((i for i in range(common) if a[i] != b[i]), common)
        if len(a) != len(b):
            where = f", differing from byte {offset} on" if offset < common else f", the first {common} the same"
            return f"{len(a)} bytes against {len(b)}{where}"
        return f"byte {offset} of {len(a)}, counted from 0, is {a[offset]:02x} against {b[offset]:02x}"
    if times and left[0] != right[0]:
        return f"its time is {_seconds(left[0])} s against {_seconds(right[0])} s"
    return ""


def _seconds(ns: int) -> str:
    """Nanoseconds as seconds, with all their digits."""
    return f"{'-' if ns < 0 else ''}{abs(ns) // NANOSECONDS}.{abs(ns) % NANOSECONDS:09}"
