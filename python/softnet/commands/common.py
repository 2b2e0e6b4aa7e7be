"""What commands share in what they print and return."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from fastring.capture_error import printable

OK, LOST, INTERRUPTED = 0, 1, 128 + signal.SIGINT
LIVE_INTERVAL = 0.1  # seconds


def complain(prog: str, problem: object) -> None:
    """One line on standard error."""
    print(f"{prog}: {printable(str(problem))}", file=sys.stderr)


@contextmanager
def live_line(total: int | None, doing: str = "replaying") -> Iterator[Callable[[int], None] | None]:
    """A progress line on a terminal, if rich is installed; elsewhere nothing."""
    if not (sys.stdout.isatty() and sys.stderr.isatty()):
        yield None
        return
    try:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
    except ImportError:
        yield None
        return
    from softnet.report import scaled

    goal = "" if total is None else f" of {total:,}"
    columns = (TextColumn(doing), BarColumn(), TextColumn("{task.fields[text]}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(doing, total=total, text=f"0{goal} frames")
        began = shown = time.monotonic()

        def show(sent: int) -> None:
            nonlocal shown
            now = time.monotonic()
            if now - shown >= LIVE_INTERVAL or sent == total:
                shown = now
                bar.update(task, completed=sent, text=f"{sent:,}{goal} frames, {scaled(sent / (now - began), 'pps')}")

        yield show


def udp_template(ends: str) -> bytes:
    """The packet that --udp SRC,DST describes. Raises ValueError."""
    from softnet.stream_file import udp_frame  # only now: most commands need none

    source, comma, destination = ends.partition(",")
    if not comma or "," in destination:
        raise ValueError(f"--udp: {ends!r} is not ADDRESS:PORT,ADDRESS:PORT")
    return udp_frame(source, destination)


def beside(text: str, captures: bool) -> str:
    """What to print on standard output: `text`, or where a capture has that for itself, nothing, and `text` on standard error."""
    if not captures:
        return text
    print(text, file=sys.stderr)
    return ""


def is_stdout(path: str | None) -> bool:
    """Whether what is written to `path` goes where results are printed: `-`, /dev/stdout, or what it was redirected to."""
    if path == "-":
        return True
    with suppress(OSError, ValueError):  # no such file, or no descriptor
        if path:
            there, stdout = os.stat(path), os.fstat(sys.stdout.fileno())
            return os.path.samestat(there, stdout) and not os.path.samestat(there, os.stat(os.devnull))
    return False
