"""Several things measured in turns: medians, spreads, and how one compares with the best of the others."""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class RoundTrip:
    """Nanoseconds there and back."""

    mean: float
    p50: float
    p99: float
    p99_9: float


Measure = Callable[[], float | RoundTrip]


@dataclass
class Series:
    """What one of them measured, one value a round: less is better, as nanoseconds are. Round trips: their p50; all is in `trips`."""

    name: str
    ours: bool = False
    values: list[float] = field(default_factory=list)
    trips: list[RoundTrip] = field(default_factory=list)

    def add(self, told: float | RoundTrip) -> None:
        """One more round."""
        if isinstance(told, RoundTrip):
            self.trips.append(told)
        self.values.append(told.p50 if isinstance(told, RoundTrip) else told)

    def tails(self) -> tuple[float, ...]:
        """Medians of the rounds' p99 and p99.9; nothing where no round trips were measured."""
        if not self.trips:
            return ()
        return statistics.median(trip.p99 for trip in self.trips), statistics.median(trip.p99_9 for trip in self.trips)

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def least(self) -> float:
        return min(self.values)

    @property
    def most(self) -> float:
        return max(self.values)


@dataclass(frozen=True)
class Comparison:
    """One question's series. `ratio` pairs values of the same round: the machine was the same for both, whatever it was in others."""

    title: str
    series: list[Series]
    unit: str = "ns an item"
    against: tuple[str, ...] = ()  # whom the table compares with, by name; else the best peer

    @property
    def best_peer(self) -> Series | None:
        """Of those that are not ours."""
        return min((one for one in self.series if not one.ours), key=lambda one: one.median, default=None)

    def named(self, name: str) -> Series:
        return next(one for one in self.series if one.name == name)

    def ratio(self, one: Series, to: Series | None = None) -> float | None:
        """How many times as fast as the best peer, or as `to`: the median of its rounds. None where there is nobody."""
        to = to or self.best_peer
        if to is None:
            return None
        return statistics.median(theirs / ours for ours, theirs in zip(one.values, to.values, strict=True))

    def rivals(self) -> list[Series]:
        """Whom the table compares with."""
        named = [one for one in self.series if one.name in self.against]
        return named or [one for one in (self.best_peer,) if one is not None]

    @property
    def ranked(self) -> list[Series]:
        """The best first."""
        return sorted(self.series, key=lambda one: one.median)

    @property
    def rounds(self) -> int:
        return min((len(one.values) for one in self.series), default=0)

    def table(self) -> tuple[list[str], list[list[str]]]:
        """Heads and rows, the best first; those of a sweep, which numbers name, in its order."""
        rivals = self.rivals()
        tails = ["p99", "p99.9"] if all(one.trips for one in self.series) else []
        heads = ["", f"median {self.unit}", "min..max", *tails, *(f"times {rival.name}" for rival in rivals)]
        rows = []
        for one in self.series if all(one.name.isdecimal() for one in self.series) else self.ranked:
            more = [figure(tail) for tail in one.tails()] if tails else []
            ratios = [f"{self.ratio(one, rival):.2f}" for rival in rivals]
            rows.append([one.name, figure(one.median), f"{figure(one.least)}..{figure(one.most)}", *more, *ratios])
        return heads, rows

    def __str__(self) -> str:
        heads, rows = self.table()
        return "\n".join([f"{self.title}, {self.rounds} rounds, and how many times as fast as others", *aligned([heads, *rows])])


def compare(
    title: str,
    measures: Mapping[str, Measure],
    *,
    ours: Sequence[str],
    rounds: int = 5,
    unit: str = "ns an item",
    against: tuple[str, ...] = (),
    between: Callable[[], object] = lambda: None,
    seconds: float = 0,
) -> Comparison:
    """Run all `measures`, by name, in each round, each round beginning with another of them. `between`: called before each round.

    `rounds`, or more of them, until `seconds` have passed. One run of each beforehand, not counted, warms up.
    """
    end = time.monotonic() + seconds
    series = [Series(name, name in ours) for name in measures]
    for measure in measures.values():
        measure()
    for turn in itertools.count():
        if turn >= rounds and time.monotonic() >= end:
            break
        between()
        for number in range(len(series)):
            one = series[(turn + number) % len(series)]
            one.add(measures[one.name]())
    return Comparison(title, series, unit, against)


def figure(value: float) -> str:
    """Three digits, or all that are left of the point."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a table, the first column to the left and the others to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  " + "  ".join(cell.rjust(width) if column else cell.ljust(width)
                             for column, (cell, width) in enumerate(zip(row, widths, strict=True))).rstrip() for row in rows]
