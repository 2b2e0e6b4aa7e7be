"""The report of a run as one page: opened from a file, without a network or scripts, and all its numbers in it as JSON, too."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from softnet.charts import bars, lines, si
from softnet.report import WHERE
from softnet.sampling import rates

STYLE = """
:root { color-scheme: light dark; --faint: #8886; }
body { font: 15px/1.45 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
table { border-collapse: collapse; } td, th { padding: .15rem .8rem .15rem 0; text-align: left; vertical-align: top; }
td.number { text-align: right; font-variant-numeric: tabular-nums; }
svg { width: 100%; height: auto; } svg text { font: 11px system-ui, sans-serif; fill: currentColor; }
svg .grid { stroke: var(--faint); stroke-width: 1; } p.note { color: #888; }
""".strip()

# What of a result is shown in the first table, and how it is called.
SUMMARY = (
    ("sent", "frames sent"),
    ("received", "frames received"),
    ("lost", "frames lost"),
    ("bytes", "bytes sent"),
    ("received_bytes", "bytes received"),
    ("seconds", "seconds"),
    ("pps", "packets per second"),
    ("bits_per_second", "bits per second"),
    ("interrupts", "interrupts"),
    ("polls", "polls"),
    ("packets_per_poll", "packets per poll"),
    ("queue_stops", "queue stops"),
    ("queue_wakes", "queue wakes"),
    ("bql_stops", "stops by BQL"),
    ("mtu", "MTU"),
)


def write_report(
    path: str | os.PathLike[str],
    *,
    title: str,
    result: Mapping[str, Any],
    series: Mapping[str, Any],
    histograms: Mapping[str, Sequence[tuple[int, int]]] | None = None,
) -> None:
    """Write the page. `result`: what --json prints; `series`: of softnet.sampling; `histograms`: by name, (value, count) pairs.

    Raises OSError.
    """
    told = {name: [list(pair) for pair in pairs] for name, pairs in (histograms or {}).items()}
    data = {"result": dict(result), "series": dict(series), "histograms": told}
    page = "\n".join(_page(title, data))
    with open(path, "w", encoding="utf-8") as file:
        file.write(page)


def _page(title: str, data: Mapping[str, Any]) -> Iterable[str]:
    yield "<!DOCTYPE html>"
    yield f'<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title><style>{STYLE}</style></head><body>'
    yield f"<h1>{escape(title)}</h1>"
    yield from _summary(data["result"])
    yield from _drops(data["result"])
    yield from _over_time(data["series"])
    yield from _histograms(data["histograms"])
    embedded = json.dumps(data).replace("<", "\\u003c")  # so that no text in it ends the script
    yield f'<script type="application/json" id="data">{embedded}</script>'
    yield "</body></html>"


def _number(value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return escape(str(value))
    return f"{value:,}" if isinstance(value, int) else f"{value:,.6f}".rstrip("0").rstrip(".")


def _summary(result: Mapping[str, Any]) -> Iterable[str]:
    rows = [(told, result[key]) for key, told in SUMMARY if key in result]
    yield "<table>"
    yield from (f'<tr><th>{escape(told)}</th><td class="number">{_number(value)}</td></tr>' for told, value in rows)
    yield "</table>"
    yield from (f"<p><strong>{escape(problem)}</strong></p>" for problem in result.get("problems", ()))


def _drops(result: Mapping[str, Any]) -> Iterable[str]:
    drops = result.get("drops") or {}
    yield "<h2>Drops by cause</h2>"
    if not drops:
        yield "<p>None.</p>"
        return
    yield "<table>"
    for cause, frames in sorted(drops.items(), key=lambda pair: -pair[1]):
        yield f'<tr><th>{escape(cause)}</th><td class="number">{_number(frames)}</td><td>{escape(WHERE.get(cause, ""))}</td></tr>'
    yield "</table>"


def _over_time(series: Mapping[str, Any]) -> Iterable[str]:
    seconds, devices = series["seconds"], series["devices"]
    if len(seconds) < 2:
        yield '<p class="note">The run was too short for anything over time.</p>'
        return

    def rate(counter: str, scale: float = 1) -> dict[str, list[float]]:
        return {name: [scale * value for value in rates(seconds, columns[counter])] for name, columns in devices.items()}

    def chart(title: str, values: dict[str, list[float]], unit: str = "") -> Iterable[str]:
        """The first sample has no rate, and is left out."""
        yield f"<h2>{escape(title)}</h2>"
        yield lines(title, seconds[1:], {name: column[1:] for name, column in values.items()}, unit=unit)

    for title, told, counter, scale, unit in (
        ("Throughput", "sent", "tx_bytes", 8, "bit/s"),
        ("Throughput", "received", "rx_bytes", 8, "bit/s"),
        ("Packets", "sent", "tx_packets", 1, "pps"),
        ("Packets", "received", "rx_packets", 1, "pps"),
        ("Drops", "both ways", "dropped", 1, "pps"),
        ("Interrupts", "handled", "interrupts", 1, "/s"),
    ):
        yield from chart(f"{title}, {told}", rate(counter, scale), unit)
    yield from chart("Transmit ring, descriptors in use", {name: columns["tx_in_flight"] for name, columns in devices.items()})
    yield from chart("Packets per poll", {name: _per_poll(columns) for name, columns in devices.items()})


def _per_poll(columns: Mapping[str, Sequence[int]]) -> list[float]:
    polls, packets = columns["polls"], columns["polled_packets"]
    found = [0.0]
    for i in range(1, len(polls)):
        more = polls[i] - polls[i - 1]
        found.append((packets[i] - packets[i - 1]) / more if more else 0.0)
    return found


TITLES = {
    "frame_sizes": ("Frame sizes", "bytes"),
    "gaps_ns": ("Gaps between packets", "seconds"),
    "latency_ns": ("Latency", "seconds"),
    "lateness_ns": ("How late frames left", "seconds"),
}
MOST_BARS = 60


def _histograms(histograms: Mapping[str, Sequence[Sequence[int]]]) -> Iterable[str]:
    for name, buckets in histograms.items():
        title, unit = TITLES.get(name, (name, ""))
        yield f"<h2>{escape(title)}</h2>"
        if not buckets:
            yield "<p>None.</p>"
            continue
        merged = merge(buckets, MOST_BARS)
        scale = 1e-9 if name.endswith("_ns") else 1
        yield bars(title, [si(value * scale) for value, _ in merged], [count for _, count in merged], x_title=unit)


def merge(buckets: Sequence[Sequence[int]], most: int) -> list[tuple[int, int]]:
    """The same in at most `most` buckets, neighbours put together: each is known by its lowest value."""
    every = -(-len(buckets) // most)
    groups = [buckets[i : i + every] for i in range(0, len(buckets), every)]
    return [(group[0][0], sum(count for _, count in group)) for group in groups]
