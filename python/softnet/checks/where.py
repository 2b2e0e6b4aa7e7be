"""Where in a driver something happened: file and line of the nearest code that is neither softnet's nor fastring's."""

from __future__ import annotations

import functools
import os
import sys
from pathlib import Path
from types import FrameType
from typing import Any

import fastring
import softnet

OURS = tuple(f"{Path(package.__path__[0])}{os.sep}" for package in (softnet, fastring))


def driver_line(frame: FrameType | None = None) -> str:
    """ "file.py:12", the innermost line of a driver (or of who acts for it) on this thread's stack; "" if there is none, as of one in C."""
    frame = sys._getframe(1) if frame is None else frame
    while frame is not None and frame.f_code.co_filename.startswith(OURS):
        frame = frame.f_back
    return "" if frame is None else f"{_short(frame.f_code.co_filename)}:{frame.f_lineno}"


def definition(function: Any) -> str:
    """The same of where a function or method begins; "" if it has no source."""
    code = getattr(getattr(function, "__func__", function), "__code__", None)
    return "" if code is None else f"{_short(code.co_filename)}:{code.co_firstlineno}"


def called_by_stack() -> bool:
    """Whether the caller's caller's caller is softnet itself: NetDevice.stop, not a driver."""
    frame = sys._getframe(3)
    return frame.f_code.co_filename.startswith(OURS)


@functools.lru_cache(maxsize=1024)  # every use of a queue asks
def _short(path: str) -> str:
    try:
        return str(Path(path).relative_to(Path.cwd()))
    except ValueError:
        return path
