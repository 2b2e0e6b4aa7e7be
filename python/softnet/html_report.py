"""The report of a run as one page: opened from a file, without a network or scripts, and all its numbers in it as JSON, too."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from softnet.charts import bars, label, lines
from softnet.report import WHERE
from softnet.sampling import rates

STYLE = """
:root { color-scheme: light dark; --faint: #8886; }
body { font: 15px/1.45 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
table { border-collapse: collapse; } td, th { padding: .15rem .8rem .15rem 0; text-align: left; vertical-align: top; }
div.wide { overflow-x: auto; } .number, th.number { text-align: right; font-variant-numeric: tabular-nums; }
svg { width: 100%; height: auto; } svg text { font: 11px system-ui, sans-serif; fill: currentColor; }
svg .grid { stroke: var(--faint); stroke-width: 1; } p.note { color: #888; }
""".strip()

# What of a result is shown in the first table, and how it is called.
SUMMARY = (
    ("sent", "frames sent"),
    ("received", "frames received"),
    ("forwarded", "frames sent on"),
    ("captured", "frames captured"),
    ("truncated", "frames cut short"),
    ("filtered", "frames filtered"),
    ("not_wanted", "frames after the last one"),
    ("foreign", "frames of no stream"),
    ("lost", "frames lost"),
    ("bytes", "bytes"),
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
    where: Mapping[str, str] = WHERE,
) -> None:
    """Write the page. `result`: what --json prints; `series`: of softnet.sampling; `histograms`: by name, (value, count) pairs.

    `where`: what causes of drops mean.

    Raises OSError.
    """
    told = {name: [list(pair) for pair in pairs] for name, pairs in (histograms or {}).items()}
    data = {"result": dict(result), "series": dict(series), "histograms": told}
    page = "\n".join(_page(title, data, where))
    with open(path, "w", encoding="utf-8") as file:
        file.write(page)


def _page(title: str, data: Mapping[str, Any], where: Mapping[str, str]) -> Iterable[str]:
    yield "<!DOCTYPE html>"
    yield f'<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title><style>{STYLE}</style></head><body>'
    yield f"<h1>{escape(title)}</h1>"
    yield from _summary(data["result"])
    yield from _parts(data["result"])
    yield from _drops(data["result"], where)
    yield from _over_time(data["series"])
    yield from _histograms(data["histograms"])
    embedded = json.dumps(data).replace("<", "\\u003c")  # so that no text in it ends the script
    yield f'<script type="application/json" id="data">{embedded}</script>'
    yield "</body></html>"


def _number(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return escape(str(value))
    if isinstance(value, int) or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:,.6f}".rstrip("0").rstrip(".")


def _summary(result: Mapping[str, Any]) -> Iterable[str]:
    rows = [(told, result[key]) for key, told in SUMMARY if key in result]
    yield "<table>"
    yield from (f'<tr><th>{escape(told)}</th><td class="number">{_number(value)}</td></tr>' for told, value in rows)
    yield "</table>"
    problem = result.get("problem")
    problems = [*result.get("problems", ()), *([] if problem is None else [problem])]
    yield from (f"<p><strong>{escape(problem)}</strong></p>" for problem in problems)


# Lists in a result, and which columns of theirs make a table.
PARTS = (
    ("streams", "Streams", ("name", "sent", "received", "lost", "duplicates", "reordered", "stale", "jitter")),
    ("ports", "Cards", ("wire", "rx_packets", "rx_bytes", "tx_packets", "tx_bytes")),
    ("interfaces", "Interfaces", ("wire", "sent", "bytes", "received")),
)
COLUMNS = {"jitter": "jitter, ns", "p99_9": "p99.9"}
PERCENTILES = ("min", "mean", "p50", "p90", "p99", "p99_9", "max")


def _parts(result: Mapping[str, Any]) -> Iterable[str]:
    """What there are several of: streams, cards, interfaces."""
    for key, title, names in PARTS:
        rows = result.get(key)
        if not rows:
            continue
        yield f"<h2>{escape(title)}</h2>"
        yield from _table(names, [[row[name] for name in names] for row in rows])
        timed = [[row[names[0]], *(row["latency"][name] for name in PERCENTILES)] for row in rows if row.get("latency")]
        if timed:
            yield "<h2>Latency, in ns</h2>"
            yield from _table([names[0], *PERCENTILES], timed)


def _table(names: Sequence[str], rows: Sequence[Sequence[Any]]) -> Iterable[str]:
    """The first column names a row, the others are numbers."""
    heads = "".join(f'<th class="number">{escape(COLUMNS.get(name, name.replace("_", " ")))}</th>' for name in names[1:])
    yield f'<div class="wide"><table><tr><th>{escape(names[0])}</th>{heads}</tr>'
    for first, *numbers in rows:
        yield f"<tr><th>{escape(str(first))}</th>{''.join(f'<td class=number>{_number(value)}</td>' for value in numbers)}</tr>"
    yield "</table></div>"


def _drops(result: Mapping[str, Any], where: Mapping[str, str]) -> Iterable[str]:
    """Of the whole, and of each of its cards where those have their own."""
    causes = [(cause, frames, "") for cause, frames in (result.get("drops") or {}).items()]
    for port in result.get("ports", ()):
        causes += [(cause, frames, port["wire"]) for cause, frames in port["drops"].items()]
    yield "<h2>Drops by cause</h2>"
    if not causes:
        yield "<p>None.</p>"
        return
    yield "<table>"
    for cause, frames, wire in sorted(causes, key=lambda row: -row[1]):
        told = where.get(cause, "") + (f" ({wire})" if wire else "")
        yield f'<tr><th>{escape(cause)}</th><td class="number">{_number(frames)}</td><td>{escape(told)}</td></tr>'
    yield "</table>"


def _over_time(series: Mapping[str, Any]) -> Iterable[str]:
    seconds, devices = series["seconds"], series["devices"]
    if _ends_short(seconds):
        seconds, devices = seconds[:-1], {name: {key: column[:-1] for key, column in columns.items()} for name, columns in devices.items()}
    if len(seconds) < 2:
        yield '<p class="note">The run was too short for anything over time.</p>'
        return

    def having(counter: str) -> dict[str, Mapping[str, Sequence[int]]]:
        """Devices that count this; a wire without a card has no ring and no interrupts."""
        return {name: columns for name, columns in devices.items() if counter in columns}

    def rate(counter: str, scale: float = 1) -> dict[str, list[float]]:
        return {name: [scale * value for value in rates(seconds, columns[counter])] for name, columns in having(counter).items()}

    def chart(title: str, values: dict[str, list[float]], unit: str = "") -> Iterable[str]:
        """The first sample has no rate, and is left out."""
        if not values:
            return
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
    in_flight = {name: [float(used) for used in columns["tx_in_flight"]] for name, columns in having("tx_in_flight").items()}
    yield from chart("Transmit ring, descriptors in use", in_flight)
    yield from chart("Packets per poll", {name: _per_poll(columns) for name, columns in having("polls").items()})


def _ends_short(seconds: Sequence[float]) -> bool:
    """Whether the last sample, which the run's end made, is too close to the one before for a rate that says anything."""
    return len(seconds) > 2 and seconds[-1] - seconds[-2] < 0.5 * (seconds[1] - seconds[0])


def _per_poll(columns: Mapping[str, Sequence[int]]) -> list[float]:
    polls, packets = columns["polls"], columns["polled_packets"]
    found = [0.0]
    for i in range(1, len(polls)):
        more = polls[i] - polls[i - 1]
        found.append((packets[i] - packets[i - 1]) / more if more else 0.0)
    return found


TITLES = {
    "frame_sizes": ("Frame sizes", "bytes, to 1/128"),
    "gaps_ns": ("Gaps between packets", "s"),
    "latency_ns": ("Latency", "s"),
    "lateness_ns": ("How late frames left", "s"),
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
        timed = unit == "s"  # whose prefix goes with the number
        names = [label(1e-9 * value, unit) if timed else str(value) for value, _ in merged]
        yield bars(title, names, [count for _, count in merged], x_title="" if timed else unit)


def merge(buckets: Sequence[Sequence[int]], most: int) -> list[tuple[int, int]]:
    """The same in at most `most` buckets, neighbours put together: each is known by its lowest value."""
    every = -(-len(buckets) // most)
    groups = [buckets[i : i + every] for i in range(0, len(buckets), every)]
    return [(group[0][0], sum(count for _, count in group)) for group in groups]
