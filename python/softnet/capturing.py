"""Capturing: what arrives on a wire, without a card, into capture files. `fastring capture` is its command line."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from itertools import count as counting
from typing import Any, Literal

from fastring.bpf import FilterSink, Program
from fastring.burst import BurstSink
from fastring.capture_ring import CaptureRing
from fastring.capture_writer import CaptureWriter
from fastring.clock import MonotonicClock
from fastring.measure import MeasuringSink
from fastring.port import WirePort
from softnet.observe import Observation
from softnet.sampling import Counted, WireSample
from softnet.wire import open_wire
from softnet.wire.interface import wire_spec

TURN = 0.5  # seconds of sleep at most, so that an end by time is on time
MEGABYTE = 1_000_000  # tcpdump's -C counts in these


@dataclass
class CaptureResult:
    """What became of a capture: received = captured + filtered + not_wanted + what `drops` says could not be written.

    `drops` has what the wire lost, too. `captured` and `bytes` are in the files, `truncated` of them cut to the snaplen. `files`: those
    there are now; `overwritten`: how many a ring had more. `problem`: why it ended early, or None.
    """

    received: int = 0
    captured: int = 0
    bytes: int = 0
    truncated: int = 0
    filtered: int = 0
    not_wanted: int = 0
    drops: dict[str, int] = field(default_factory=dict)
    files: list[str] = field(default_factory=list)
    overwritten: int = 0
    seconds: float = 0.0
    problem: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


class FileNames:
    """The names of a capture's files, as tcpdump's -C, -G and -W make them (its MakeFilename): FILE, FILE1, FILE2 ...

    By time FILE may have strftime's % in it. With `files` by size, names have as many digits as the last one needs, and after it the
    first is written anew; by time alone, the capture ends there.
    """

    def __init__(self, path: str, *, sized: bool, timed: bool, files: int | None) -> None:
        if files is not None and not (sized or timed):
            raise ValueError("a number of files needs a size or a time at which the next begins")
        self.path, self.timed, self.files, self.sized = path, timed, files, sized
        self.numbers = self._numbers()

    def _numbers(self) -> Iterator[int | None]:
        """None: no more."""
        if self.files is None:
            yield from counting()
        while self.sized and self.files is not None:
            yield from range(self.files)
        yield from range(self.files or 0)
        yield None

    def next(self, when: int) -> str | None:
        """The next file, begun at `when` (ns since 1970)."""
        number = next(self.numbers)
        if number is None:
            return None
        path = time.strftime(self.path, time.localtime(when / 1e9)) if self.timed else self.path
        if self.sized and self.files is not None:
            return f"{path}{number:0{len(str(self.files - 1))}}"
        if (self.sized or path == self.path) and number:
            return f"{path}{number}"
        return path


class Capturing:
    """One capture from the wire `spec` (or the name of an interface) to `path`, `-` being standard output.

    `snaplen`: bytes kept of each packet; `count`: packets; `duration`: seconds; `filter`: an expression as tcpdump's. `file_size`
    (bytes), `file_seconds` and `files`: where the next file begins, see FileNames. `format`: by default what the name ends in.

    `observation`: who watches; it stays its owner's, who writes its report with `histograms`.

    All is opened here: raises ValueError, OSError. Then `run`, once.
    """

    def __init__(
        self,
        spec: str,
        path: str | os.PathLike[str],
        *,
        snaplen: int | None = None,
        count: int | None = None,
        duration: float | None = None,
        filter: str | None = None,
        file_size: int | None = None,
        file_seconds: int | None = None,
        files: int | None = None,
        format: Literal["pcap", "pcapng"] | None = None,
        observation: Observation | None = None,
    ) -> None:
        self.spec = spec
        self.observation = Observation() if observation is None else observation
        self.path = os.fspath(path)
        if self.path == "-" and (file_size or file_seconds):
            raise ValueError("standard output is one file: it has no next one")
        self.snaplen, self.format, self.duration = snaplen or 262144, format, duration
        self.names = FileNames(self.path, sized=bool(file_size), timed=bool(file_seconds), files=files)
        self.clock = MonotonicClock()
        self.result = CaptureResult()
        program = Program(filter) if filter else None
        with ExitStack() as undo:
            cabling = open_wire(wire_spec(spec), clock=self.clock)
            undo.callback(cabling.close)
            self.wire = cabling.near
            if not self.wire.polled:
                raise ValueError(f"nothing arrives on the wire {spec!r} by itself: capture from one that leads out of the process")
            self.ring = CaptureRing(self._next_file, file_bytes=file_size or 0, file_ns=10**9 * (file_seconds or 0), count=count)
            undo.callback(self.ring.close)
            self.measured = None if self.observation.report_file is None else MeasuringSink(self.ring)
            sink: BurstSink = self.ring if self.measured is None else self.measured
            self.filter = None if program is None else FilterSink(sink, program)
            sink = sink if self.filter is None else self.filter
            self.port = undo.enter_context(WirePort(self.wire, sink=sink, clock=self.clock))
            self._undo = undo.pop_all()

    def _next_file(self, when: int) -> CaptureWriter | None:
        name = self.names.next(when or self.clock.time_ns())
        if name is None:
            return None
        writer = CaptureWriter(name, format=self.format, snaplen=self.snaplen, clock=self.clock)
        if name in self.result.files:
            self.result.files.remove(name)
            self.result.overwritten += 1
        self.result.files.append(name)
        return writer

    def run(self) -> CaptureResult:
        """Capture until the count, the time or the files are full, Ctrl-C, or the wire's end, which is a `problem`."""
        started = time.monotonic()
        deadline = None if self.duration is None else started + self.duration
        waiter = select.poll()
        number = self.wire.fileno()
        if number is not None:
            waiter.register(number, select.POLLIN)
        with self._undo as undo:
            undo.enter_context(self.observation.during(self.clock, [Counted(self.spec, self._sample)], lambda: self.ring.packets))
            try:
                while not self.ring.full and (deadline is None or time.monotonic() < deadline):
                    if self.port.poll() == 0:
                        self.ring.flush()  # whoever reads along sees it now
                        waiter.poll(1000 * self._idle(deadline))
                    self.clock.fire_due()
            except KeyboardInterrupt:
                pass  # how most captures end
            except OSError as error:
                self._fail(error)
            self.result.seconds = time.monotonic() - started
            self._finish()
        return self.result

    def _idle(self, deadline: float | None) -> float:
        """Seconds to sleep while nothing comes: until the end by time, or a timer."""
        left = TURN if deadline is None else min(TURN, max(0.0, deadline - time.monotonic()))
        timer = self.clock.next_deadline
        return left if timer is None else min(left, max(0.0, (timer - self.clock.monotonic_ns()) / 1e9))

    def _sample(self) -> WireSample:
        dropped = sum(self.wire.drops.values()) + sum(self.ring.drops.values())
        return WireSample(self.port.rx_packets, self.port.rx_bytes, dropped)

    def histograms(self) -> dict[str, list[tuple[int, int]]]:
        """Sizes of what the filter let through, and the gaps between, for a report: if it was measured."""
        if self.measured is None:
            return {}
        return {"frame_sizes": self.measured.sizes.buckets(), "gaps_ns": self.measured.gaps.buckets()}

    def _finish(self) -> None:
        try:
            self.ring.close()
        except (OSError, ValueError) as error:
            self._fail(error)
        result, ring = self.result, self.ring
        result.received = self.port.rx_packets
        result.captured, result.bytes, result.truncated = ring.packets, ring.bytes, ring.truncated
        result.filtered = 0 if self.filter is None else self.filter.filtered
        result.drops = {reason: packets for reason, packets in (self.wire.drops | ring.drops).items() if packets}
        result.not_wanted = ring.beyond

    def _fail(self, error: Exception) -> None:
        """What ended it, in a line."""
        if self.result.problem is None:
            place = f"{error.filename}: " if isinstance(error, OSError) and error.filename else ""
            self.result.problem = place + str(error.strerror if isinstance(error, OSError) and error.strerror else error)

    def close(self) -> None:
        """Close what was opened, if `run` did not; again is harmless."""
        self._undo.close()
