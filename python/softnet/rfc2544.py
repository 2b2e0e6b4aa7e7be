"""RFC 2544: throughput (§26.1), the highest rate at which nothing is lost, by binary search; and latency (§26.2) at that rate."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from softnet.generate import Generate
from softnet.generate_result import GenerateResult, columns, microseconds
from softnet.report import scaled
from softnet.stream_fields import FCS, parse_rate
from softnet.streams import Stream

SIZES = (64, 128, 256, 512, 1024, 1280, 1518)  # §9.1, Ethernet, with CRC
OVERHEAD = 20  # bytes a frame takes on the line besides: preamble and gap
SUSTAINED, STALL = 0.01, 0.05  # of a trial's time, or seconds, that a sender may be behind at the end: later, it has not tried that rate


@dataclass
class Trial:
    """One run at one rate. `sustained`: whether the sender kept to it."""

    pps: float
    sent: int
    lost: int
    sustained: bool

    @property
    def passed(self) -> bool:
        """Nothing was lost, and it was the rate it was to be."""
        return self.sent > 0 and self.lost == 0 and self.sustained


@dataclass
class SizeReport:
    """What was found for frames of `size` bytes with CRC. Latency in ns at that rate. `line`: the share of the line's rate."""

    size: int
    pps: float = 0.0
    bits_per_second: float = 0.0
    line: float = 0.0
    latency: dict[str, float] | None = None
    jitter: float | None = None
    trials: list[Trial] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


class Rfc2544:
    """Search for each of `sizes`, with packets like `template`.

    `line_rate`: bits a second on the line, CRC, preamble and gap included: where the search begins. `resolution`: of it, where the search
    ends. `duration`: seconds of a trial (the RFC asks for 60 at least); `latency_duration`: of the run that measures it. Other `settings`
    are those of Generate: wire, receive_wire, clock, seed. Raises ValueError, StreamError.
    """

    def __init__(
        self,
        template: bytes,
        *,
        sizes: Sequence[int] = SIZES,
        line_rate: Any = "1gbps",
        resolution: float = 0.005,
        duration: float = 60.0,
        latency_duration: float | None = None,
        **settings: Any,
    ) -> None:
        rate = parse_rate(line_rate)
        if not rate.bits:
            raise ValueError(f"the line's rate is in bits a second, such as 1gbps, not {line_rate!r}")
        if not 1e-6 <= resolution < 1:
            raise ValueError(f"a resolution is a share of the line's rate, 1e-6 to below 1, not {resolution:g}")
        if not sizes:
            raise ValueError("there is no size to try")
        self.template, self.sizes, self.settings = template, list(sizes), settings
        self.line_rate, self.resolution, self.duration = float(rate.value), resolution, duration
        self.latency_duration = duration if latency_duration is None else latency_duration
        for size in self.sizes:  # what is wrong with any of them is told before the first
            self._generate(size, self.line_pps(size), duration).close()

    def line_pps(self, size: int) -> float:
        """Frames a second that fill the line."""
        return self.line_rate / (8 * (size + OVERHEAD))

    def run(self, progress: Callable[[SizeReport], None] | None = None) -> list[SizeReport]:
        """Search; `progress` is called after each trial. Ctrl-C raises KeyboardInterrupt."""
        return [self.search(size, progress) for size in self.sizes]

    def search(self, size: int, progress: Callable[[SizeReport], None] | None = None) -> SizeReport:
        """The throughput of one size, and latency at it."""
        report = SizeReport(size)
        best, failed = 0.0, 1.0  # of the line's rate
        share = 1.0
        while True:
            trial, _ = self._trial(size, share, self.duration)
            report.trials.append(trial)
            if trial.passed:
                best = share
            else:
                failed = share
            if progress is not None:
                progress(report)
            if best == 1.0 or failed - best <= self.resolution:
                break
            share = (best + failed) / 2
        if best:
            report.line = best
            report.pps = best * self.line_pps(size)
            report.bits_per_second = 8 * (size - FCS) * report.pps
            _, result = self._trial(size, best, self.latency_duration)
            report.latency, report.jitter = result.streams[0].latency, result.streams[0].jitter
        return report

    def _generate(self, size: int, pps: float, duration: float) -> Generate:
        return Generate([Stream(self.template, size=size, rate=pps)], duration=duration, **self.settings)

    def _trial(self, size: int, share: float, duration: float) -> tuple[Trial, GenerateResult]:
        pps = share * self.line_pps(size)
        trial = self._generate(size, pps, duration)
        result = trial.run()
        if result.interrupted:
            raise KeyboardInterrupt
        if trial.failure is not None:
            raise trial.failure
        sustained = not result.problems and result.seconds <= duration + max(SUSTAINED * duration, STALL)
        return Trial(pps, result.sent, result.lost, sustained), result


def rfc2544_text(reports: Sequence[SizeReport]) -> str:
    """A line for each size; times in µs."""
    table: list[tuple[str, ...]] = [
        ("frame size", "throughput", "bits", "of the line", "trials", "latency min", "mean", "p99", "max µs", "jitter")
    ]
    for report in reports:
        times = report.latency or {}
        table.append(
            (
                str(report.size),
                scaled(report.pps, "pps"),
                scaled(report.bits_per_second, "bit/s"),
                f"{100 * report.line:.1f} %",
                str(len(report.trials)),
                *(microseconds(times[name]) if name in times else "-" for name in ("min", "mean", "p99", "max")),
                "-" if report.jitter is None else microseconds(report.jitter),
            )
        )
    return "\n".join(columns(table))
