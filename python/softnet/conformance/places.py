"""Places in the code of the driver under test."""

from __future__ import annotations

import os
import sysconfig
import traceback
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import fastring
import softnet

OURS = (*(f"{Path(module.__path__[0])}{os.sep}" for module in (softnet, fastring)), f"{sysconfig.get_path('stdlib')}{os.sep}")


def driver_frame(frames: Iterable[traceback.FrameSummary]) -> tuple[str, str] | None:
    """File:line and function of the last of these that is the driver's own code: the innermost."""
    for frame in reversed(list(frames)):
        if not frame.filename.startswith(OURS) and os.path.isabs(frame.filename):
            return f"{short(frame.filename)}:{frame.lineno}", frame.name
    return None


def short(path: str) -> str:
    """As seen from the working directory, if it is below."""
    with suppress(ValueError):
        return str(Path(path).relative_to(Path.cwd()))
    return path
