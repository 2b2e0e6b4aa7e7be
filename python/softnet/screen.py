"""What a terminal shows while something runs: how far it is, and what its interfaces do meanwhile. At the end all of it is gone."""

from __future__ import annotations

import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Protocol, TextIO

from fastring.clock import Clock, TimerHandle, VirtualClock
from softnet.live import RateTable
from softnet.netdev import NetDevice
from softnet.report import scaled
from softnet.sampling import Counted, Sample, all_counted

INTERVAL, FIRST = 0.5, 0.1  # seconds between two drawings, and before the first
BAR = 16  # columns of it
ECHO = 2  # columns that the terminal's echo of Ctrl-C, ^C, takes


class _Drawing(Protocol):
    def draw(self, pieces: list[str], sample: Sample, share: float | None) -> None: ...
    def message(self, line: str) -> None: ...
    def close(self) -> None: ...


def fitting(pieces: list[str], width: int) -> str:
    """As many of the pieces, from the first on, as fit on a line; the first of them cut if it must be."""
    while len(pieces) > 1 and len(", ".join(pieces)) > width:
        pieces = pieces[:-1]
    return ", ".join(pieces)[: max(0, width)]


class _Line:
    """A line written over and over, with nothing but carriage returns and blanks: for dumb terminals, and where rich is missing."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.shown = 0

    def _write(self, text: str) -> None:
        self.stream.write(f"\r{' ' * self.shown}\r{text}")
        self.stream.flush()
        self.shown = len(text) + ECHO if text else 0

    def draw(self, pieces: list[str], sample: Sample, share: float | None) -> None:
        try:
            width = os.get_terminal_size(self.stream.fileno()).columns or 80  # a serial console may say 0
        except OSError:
            width = 80
        self._write(fitting(pieces, width - 1 - ECHO))

    def message(self, line: str) -> None:
        self._write("")
        print(line, file=self.stream, flush=True)

    def close(self) -> None:
        if self.shown:
            self._write("")


class _Table:
    """The table of rates, and the line below, by rich (an extra). Raises ImportError without it."""

    def __init__(self, stream: TextIO) -> None:
        from rich import progress_bar, table, text  # noqa: F401 - now, and not while packets wait
        from rich.console import Console
        from rich.live import Live

        self.console = Console(file=stream)
        self.usable = self.console.is_terminal and not self.console.is_dumb_terminal
        self.rates = RateTable(ascii_only=self.console.options.ascii_only)
        # Results are printed on standard output as ever; what is told on standard error meanwhile goes above the table.
        self.live = Live(console=self.console, auto_refresh=False, transient=True, redirect_stdout=False)
        self.started = False

    def draw(self, pieces: list[str], sample: Sample, share: float | None) -> None:
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        if not self.started:
            self.started = True
            self.live.start()
        width = self.console.width - 1  # who draws in the last column of some terminals has begun the next line
        self.rates(sample)
        text = fitting(pieces, width)
        below = Table.grid(padding=(0, 2, 0, 0))
        if share is not None and len(text) + BAR + 2 <= width:
            below.add_row(ProgressBar(total=1, completed=share, width=BAR), Text(text))
        else:
            below.add_row(Text(text))
        self.live.update(Group(self.rates.table(self.console.width), below), refresh=True)

    def message(self, line: str) -> None:
        self.console.print(line, markup=False, highlight=False, soft_wrap=True)

    def close(self) -> None:
        if self.started:
            self.live.stop()


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Have Ctrl-C and SIGTERM wait until what is drawn is whole, else nobody knows what there is to erase."""
    if threading.current_thread() is not threading.main_thread():  # where they never come
        yield
        return
    came: list[int] = []
    before = {number: signal.signal(number, lambda number, frame: came.append(number)) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    for late in came:
        signal.raise_signal(late)


def _drawing(stream: TextIO) -> _Drawing:
    with suppress(ImportError):
        table = _Table(stream)
        if table.usable:
            return table
    return _Line(stream)


class Screen:
    """Shows on the terminal `stream` that something is `doing` ("replaying") so many `things` ("frames"), of `total` if that is known.

    `during` a run it draws about twice a second, by a timer, or where the clock is virtual, whenever `progress` is told; both on the
    thread that runs the devices. A terminal that is stopped (Ctrl-S) or gone is not drawn on, so nothing waits for it.
    """

    def __init__(self, doing: str, things: str, total: int | None = None, *, stream: TextIO | None = None) -> None:
        self.doing, self.things, self.total = doing, things, total
        self.stream = sys.stderr if stream is None else stream
        self.done = 0
        self._count: Callable[[], int] | None = None
        self._devices: list[Counted] = []
        self._drawing: _Drawing | None = None
        self._timer: TimerHandle | None = None
        self._began = self._next = 0.0
        self._finished = False

    @contextmanager
    def during(self, clock: Clock, devices: Iterable[NetDevice | Counted], count: Callable[[], int] | None = None) -> Iterator[None]:
        """Show `devices` from here to the end of the block; `count`: tells how many things are done, if `progress` is not told."""
        self._count, self._devices = count, all_counted(devices)
        self._drawing = _drawing(self.stream)
        self._began = time.monotonic()
        self._next = self._began + FIRST
        if not isinstance(clock, VirtualClock):
            self._arm(clock, FIRST)
        try:
            yield
        finally:
            if self._timer is not None:
                self._timer.cancel()
            drawing, self._drawing = self._drawing, None
            if drawing is not None:
                with _uninterrupted(), suppress(OSError):
                    drawing.close()

    def progress(self, done: int) -> None:
        """So many are done; draw, if it is time to."""
        self.done = done
        if done == self.total and not self._finished:
            self._finished = True
            self._next = 0.0
        self.tick()

    def tick(self) -> None:
        """Draw, if it is time to."""
        now = time.monotonic()
        if now < self._next or self._drawing is None:
            return
        self._next = now + INTERVAL
        if self._count is not None:
            self.done = self._count()
        try:
            if self._takes_more():
                sample = Sample(now - self._began, {device.name: device.sample() for device in self._devices})
                with _uninterrupted():
                    self._drawing.draw(self._pieces(now - self._began), sample, self.done / self.total if self.total else None)
        except OSError:
            self._drawing = None  # it was hung up, which ends no run

    def message(self, line: str) -> None:
        """Print a line above what is shown, or just print it."""
        if self._drawing is None:
            print(line, file=self.stream, flush=True)
        else:
            self._drawing.message(line)

    def _takes_more(self) -> bool:
        waiter = select.poll()
        waiter.register(self.stream.fileno(), select.POLLOUT)
        return bool(waiter.poll(0))

    def _pieces(self, seconds: float) -> list[str]:
        goal = "" if self.total is None else f" of {self.total:,}"
        rate = scaled(self.done / seconds, "pps") if seconds > 0 else "0 pps"
        minutes, rest = divmod(int(seconds), 60)
        hours, minutes = divmod(minutes, 60)
        return [f"{self.doing} {self.done:,}{goal} {self.things}", rate, f"{hours}:{minutes:02}:{rest:02}"]

    def _arm(self, clock: Clock, seconds: float) -> None:
        def due() -> None:
            self._arm(clock, INTERVAL)
            self.tick()

        self._timer = clock.call_later(int(seconds * 1e9), due)
