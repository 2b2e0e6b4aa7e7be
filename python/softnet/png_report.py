"""The report of a run as a picture, by matplotlib (the extra `plot`)."""

from __future__ import annotations

import errno
import importlib
import os
from collections.abc import Mapping, Sequence
from typing import Any

from softnet.sampling import rates


def check_matplotlib() -> None:
    """Raises OSError ENOPKG if it is not there."""
    try:
        importlib.import_module("matplotlib.figure")
    except ImportError:
        raise OSError(errno.ENOPKG, "a report as PNG needs matplotlib: pip install 'fastring[plot]', or name it FILE.html") from None


def write_png(path: str | os.PathLike[str], *, title: str, series: Mapping[str, Any], histograms: Mapping[str, Sequence[Any]]) -> None:
    """Throughput and packets over time, frame sizes, gaps; arguments as of softnet.html_report.

    Raises OSError, ENOPKG without matplotlib.
    """
    check_matplotlib()
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 7), layout="constrained")
    figure.suptitle(title)
    throughput, packets, sizes, gaps = figure.subplots(2, 2).flat
    seconds = series["seconds"]
    for name, columns in series["devices"].items():
        for way, style in (("tx", "-"), ("rx", "--")):
            if f"{way}_packets" not in columns:  # a wire's, which only receives
                continue
            mbits = [8e-6 * rate for rate in rates(seconds, columns[f"{way}_bytes"])]
            throughput.plot(seconds[1:], mbits[1:], style, label=f"{name} {way}")
            packets.plot(seconds[1:], rates(seconds, columns[f"{way}_packets"])[1:], style, label=f"{name} {way}")
    throughput.set(title="Throughput", xlabel="seconds", ylabel="Mbit/s", ylim=(0, None))
    packets.set(title="Packets", xlabel="seconds", ylabel="per second", ylim=(0, None))
    if series["devices"]:
        throughput.legend()
    for axes, name, told in ((sizes, "frame_sizes", "Frame sizes (bytes)"), (gaps, "gaps_ns", "Gaps between packets (ns)")):
        buckets = histograms.get(name) or []
        axes.step([value for value, _ in buckets], [count for _, count in buckets], where="post")
        axes.set(title=told, ylabel="packets")
    if histograms.get("gaps_ns"):
        gaps.set_xscale("log")
    figure.savefig(os.fspath(path), format="png", dpi=100)
