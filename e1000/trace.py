"""Trace: what happens on cards, written to a file as it happens.

Two formats: JSON lines, which `open_trace` and `fastring trace` read back, and the Chrome trace event format, which Perfetto and
chrome://tracing show on a time line.
"""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from itertools import islice
from typing import IO, Self, cast

from e1000.device import E1000Device
from e1000.device.recorder import Recorder
from e1000.trace_events import Event, perfetto, perfetto_names, table, unpack
from e1000.trace_reader import MAGIC, Reader, Selection, TraceError, open_trace
from fastring.clock import Clock, MonotonicClock

__all__ = ["Reader", "Selection", "Trace", "TraceError", "Writer", "convert", "format_of", "open_trace"]

FORMATS = ("jsonl", "perfetto")

_Target = str | os.PathLike[str] | IO[str]


def format_of(path: str | os.PathLike[str]) -> str:
    """The format a file gets by its name: for Perfetto if that ends in .json."""
    return "perfetto" if os.fspath(path).endswith(".json") else "jsonl"


class Writer:
    """Events into a file of either format. `close` writes the end; `lost` events are told of there."""

    def __init__(self, target: _Target, cards: Sequence[str], *, format: str | None = None, start: int = 0) -> None:
        path = "" if isinstance(target, io.TextIOBase) else os.fspath(cast("str", target))
        self.format = format or format_of(path)
        if self.format not in FORMATS:
            raise ValueError(f"the format of a trace is {' or '.join(FORMATS)}, not {self.format!r}")
        self.events = 0
        self._own = not isinstance(target, io.TextIOBase)
        self._file = open(path, "w", encoding="ascii") if self._own else cast("IO[str]", target)  # noqa: SIM115
        if self.format == "jsonl":
            self._file.write(json.dumps({MAGIC: 1, "cards": list(cards), "start": start}) + "\n")
        else:
            names = ",\n".join(json.dumps(name) for name in perfetto_names(list(cards)))
            self._file.write('{"displayTimeUnit": "ns", "traceEvents": [\n' + names)

    def write(self, events: Iterable[Event]) -> None:
        """Append events. Raises OSError."""
        encode = json.JSONEncoder(check_circular=False).encode
        if self.format == "jsonl":
            lines = [encode(event) + "\n" for event in events]
        else:
            lines = [",\n" + encode(perfetto(event)) for event in events]
        self._file.write("".join(lines))
        self.events += len(lines)

    def close(self, lost: int = 0) -> None:
        """Write the end, and close the file if it was opened here; again is harmless. Raises OSError."""
        if self._file.closed or self.format == "closed":
            return
        end = {"events": self.events, "lost": lost}
        try:
            self._file.write(json.dumps({"end": end}) + "\n" if self.format == "jsonl" else f'\n], "otherData": {json.dumps(end)}}}\n')
            self._file.flush()
        finally:
            self.format = "closed"
            if self._own:
                self._file.close()


class Trace:
    """Trace one card, or several into one file, from here to `close` (or the end of ``with``).

    `target`: a path, or a text file that is open already, or None to keep the events in `events`. `format`: "jsonl" or "perfetto"; by
    default the latter if the path ends in .json. `clock`: whose time the events have; by default the first card's, or real time.
    `buffer`: events between two writes. What could not be written is counted in `lost`, and then `close` raises what was wrong.
    Raises OSError: the file cannot be written, or EBUSY, a card is traced already; ValueError: no cards, or no such format.
    """

    def __init__(
        self,
        devices: E1000Device | Sequence[E1000Device],
        target: _Target | None = None,
        *,
        format: str | None = None,
        clock: Clock | None = None,
        buffer: int = 1 << 14,
    ) -> None:
        cards = [devices] if isinstance(devices, E1000Device) else list(devices)
        if not 0 < len(cards) <= 256:
            raise ValueError(f"a trace is of 1 to 256 cards, not {len(cards)}")
        self.events: list[Event] = []
        self._name = str(getattr(target, "name", target))
        self._writer: Writer | None = None
        clock = clock or cards[0].clock or MonotonicClock()
        self._recorder = Recorder(self._take, clock=clock, capacity=buffer)
        with ExitStack() as undo:
            if target is not None:
                self._writer = Writer(target, [card.mac for card in cards], format=format, start=clock.monotonic_ns())
                undo.callback(self._end)
            undo.callback(self._recorder.flush)
            for number, card in enumerate(cards):
                card.record(self._recorder, number)
                undo.callback(card.record, None)
            self._undo = undo.pop_all()

    def _take(self, records: bytes) -> None:
        if self._writer is None:
            self.events += unpack(records)
        else:
            self._writer.write(unpack(records))

    def _end(self) -> None:
        assert self._writer is not None
        with _naming(self._name):
            self._writer.close(self.lost)

    @property
    def recorded(self) -> int:
        """Events so far."""
        return self._recorder.recorded

    @property
    def lost(self) -> int:
        """Events that could not be written."""
        return self._recorder.lost

    def flush(self) -> None:
        """Write what is recorded so far (to `events`, without a file). Raises OSError."""
        self._recorder.flush()

    def abandon(self) -> None:
        """End the trace, whatever becomes of its file."""
        with suppress(OSError, ValueError):
            self.close()

    def close(self) -> None:
        """End the trace and its file; again is harmless. Raises OSError if events were lost for that reason."""
        self._undo.close()
        if (error := self._recorder.error) is not None:
            with _naming(self._name):
                raise error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


@contextmanager
def _naming(target: str) -> Iterator[None]:
    """An OSError without a name, as that of a write is, gets the one of what is written to."""
    try:
        yield
    except OSError as error:
        error.filename = target if error.filename is None else error.filename
        raise


def convert(reader: Reader, wanted: Selection, *, to: str = "text", out: str | os.PathLike[str] | None = None) -> None:
    """Write the events of a trace that are `wanted`, to a file or standard output: in one of FORMATS, or as "text" for people.

    Raises OSError with the name of the file, ValueError for what `wanted` cannot have of this trace or a line that is no event.
    """
    with _naming("standard output" if out is None else os.fspath(out)), ExitStack() as undo:
        events = wanted.of(reader)
        target = sys.stdout if out is None else undo.enter_context(open(_other(out, reader), "w", encoding="utf-8"))
        if to == "text":
            for line in table(events, start=reader.start, many=len(reader.cards) > 1):
                target.write(line)
            target.flush()
            return
        writer = Writer(target, reader.cards, format=to, start=reader.start)
        try:
            while batch := list(islice(events, 1000)):
                writer.write(batch)
        finally:
            writer.close(reader.lost or 0)


def _other(out: str | os.PathLike[str], reader: Reader) -> str | os.PathLike[str]:
    """A file to write to that is not the one being read."""
    with suppress(OSError):
        if os.path.samefile(out, reader.name):
            raise ValueError(f"{os.fspath(out)} would overwrite itself")
    return out
