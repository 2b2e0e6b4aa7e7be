"""Observation: who watches a run: a file of samples, metrics over HTTP, a page or picture at its end, a table on a terminal."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from fastring.clock import Clock
from softnet.html_report import write_report
from softnet.metrics import MetricsServer
from softnet.netdev import NetDevice
from softnet.png_report import check_matplotlib, write_png
from softnet.report import WHERE
from softnet.sampling import Counted, Sample, Sampler, StatsFile, series
from softnet.screen import Screen

REPORT_INTERVAL = 0.1  # seconds


class Observation:
    """Opened before a run, so that what cannot be opened ends it before a packet is sent; then `during` the run; then `report`.

    `stats_file`: each sample as a line of JSON. `metrics`: HOST:PORT to serve the last one on. `report_file`: .html or .png. `interval`:
    seconds between samples. `listeners`: told of each sample, too. `screen`, which may be set later:
    shows it on a terminal. Raises OSError, or ValueError for an address or file name that is none.
    """

    def __init__(
        self,
        *,
        stats_file: str | os.PathLike[str] | None = None,
        metrics: str | None = None,
        report_file: str | os.PathLike[str] | None = None,
        interval: float | None = None,
        listeners: Sequence[Callable[[Sample], object]] = (),
        screen: Screen | None = None,
    ) -> None:
        self.report_file = None if report_file is None else os.fspath(report_file)
        self.listeners = list(listeners)
        self.screen = screen
        self.interval = interval if interval is not None else REPORT_INTERVAL if stats_file is None and metrics is None else 1.0
        self.samples: list[Sample] = []
        self.stats_file: StatsFile | None = None
        self.server: MetricsServer | None = None
        with ExitStack() as undo:
            if self.report_file is not None:
                self._check_report(self.report_file)
            if stats_file is not None:
                self.stats_file = StatsFile(stats_file)
                undo.callback(self.stats_file.close)
                self.listeners.append(self.stats_file)
            if metrics is not None:
                self.server = MetricsServer(metrics)
                undo.callback(self.server.close)
                self.listeners.append(self.server)
            self._undo = undo.pop_all()

    def _check_report(self, path: str) -> None:
        """Whether it can be written, now and not after an hour's run."""
        if not path.endswith((".html", ".png")):
            raise ValueError(f"a report is a FILE.html or a FILE.png, not {path!r}")
        if path.endswith(".png"):
            check_matplotlib()
        with open(path, "ab"):
            pass

    @property
    def wanted(self) -> bool:
        """Whether anybody watches who wants samples."""
        return bool(self.listeners) or self.report_file is not None

    @contextmanager
    def during(
        self, clock: Clock, devices: Iterable[NetDevice | Counted], count: Callable[[], int] | None = None
    ) -> Iterator[None]:
        """Sample `devices` by `clock` from here to the end of the block, if anybody watches; `count`: see Screen."""
        devices = list(devices)
        sampler = Sampler(clock, devices, interval=self.interval)
        sampler.listeners += self.listeners
        with ExitStack() as undo:
            if self.screen is not None:
                undo.enter_context(self.screen.during(clock, devices, count))
            if self.wanted:
                undo.enter_context(sampler)
            yield
        self.samples = sampler.samples

    def problem(self) -> str | None:
        """What went wrong with watching, in one line, after the run."""
        if self.stats_file is None or self.stats_file.error is None:
            return None
        return f"{self.stats_file.path}: {self.stats_file.error.strerror}: {self.stats_file.lost} samples are missing"

    def report(
        self,
        title: str,
        result: Mapping[str, Any],
        histograms: Mapping[str, Sequence[tuple[int, int]]],
        *,
        where: Mapping[str, str] = WHERE,
    ) -> None:
        """Write the page or picture, if one was asked for; `where`: what causes of drops mean. Raises OSError."""
        if self.report_file is None:
            return
        told = series(self.samples)
        if self.report_file.endswith(".png"):
            write_png(self.report_file, title=title, series=told, histograms=histograms)
        else:
            write_report(self.report_file, title=title, result=result, series=told, histograms=histograms, where=where)

    def close(self) -> None:
        """Close the file, and serve no more; again is harmless."""
        self._undo.close()

    def __enter__(self) -> Observation:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
