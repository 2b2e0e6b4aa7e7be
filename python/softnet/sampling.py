"""Sampling: what devices, or wires without one, count now and then while they run, for tables, files, metrics and reports."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from fastring.clock import Clock, TimerHandle
from softnet.netdev import NetDevice

if TYPE_CHECKING:
    from types import TracebackType

MOST_SAMPLES = 1000  # kept: then every other one goes, and they are taken half as often
DROPS = ("rx_dropped", "tx_dropped", "rx_missed_errors", "rx_errors", "tx_errors")


@dataclass(frozen=True)
class DeviceSample:
    """A device's counters since it was made, and how full its transmit ring is. Bytes are without CRC."""

    rx_packets: int
    rx_bytes: int
    tx_packets: int
    tx_bytes: int
    dropped: int
    tx_in_flight: int
    interrupts: int
    polls: int
    polled_packets: int


@dataclass(frozen=True)
class WireSample:
    """What came from a wire that is plugged into no card, and what it or who takes it dropped."""

    rx_packets: int
    rx_bytes: int
    dropped: int


@dataclass(frozen=True)
class Sample:
    """All devices at one time: `seconds` since the sampling began, on the stack's clock."""

    seconds: float
    devices: dict[str, DeviceSample | WireSample]


class Counted(NamedTuple):
    """What a Sampler asks: `sample` is called where timers fire."""

    name: str
    sample: Callable[[], DeviceSample | WireSample]


def sample_device(device: NetDevice) -> DeviceSample:
    """Its counters now. Control thread, or a timer's. What its driver does not have is 0."""
    stats = device.stats64
    ops = device.netdev_ops
    napi, ring = getattr(ops, "napi", None), getattr(ops, "tx", None)
    return DeviceSample(
        rx_packets=stats.rx_packets,
        rx_bytes=stats.rx_bytes,
        tx_packets=stats.tx_packets,
        tx_bytes=stats.tx_bytes,
        dropped=sum(getattr(stats, name) for name in DROPS),
        tx_in_flight=getattr(ring, "in_flight", 0),
        interrupts=getattr(napi, "interrupts", 0),
        polls=getattr(napi, "polls", 0),
        polled_packets=getattr(napi, "packets", 0),
    )


def all_counted(devices: Iterable[NetDevice | Counted]) -> list[Counted]:
    """Devices, and what is none, as a Sampler asks them."""
    return [device if isinstance(device, Counted) else Counted(device.name, partial(sample_device, device)) for device in devices]


class Sampler:
    """Take a Sample of `devices` every `interval` seconds of `clock`, from `start` to `stop`, and tell each of `listeners`.

    Keeps at most MOST_SAMPLES of them, however long it runs: when there are more, every other one goes, and `kept_every` doubles.
    Listeners hear of all. Runs on the clock's thread, wherever timers fire; what a listener raises is the clock's error.
    """

    def __init__(self, clock: Clock, devices: Iterable[NetDevice | Counted], *, interval: float = 1.0) -> None:
        if not 0 < interval <= 1e6:
            raise ValueError(f"samples are taken every 0 to 1e6 seconds, not {interval}")
        self.clock = clock
        self.devices = all_counted(devices)
        self.interval = interval
        self.listeners: list[Callable[[Sample], object]] = []
        self.samples: list[Sample] = []
        self.kept_every = 1
        self._taken = 0
        self._began = 0
        self._timer: TimerHandle | None = None

    def start(self) -> None:
        """Take the first sample, and the next by a timer."""
        self._began = self.clock.monotonic_ns()
        self.take()
        self._arm()

    def take(self) -> Sample:
        """Take one now."""
        seconds = (self.clock.monotonic_ns() - self._began) / 1e9
        sample = Sample(seconds, {device.name: device.sample() for device in self.devices})
        if self._taken % self.kept_every == 0:
            self.samples.append(sample)
        self._taken += 1
        if len(self.samples) > MOST_SAMPLES:
            del self.samples[1::2]
            self.kept_every *= 2
        for listener in tuple(self.listeners):
            listener(sample)
        return sample

    def _arm(self) -> None:
        self._timer = self.clock.call_later(int(self.interval * 1e9), self._due)

    def _due(self) -> None:
        self._arm()
        self.take()

    def stop(self) -> None:
        """Take the last sample, which is always kept, and no more; again is harmless."""
        if self._timer is None:
            return
        self._timer.cancel()
        self._timer = None
        last = self.take()
        if self.samples[-1] is not last:
            self.samples.append(last)

    def __enter__(self) -> Sampler:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"<Sampler: {len(self.samples)} samples of {len(self.devices)} devices, every {self.interval:g} s>"


def series(samples: Sequence[Sample]) -> dict[str, Any]:
    """Samples as columns: {"seconds": […], "devices": {name: {counter: […]}}}, for JSON and charts."""
    devices: dict[str, dict[str, list[int]]] = {}
    for sample in samples:
        for name, counters in sample.devices.items():
            columns = devices.setdefault(name, {key: [] for key in asdict(counters)})
            for key, value in asdict(counters).items():
                columns[key].append(value)
    return {"seconds": [sample.seconds for sample in samples], "devices": devices}


def rates(seconds: Sequence[float], counts: Sequence[int]) -> list[float]:
    """Per second, between each sample and the one before; 0 for the first, and where no time passed."""
    found = [0.0]
    for i in range(1, len(seconds)):
        passed = seconds[i] - seconds[i - 1]
        found.append((counts[i] - counts[i - 1]) / passed if passed > 0 else 0.0)
    return found[: len(seconds)]


class StatsFile:
    """A listener that writes each sample to a file, one JSON object a line. Raises OSError if it cannot be opened.

    A write that fails ends it, not the run: `error` then says why, and `lost` how many samples are missing.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)
        self.error: OSError | None = None
        self.lost = 0
        self._file: IO[str] = open(self.path, "w", encoding="ascii", buffering=1)  # noqa: SIM115 - closed by close

    def __call__(self, sample: Sample) -> None:
        if self.error is None:
            with self._failing():
                self._file.write(json.dumps(asdict(sample)) + "\n")
        self.lost += self.error is not None

    def close(self) -> None:
        """Close it; again is harmless."""
        with self._failing():
            self._file.close()

    @contextmanager
    def _failing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self.error = self.error or OSError(error.errno, error.strerror, self.path)
