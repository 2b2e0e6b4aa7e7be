"""Partner: another process with an Arena in common, which runs one side of a measurement when asked to.

What it is asked, and what it answers, are lines of JSON on its standard input and output. It ends with whoever started it.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np

from fastring.meeting import Meeting
from fastring.memory import Arena
from fastring.record_ring import RecordRing
from fastring.ring import Ring
from fastring.ring_loops import bounce, consume, pong

ARENA_SIZE = 16 << 20
PATIENCE = 30  # seconds that either side waits for the other one


class Patience:
    """Call it when nothing moved: it raises TimeoutError when nothing has for PATIENCE. `moved`: when something did."""

    def __init__(self) -> None:
        self.moved()

    def moved(self) -> None:
        self._end = 0.0

    def __call__(self) -> None:
        now = time.monotonic()
        self._end = self._end or now + PATIENCE
        if now > self._end:
            raise TimeoutError("the other side does nothing any more")


class PartnerError(RuntimeError):
    """It failed, or is gone: says what it said."""


class Partner:
    """Start one, pinned to `cpu`. One measurement at a time: `ask`, then the own side of it, then `answer`."""

    def __init__(self, cpu: int, *, size: int = ARENA_SIZE) -> None:
        self.cpu = cpu
        self.arena = Arena(size, name="fastring-bench")
        fd = self.arena.fileno()
        command = [sys.executable, "-m", "softnet.bench.partner", str(fd), str(cpu)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1, pass_fds=[fd])
        self.pid = self._process.pid

    def ask(self, what: str, **arguments: Any) -> None:
        """Have it begin with one of the functions below. Rings and meetings go by their offsets."""
        assert self._process.stdin is not None
        try:
            print(json.dumps([what, arguments]), file=self._process.stdin, flush=True)
        except BrokenPipeError:
            raise PartnerError("the other process is gone") from None

    def answer(self) -> Any:
        """What that returned. Raises PartnerError."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        told = json.loads(line) if line else {"error": "the other process is gone"}
        if "error" in told:
            raise PartnerError(told["error"])
        return told["result"]

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with suppress(BrokenPipeError):  # it is gone, and did not read all it was asked
            self._process.stdin.close()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        self.arena.close()

    def __enter__(self) -> Partner:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


# --- in the other process

def _consume(arena: Arena, ring: int, meeting: int, items: int, bulk: int) -> tuple[int, int, int]:
    with Ring.attach(arena, ring) as source:
        return consume(source, Meeting(2, arena=arena, offset=meeting), items, bulk)


def _pong(arena: Arena, there: int, back: int, meeting: int, rounds: int) -> tuple[int, int]:
    with Ring.attach(arena, there) as incoming, Ring.attach(arena, back) as outgoing:
        return pong(incoming, outgoing, Meeting(2, arena=arena, offset=meeting), rounds)


def _bounce(arena: Arena, meeting: int, rounds: int) -> tuple[int, int]:
    return bounce(Meeting(2, arena=arena, offset=meeting), rounds, False)


def _echo(arena: Arena, there: int, back: int, rounds: int, spin: float) -> None:
    """Python's round trips, waited for."""
    with Ring.attach(arena, there) as incoming, Ring.attach(arena, back) as outgoing:
        for _ in range(rounds):
            if not incoming.wait_for_items(timeout=PATIENCE, spin=spin):
                raise TimeoutError("no item came")
            outgoing.push(incoming.pop())


def _take_items(arena: Arena, ring: int, items: int, burst: int) -> int:
    """Python's bursts: NumPy arrays filled until all items are here. Returns their sum."""
    out: Any = np.empty(burst, dtype=np.uint64)
    left, total, patience = items, 0, Patience()
    with Ring.attach(arena, ring) as source:
        while left:
            if count := source.pop_burst(out):
                total += int(out[:count].sum())
                left -= count
                patience.moved()
            else:
                patience()
    return total


def rows(numbers: Any) -> Any:
    """Slot numbers as an index for NumPy: a slice where they follow each other, which is quicker by far."""
    first, last = int(numbers[0]), int(numbers[-1])
    return slice(first, last + 1) if last - first == len(numbers) - 1 else numbers.astype(np.intp)


def _take_payloads(arena: Arena, ring: int, empty: int, area: int, slots: int, stride: int, size: int, count: int, burst: int) -> int:
    """Payloads where they lie, by the numbers of their slots, which go back when they were looked at. Returns the sum of their numbers."""
    payloads: Any = np.frombuffer(memoryview(arena), dtype=np.uint8, count=slots * stride, offset=area).reshape(slots, stride)
    numbers = payloads[:, :8].view(np.uint64)[:, 0]  # what the sender wrote first in each
    out: Any = np.empty(burst, dtype=np.uint64)
    left, total, patience = count, 0, Patience()
    with Ring.attach(arena, ring) as source, Ring.attach(arena, empty) as free:
        while left:
            if got := source.pop_burst(out):
                taken = out[:got]
                total += int(numbers[rows(taken)].sum())
                left -= got
                patience.moved()
                while got:
                    got -= free.push_burst(taken[taken.size - got :])
            else:
                patience()
    return total


def _take_records(arena: Arena, ring: int, size: int, count: int, burst: int) -> int:
    """Payloads copied out into rows, a burst at a time. Returns the sum of their numbers."""
    out: Any = np.empty((burst, size), dtype=np.uint8)
    numbers = out[:, :8].view(np.uint64)[:, 0]
    lengths: Any = np.empty(burst, dtype=np.uint32)
    left, total, patience = count, 0, Patience()
    with RecordRing.attach(arena, ring) as source:
        while left:
            if got := source.pop_burst(out, lengths):
                total += int(numbers[:got].sum())
                left -= got
                patience.moved()
            else:
                patience()
    return total


CALLS: dict[str, Callable[..., Any]] = {
    "consume": _consume,
    "pong": _pong,
    "bounce": _bounce,
    "echo": _echo,
    "take_items": _take_items,
    "take_payloads": _take_payloads,
    "take_records": _take_records,
}


def main() -> None:
    """Answer until nobody asks any more."""
    fd, cpu = map(int, sys.argv[1:])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches both: whoever started this one ends it
    os.sched_setaffinity(0, {cpu})
    arena = Arena.attach(fd)
    for line in sys.stdin:
        what, arguments = json.loads(line)
        try:
            told = {"result": CALLS[what](arena, **arguments)}
        except Exception as error:  # told where it was asked for
            told = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main()
