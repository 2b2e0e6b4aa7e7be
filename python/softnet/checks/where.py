"""Where in a driver something happened: file and line of the nearest code that is neither softnet's, fastring's nor Python's own."""

from __future__ import annotations

import functools
import os
import sys
import sysconfig
from pathlib import Path
from types import FrameType
from typing import Any

import fastring
import softnet

OURS = tuple(f"{Path(package.__path__[0])}{os.sep}" for package in (softnet, fastring))
PYTHONS = tuple({f"{sysconfig.get_path(name)}{os.sep}" for name in ("stdlib", "platstdlib")})
INSTALLED = tuple({f"{sysconfig.get_path(name)}{os.sep}" for name in ("purelib", "platlib")} | {f"{os.sep}site-packages{os.sep}"})
RUNNER = f"{Path(softnet.__path__[0], 'conformance', 'runner.py')}"  # who called that is no driver

_passed_over: set[str] = set()


def pass_over(path: str) -> None:
    """A file that looks at drivers, too, as this package does."""
    _passed_over.add(path)
    is_drivers_file.cache_clear()


@functools.lru_cache(maxsize=4096)  # every use of a queue asks
def is_drivers_file(path: str) -> bool:
    """Whether it is neither softnet's, fastring's nor Python's own."""
    pythons = path.startswith((*PYTHONS, "<frozen ")) and not any(folder in path for folder in INSTALLED)
    return not (pythons or path.startswith(OURS) or path in _passed_over)


def driver_line(frame: FrameType | None = None) -> str:
    """ "file.py:12", the innermost line of a driver (or of who acts for it) on this thread's stack; "" if there is none, as of one in C."""
    frame = sys._getframe(1) if frame is None else frame
    while frame is not None and not is_drivers_file(frame.f_code.co_filename):
        if frame.f_code.co_filename == RUNNER:
            return ""
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
