"""Charts as SVG, for pages that must open from a file, without a network, a script or a library: lines over time, and bars."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

WIDTH, HEIGHT = 720, 220
LEFT, RIGHT, TOP, BOTTOM = 70, 12, 24, 34
COLOURS = ("#1f6fb4", "#d1495b", "#2a9d6f", "#b07d1a", "#7a4fb0", "#5b6770")


def si(value: float) -> str:
    """A number of three digits with its prefix: 12.3M, 450, 1.5m."""
    if value == 0:
        return "0"
    for factor, prefix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1, ""), (1e-3, "m"), (1e-6, "µ"), (1e-9, "n")):
        if abs(value) >= 0.9995 * factor:
            return f"{value / factor:.3g}{prefix}"
    return f"{value:.2g}"


def label(value: float, unit: str = "") -> str:
    """The same with its unit, 12.3 Mbit/s; a number alone has a prefix only where it would be long, 0.5 but 12.3M."""
    text = si(value)
    if not unit:
        return f"{value:g}" if 0.001 <= abs(value) < 999.5 and len(f"{value:g}") < 6 else text
    digits = text.rstrip("TGMkmµn")
    return f"{digits} {text[len(digits) :]}{unit}"


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Round numbers from `low` to `high`, about `count` of them (a step of 1, 2 or 5 times a power of ten)."""
    if not high > low:
        return [low]
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= 0.9999 * rough)
    first = math.ceil(low / step - 1e-9)
    return [number * step for number in range(first, math.floor(high / step + 1e-9) + 1)]


class _Frame:
    """The axes of one chart: from values to places."""

    def __init__(self, x: tuple[float, float], y: tuple[float, float]) -> None:
        self.x, self.y = x, y

    def across(self, value: float) -> float:
        low, high = self.x
        return LEFT + (WIDTH - LEFT - RIGHT) * ((value - low) / (high - low) if high > low else 0.5)

    def up(self, value: float) -> float:
        low, high = self.y
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * ((value - low) / (high - low) if high > low else 0)

    def axes(self, *, unit: str, x_labels: Sequence[tuple[float, str]], x_title: str) -> list[str]:
        parts = []
        for value in ticks(*self.y, 4):
            y = self.up(value)
            parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
            parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{escape(label(value, unit))}</text>')
        for value, told in x_labels:
            parts.append(f'<text x="{self.across(value):.1f}" y="{HEIGHT - BOTTOM + 14}" text-anchor="middle">{escape(told)}</text>')
        parts.append(f'<text x="{(LEFT + WIDTH - RIGHT) / 2:.0f}" y="{HEIGHT - 4}" text-anchor="middle">{escape(x_title)}</text>')
        return parts


def _svg(parts: Sequence[str], title: str) -> str:
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title, quote=True)}">{"".join(parts)}</svg>'


def lines(title: str, x: Sequence[float], series: dict[str, Sequence[float]], *, unit: str = "", x_title: str = "seconds") -> str:
    """Each of `series`, by name, over `x`, from zero up; with a legend. Empty series make an empty chart."""
    top = max((max(values, default=0) for values in series.values()), default=0) or 1
    frame = _Frame((x[0], x[-1]) if x else (0, 1), (0, top))
    parts = frame.axes(unit=unit, x_labels=[(value, label(value)) for value in ticks(*frame.x, 8)], x_title=x_title)
    for number, (name, values) in enumerate(series.items()):
        colour = COLOURS[number % len(COLOURS)]
        points = " ".join(f"{frame.across(a):.1f},{frame.up(b):.1f}" for a, b in zip(x, values, strict=True))
        if len(x) == 1:
            parts.append(f'<circle cx="{frame.across(x[0]):.1f}" cy="{frame.up(values[0]):.1f}" r="3" fill="{colour}"/>')
        parts.append(f'<polyline fill="none" stroke="{colour}" stroke-width="1.6" points="{points}"/>')
        parts.append(f'<text x="{LEFT + 130 * number}" y="{TOP - 10}" style="fill: {colour}" font-weight="600">{escape(name)}</text>')
    return _svg(parts, title)


def bars(title: str, labels: Sequence[str], values: Sequence[float], *, x_title: str, unit: str = "") -> str:
    """One bar for each label; of many labels only some are written."""
    top = max(values, default=0) or 1
    frame = _Frame((0, max(1, len(values))), (0, top))
    every = max(1, math.ceil(len(labels) / 12))
    parts = frame.axes(unit=unit, x_labels=[(i + 0.5, told) for i, told in enumerate(labels) if i % every == 0], x_title=x_title)
    for i, value in enumerate(values):
        x, y = frame.across(i), frame.up(value)
        width = max(0.5, frame.across(i + 1) - x - 1)
        parts.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{HEIGHT - BOTTOM - y:.1f}" fill="{COLOURS[0]}">'
            f"<title>{escape(labels[i])}: {value:,}</title></rect>"
        )
    return _svg(parts, title)
