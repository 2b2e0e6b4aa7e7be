"""Reading a trace in JSON lines: each event checked, so that whoever shows it need not."""

from __future__ import annotations

import json
import os
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import IO, Any, Self

from e1000.regmap import names
from e1000.trace_events import CATEGORIES, Event

MAGIC = "fastring-trace"
LONGEST = 1 << 16  # characters of a line


class TraceError(ValueError):
    """A file that is no trace."""


class Reader:
    """The events of a trace in JSON lines; `-` is standard input. Iterate once: raises TraceError at a line that is no event.

    `cards`: their addresses. Behind the last event `ended` says whether the trace is whole, and `lost` how many events it misses.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.name = os.fspath(path)
        self.lost = 0
        self.ended = self.stopped = False
        self._file: IO[str] = sys.stdin if self.name == "-" else open(path, encoding="utf-8", errors="replace")  # noqa: SIM115
        head = self._object(self._file.readline(LONGEST))
        if head.get(MAGIC) != 1 or not isinstance(head.get("cards"), list) or not all(isinstance(c, str) for c in head["cards"]):
            self.close()
            raise TraceError(f"{self.name}: not a trace that `fastring replay --trace` or e1000.trace wrote in JSON lines")
        self.cards: list[str] = head["cards"]
        self.start: int = head["start"] if type(head.get("start")) is int else 0  # ns on the clock

    @staticmethod
    def _object(line: str) -> dict[str, Any]:
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            return {}
        return value if isinstance(value, dict) else {}

    def __iter__(self) -> Iterator[Event]:
        number = 1
        while line := self._file.readline(LONGEST):
            number += 1
            event = self._object(line)
            if isinstance(event.get("end"), dict):
                lost = event["end"].get("lost")
                self.lost = lost if isinstance(lost, int) else 0
                self.ended = True
                return
            if not line.endswith("\n") and len(line) < LONGEST:
                return  # it breaks off within a line
            if problem := _wrong(event, len(self.cards)):
                raise TraceError(f"{self.name}: line {number:,} is no event: {problem}")
            yield event

    @property
    def problem(self) -> str:
        """What is wrong with the trace as a whole, once it was read; or nothing."""
        if self.ended and self.lost:
            return f"{self.name}: {self.lost:,} events are missing: they could not be recorded"
        return "" if self.ended or self.stopped else f"{self.name}: the trace breaks off"

    def close(self) -> None:
        """Close the file; again is harmless."""
        if self._file is not sys.stdin:
            self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def open_trace(path: str | os.PathLike[str]) -> Reader:
    """Read a trace; `-` is standard input. Raises OSError, or TraceError for another file."""
    return Reader(path)


@dataclass(frozen=True)
class Selection:
    """Which events of a trace are wanted; None: all. `head`, `tail`: the first or last so many of those. Raises ValueError.

    `registers`: by name, an array's without index for all of it; an offset that is no register's has its number as a name: 0x00034.
    """

    only: Sequence[str] | None = None
    registers: Sequence[str] | None = None
    card: int | None = None
    head: int | None = None
    tail: int | None = None

    def __post_init__(self) -> None:
        if self.only is not None and not self.only:
            raise ValueError(f"no category is named: they are {', '.join(CATEGORIES)}")
        if self.registers is not None and not self.registers:
            raise ValueError("no register is named")
        for register in self.registers or ():
            if register not in names() and register != "IOADDR" and not register.startswith("0x"):
                raise ValueError(f"there is no register {register!r}")
        for category in self.only or ():
            if category not in CATEGORIES:
                raise ValueError(f"there are no events {category!r}: they are {', '.join(CATEGORIES)}")
        if self.head is not None and self.tail is not None:
            raise ValueError("the first events or the last ones, not both")
        if self.tail is not None and self.tail > sys.maxsize:
            raise ValueError(f"{self.tail} events are too many")

    def of(self, reader: Reader) -> Iterator[Event]:
        """The events of a trace that are wanted. Raises ValueError for a card that it is not of."""
        if self.card is not None and self.card >= max(len(reader.cards), 1):
            raise ValueError(f"{reader.name}: a trace of {len(reader.cards)} cards has no card {self.card}, they count from 0")
        wanted = (event for event in reader if self._wants(event))
        if self.tail is not None:
            return iter(deque(wanted, self.tail))
        if self.head is not None:
            return self._first(wanted, reader)
        return wanted

    def _first(self, wanted: Iterator[Event], reader: Reader) -> Iterator[Event]:
        assert self.head is not None
        for number, event in enumerate(islice(wanted, self.head), 1):
            reader.stopped = number == self.head
            yield event
        reader.stopped |= self.head == 0

    def _wants(self, event: Event) -> bool:
        if self.only is not None and event["cat"] not in self.only:
            return False
        if self.registers is not None:
            register = event.get("register", "")
            if register not in self.registers and register.partition("[")[0] not in self.registers:
                return False
        return self.card is None or event["card"] == self.card


# What an event of each category has besides t, card, cat and event
_ACCESS: dict[str, type] = {"offset": int, "size": int, "value": int}
_NEEDED: dict[str, dict[str, type]] = {
    "mmio": {**_ACCESS, "register": str},
    "io": {**_ACCESS, "register": str},
    "config": _ACCESS,
    "desc": {"ring": str, "index": int, "address": str, "word": str},
    "dma": {"address": str, "length": int},
    "irq": {},
    "frame": {},
    "timer": {"timer": str},
}
_NEEDED_TOO: dict[str, dict[str, type]] = {
    "up": {"icr": int, "ims": int},
    "down": {"icr": int, "ims": int},
    "message": {"address": str, "data": int},
    "sent": {"length": int, "head": str},
    "arrived": {"length": int, "head": str},
    "dropped": {"reason": str, "count": int},
    "refused": {"count": int},
}


def _wrong(event: Event, cards: int) -> str:
    """What is wrong with an event, or nothing: whoever passes may be described and converted."""
    if not event:
        return "no JSON object"
    if event.get("cat") not in CATEGORIES:
        return f"a category {event.get('cat')!r}" if "cat" in event else "no category"
    needed = {"t": int, "card": int, "event": str, **_NEEDED[event["cat"]]}
    if event["cat"] in ("irq", "frame"):
        if event.get("event") not in _NEEDED_TOO:
            return f"an event {event.get('event')!r}"
        needed |= _NEEDED_TOO[event["event"]]
    for name, kind in needed.items():
        if not isinstance(event.get(name), kind) or isinstance(event[name], bool):
            return f"no {name!r}, or a wrong one"
        if kind is int and not 0 <= event[name] < 1 << 64:
            return f"{name!r} is {str(event[name])[:20]}"
    if not event["card"] < max(cards, 1):
        return f"of card {event['card']}"
    for name in ("address", "word"):
        if name in needed and not _is_hex(event[name]):
            return f"{name!r} is not hexadecimal"
    return ""


def _is_hex(text: str) -> bool:
    try:
        return 0 <= int(text, 16) < 1 << 64
    except ValueError:
        return False
