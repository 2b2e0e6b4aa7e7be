"""Comparisons as one page: opened from a file, without a network or scripts, and all its numbers in it as JSON, too."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from itertools import groupby

from softnet.bench.series import Comparison, Series, figure
from softnet.charts import COLOURS
from softnet.html_report import STYLE

WIDTH, ROW, RIGHT, TOP, BOTTOM = 720, 22, 20, 8, 30
LEFT, LETTER = 210, 6.7  # of names: at least so much room, and for each letter
MOST_TICKS = 8
SWEEP_HEIGHT = 260
OURS, OTHERS = COLOURS[0], COLOURS[5]


def write_page(
    path: str | os.PathLike[str], *, title: str, comparisons: Sequence[Comparison], machine: Mapping[str, str], verdict: str
) -> None:
    """Write the page. `machine`, `verdict`: of softnet.bench.machine. Raises OSError."""
    with open(path, "w", encoding="utf-8") as file:
        file.write("\n".join(_page(title, comparisons, machine, verdict)))


def _page(title: str, comparisons: Sequence[Comparison], machine: Mapping[str, str], verdict: str) -> Iterable[str]:
    yield "<!DOCTYPE html>"
    yield f'<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title><style>{STYLE}</style></head><body>'
    yield f"<h1>{escape(title)}</h1><p><strong>{escape(verdict)}</strong></p><table>"
    yield from (f"<tr><th>{escape(name)}</th><td>{escape(told)}</td></tr>" for name, told in machine.items())
    yield "</table>"
    yield '<p class="note">All took turns in each round. Dots are medians, lines reach from the least to the most. Ratios are medians of '
    yield "ratios within a round. Less is better; axes are logarithmic.</p>"
    for question, group in groupby(comparisons, key=_question):
        asked = list(group)
        yield f"<h2>{escape(question)}</h2>"
        points = [_point(one) for one in asked]
        if len(asked) > 1 and all(points):
            yield sweep(question, [point or "" for point in points], asked)
        for one in asked:
            yield f"<h3>{escape(_subtitle(one, question))}</h3>"
            if len(asked) == 1 or not all(points):
                yield spread(one)
            yield from _table(one)
    data = {"machine": dict(machine), "verdict": verdict, "comparisons": [_numbers(one) for one in comparisons]}
    told = json.dumps(data).replace("<", "\\u003c")
    yield f'<script type="application/json" id="data">{told}</script>'
    yield "</body></html>"


def _numbers(one: Comparison) -> dict[str, object]:
    """All of them, for programs."""
    values = {series.name: series.values for series in one.series}
    trips = {series.name: [[trip.p50, trip.p99, trip.p99_9] for trip in series.trips] for series in one.series if series.trips}
    return {"title": one.title, "unit": one.unit, "values": values, "trips": trips}


def _question(one: Comparison) -> str:
    return one.title.partition("?")[0] + "?"


def _subtitle(one: Comparison, question: str) -> str:
    """What it is about beside its question; for a point of a sweep, what was swept, and that."""
    rest = one.title.removeprefix(question).strip(" ,") or one.title
    return f"{question.removeprefix('which').strip(' ?')} {rest}" if _point(one) else rest


def _point(one: Comparison) -> str | None:
    """Where in a sweep: the number that a title ends with, alone behind its question mark."""
    found = re.fullmatch(r".*\?\s*(\d+)", one.title)
    return found[1] if found else None


def _table(one: Comparison) -> Iterable[str]:
    heads, rows = one.table()
    yield f'<div class="wide"><table><tr>{"".join(f"<th class=number>{escape(head)}</th>" for head in heads)}</tr>'
    for name, *cells in rows:
        yield f"<tr><th>{escape(name)}</th>{''.join(f'<td class=number>{escape(cell)}</td>' for cell in cells)}</tr>"
    yield "</table></div>"


class _Scale:
    """A logarithmic axis from `start` to `end` on the page, over all of `values`, of which one is at least positive."""

    def __init__(self, values: Iterable[float], start: float, end: float) -> None:
        there = [value for value in values if value > 0]
        self.low, self.high = math.log10(min(there)) - 0.05, math.log10(max(there)) + 0.05
        self.start, self.end = start, end

    def __call__(self, value: float) -> float:
        return self.start + (self.end - self.start) * (math.log10(max(value, 10**self.low)) - self.low) / (self.high - self.low)

    def ticks(self) -> list[float]:
        """Powers of ten, with as many of their multiples between as make two ticks at least."""
        found: list[float] = []
        for steps in (range(1, 2) if self.high - self.low > 2.5 else (1, 2, 5), range(1, 10), range(10, 100), range(100, 1000)):
            if len(found) < 2:
                unit = 10.0 ** -int(math.log10(steps[0]))
                every = (step * unit * 10.0**power for power in range(math.floor(self.low), math.ceil(self.high) + 1) for step in steps)
                found = [value for value in every if self.low <= math.log10(value) <= self.high]
        return found[:: math.ceil(len(found) / MOST_TICKS)]


def _values(series: Iterable[Series]) -> list[float]:
    return [value for one in series for value in one.values]


def _short(value: float) -> str:
    return f"{value:g}"


def _svg(height: float, title: str, parts: Sequence[str]) -> str:
    return f'<svg viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="{escape(title, quote=True)}">{"".join(parts)}</svg>'


def spread(one: Comparison) -> str:
    """A row for each who took part, the best first: the median, and from the least to the most."""
    series = one.ranked
    left = max(LEFT, 8 + LETTER * max(len(row.name) for row in series))
    across = _Scale(_values(series), left, WIDTH - RIGHT)
    bottom = TOP + ROW * len(series)
    parts = []
    for value in across.ticks():
        x = across(value)
        parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{bottom}"/>')
        parts.append(f'<text x="{x:.1f}" y="{bottom + 13}" text-anchor="middle">{_short(value)}</text>')
    parts.append(f'<text x="{(left + WIDTH) / 2:.0f}" y="{bottom + 26}" text-anchor="middle">{escape(one.unit)}</text>')
    for number, row in enumerate(series):
        y, colour = TOP + ROW * (number + 0.5), OURS if row.ours else OTHERS
        parts.append(f'<text x="{left - 8:.0f}" y="{y + 4:.1f}" text-anchor="end">{escape(row.name)}</text>')
        least, most = across(row.least), across(row.most)
        parts.append(f'<line x1="{least:.1f}" x2="{most:.1f}" y1="{y}" y2="{y}" stroke="{colour}" stroke-width="3"/>')
        parts.append(f'<circle cx="{across(row.median):.1f}" cy="{y}" r="5" fill="{colour}"><title>{figure(row.median)}</title></circle>')
    return _svg(bottom + BOTTOM, one.title, parts)


def sweep(title: str, points: Sequence[str], comparisons: Sequence[Comparison]) -> str:
    """A line for each who took part in all of them, over what was swept, with the spread at each point."""
    names = [one.name for one in comparisons[0].series if all(one.name in [other.name for other in each.series] for each in comparisons)]
    right = 170
    up = _Scale([value for each in comparisons for value in _values(each.series)], SWEEP_HEIGHT - BOTTOM, TOP)
    left, step = 50, (WIDTH - right - 70) / max(1, len(points) - 1)
    parts = []
    for value in up.ticks():
        y = up(value)
        parts.append(f'<line class="grid" x1="{left}" x2="{WIDTH - right}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{_short(value)}</text>')
    for number, point in enumerate(points):
        parts.append(f'<text x="{left + 10 + step * number:.1f}" y="{SWEEP_HEIGHT - 14}" text-anchor="middle">{escape(point)}</text>')
    for number, name in enumerate(names):
        colour, rows = COLOURS[number % len(COLOURS)], [each.named(name) for each in comparisons]
        xs = [left + 10 + step * at + 3 * (number - len(names) / 2) for at in range(len(rows))]
        dots = " ".join(f"{x:.1f},{up(row.median):.1f}" for x, row in zip(xs, rows, strict=True))
        parts.append(f'<polyline fill="none" stroke="{colour}" stroke-width="1.6" points="{dots}"/>')
        parts.extend(
            f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{up(row.least):.1f}" y2="{up(row.most):.1f}" stroke="{colour}" stroke-opacity=".4"/>'
            for x, row in zip(xs, rows, strict=True)
        )
        x, y = WIDTH - right + 12, TOP + 14 + 16 * number
        parts.append(f'<text x="{x}" y="{y}" style="fill: {colour}" font-weight="600">{escape(name)}</text>')
    parts.append(f'<text x="{WIDTH - right + 12}" y="{SWEEP_HEIGHT - 14}">{escape(comparisons[0].unit)}</text>')
    return _svg(SWEEP_HEIGHT, title, parts)
