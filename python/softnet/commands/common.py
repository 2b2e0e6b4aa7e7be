"""What commands share in what they print and return."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress

from fastring.capture_error import printable

OK, LOST, INTERRUPTED = 0, 1, 128 + signal.SIGINT


def complain(prog: str, problem: object) -> None:
    """One line on standard error."""
    print(f"{prog}: {printable(str(problem))}", file=sys.stderr)


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
