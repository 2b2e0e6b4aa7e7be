"""What became of generated packets: counts for each stream, and as text."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from fastring.histogram import Histogram
from fastring.stream_sink import StreamArrivals
from softnet.drop_counts import DropCounts
from softnet.report import drop_lines, scaled

PERCENTILES = {"p50": 50.0, "p90": 90.0, "p99": 99.0, "p99_9": 99.9}


@dataclass
class StreamResult:
    """One stream. `received`: different packets; times in ns. Without a signature or a receiver all but `sent` is None."""

    name: str
    sent: int
    received: int | None = None
    lost: int | None = None
    duplicates: int | None = None
    reordered: int | None = None
    stale: int | None = None
    early: int | None = None
    jitter: float | None = None
    latency: dict[str, float] | None = None
    histogram: Histogram | None = None

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {name: value for name, value in vars(self).items() if name != "histogram"}


@dataclass
class GenerateResult(DropCounts):
    """All of a run. `lost`: by signatures where every stream has one, else the difference of `sent` and `received`.

    `foreign`: received packets that are of no stream, or damaged; `late_*`: how long after its time a packet left, in ns; `copied`: packets
    that were made where the card does not read.
    """

    clock: str = "real"
    sent: int = 0
    received: int = 0
    lost: int = 0
    drops: dict[str, int] = field(default_factory=dict)
    bytes: int = 0
    received_bytes: int = 0
    foreign: int = 0
    copied: int = 0
    seconds: float = 0.0
    pps: float = 0.0
    bits_per_second: float = 0.0
    late_p50: int = 0
    late_p99: int = 0
    late_max: int = 0
    interrupted: bool = False
    problems: list[str] = field(default_factory=list)
    streams: list[StreamResult] = field(default_factory=list)

    def finish(self, *, every_signed: bool, copied: int) -> None:
        """Work out what follows from the counts."""
        self.copied = copied
        self.lost = max(self.sent - self.received, 0)
        if every_signed:
            self.lost = sum(stream.lost or 0 for stream in self.streams)
        if self.seconds > 0:
            self.pps, self.bits_per_second = self.sent / self.seconds, 8 * self.bytes / self.seconds

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return vars(self) | {"streams": [stream.as_dict() for stream in self.streams]}


def account_stream(stream: StreamResult, arrivals: StreamArrivals) -> None:
    """Enter what arrived of a stream."""
    latency = arrivals.latency
    stream.received, stream.lost = arrivals.unique, arrivals.lost(stream.sent)
    stream.duplicates, stream.reordered, stream.stale = arrivals.duplicates, arrivals.reordered, arrivals.stale
    stream.early, stream.jitter, stream.histogram = arrivals.early, arrivals.jitter, latency
    if latency.total:
        points = {name: float(latency.percentile(percentile)) for name, percentile in PERCENTILES.items()}
        stream.latency = {"min": float(latency.min), "mean": latency.mean} | points | {"max": float(latency.max)}


def microseconds(ns: float) -> str:
    """A time in a table."""
    return f"{ns / 1000:,.1f}"


def generate_text(result: GenerateResult) -> str:
    """A run, a few lines, and a table of its streams; times in µs."""
    lines = [
        f"sent       {result.sent:,} packets, {result.bytes:,} bytes",
        f"received   {result.received:,} packets, {result.received_bytes:,} bytes"
        + (f", {result.foreign:,} others" if result.foreign else ""),
        f"lost       {result.lost:,} packets",
        *drop_lines(result.drops),
    ]
    rate = f": {scaled(result.pps, 'pps')}, {scaled(result.bits_per_second, 'bit/s')} sent" if result.seconds > 0 else ""
    lines.append(f"time       {result.seconds:.6f} s on the {result.clock} clock{rate}")
    if result.late_max:
        lines.append(
            f"schedule   {microseconds(result.late_p50)} µs late at the median, {microseconds(result.late_p99)} at 99 %, "
            f"{microseconds(result.late_max)} at most"
        )
    names = "stream", "sent", "received", "lost", "dup", "reorder", "jitter", "latency p50", "p99", "p99.9", "max µs"
    table: list[tuple[str, ...]] = [names]
    for stream in result.streams:
        if stream.received is None:
            table.append((stream.name, f"{stream.sent:,}", *["-"] * 9))
            continue
        times = stream.latency or {}
        table.append(
            (
                stream.name,
                f"{stream.sent:,}",
                f"{stream.received:,}",
                f"{stream.lost or 0:,}",
                f"{stream.duplicates or 0:,}",
                f"{(stream.reordered or 0) + (stream.stale or 0):,}",
                microseconds(stream.jitter or 0),
                *(microseconds(times[name]) if name in times else "-" for name in ("p50", "p99", "p99_9", "max")),
            )
        )
    return "\n".join([*lines, "", *columns(table)])


def columns(table: list[tuple[str, ...]]) -> list[str]:
    """Rows with their columns right-aligned, the first left."""
    widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
    return [
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width) for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in table
    ]
