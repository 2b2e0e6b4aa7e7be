"""Diff: two captures compared frame by frame."""

from __future__ import annotations

import os
from dataclasses import dataclass
from itertools import zip_longest

from fastring.capture import Capture

ETH_ZLEN = 60  # shortest frame without CRC


@dataclass(frozen=True)
class Difference:
    """What `diff` found: the first frame that differs, if any, and how many frames were the same before it."""

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
        for capture in (a, b):
            broken = capture.scan().broken_off
            if broken is not None:
                raise broken
        frames = 0
        for left, right in zip_longest(a, b):
            if left is None or right is None:
                longer, shorter = (second, first) if left is None else (first, second)
                return Difference(False, frames, f"{os.fspath(shorter)} ends after {frames} frames, {os.fspath(longer)} has more")
            problem = _compare(left, right, times, padding)
            if problem:
                return Difference(False, frames, f"frame {frames + 1} differs: {problem}")
            frames += 1
    return Difference(True, frames, f"the same {frames:,} frames in the same order{', time stamps included' if times else ''}")


def _compare(left: tuple[int, bytes], right: tuple[int, bytes], times: bool, padding: bool) -> str:
    """What is different, or nothing."""
    a, b = left[1], right[1]
    if padding:
        a, b = a.ljust(ETH_ZLEN, b"\0"), b.ljust(ETH_ZLEN, b"\0")
    if len(a) != len(b):
        return f"{len(a)} bytes against {len(b)}"
    if a != b:
        offset = next(i for i, (x, y) in enumerate(zip(a, b, strict=True)) if x != y)
        return f"byte {offset} is {a[offset]:02x} against {b[offset]:02x}"
    if times and left[0] != right[0]:
        return f"its time is {left[0]} ns against {right[0]} ns"
    return ""
