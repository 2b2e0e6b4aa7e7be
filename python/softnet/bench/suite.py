"""What `fastring bench` asks of a machine: our rings in all strategies, batches and capacities, pools, ways to wait, and driver settings.

Nothing here needs a compiler or other people's rings: those are in bench/. Each measurement takes some milliseconds, and all that take
part in a question do so in turns.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial

from softnet.bench import pools, rings, settings
from softnet.bench.machine import Noise
from softnet.bench.partner import Partner
from softnet.bench.series import Comparison, Measure, RoundTrip, compare

SCALED_FROM = 60.0  # seconds: with less of them measurements are smaller
ROUNDS = 5  # at least
ITEMS, SINGLES, TRIPS, WAITS, PACKETS = 500_000, 100_000, 5_000, 300, 30_000  # of one measurement, where there is time
BATCHES = (1, 4, 8, 32, 128)
CAPACITIES = (64, 256, 1024, 4096, 16384)
SPINS = {"parks at once": 0.0, "spins 50 µs, then parks": 50e-6, "spins": 1.0}


@dataclass(frozen=True)
class Asked:
    """`key`: what advice knows it by. `against`: whom the others are compared with."""

    key: str
    title: str
    measures: dict[str, Measure] = field(hash=False)
    against: str
    unit: str = "ns an item"


class Suite:
    """All questions for `cpus` (two of them are used, or one), and whoever is needed to answer them. Close it, or use `with`.

    `scale`: how large each measurement is, beside one that has all the time it wants.
    """

    def __init__(self, cpus: Sequence[int], *, scale: float = 1.0) -> None:
        self.cpus, self.scale = list(cpus[:2]), scale
        with ExitStack() as stack:
            self.partner = stack.enter_context(Partner(self.cpus[-1]))
            self.drivers = stack.enter_context(settings.Drivers(cpu=self.cpus[0], packets=self.scaled(PACKETS, least=500)))
            self.noise = Noise(self.cpus, pids=[self.partner.pid])
            self._stack = stack.pop_all()

    def __enter__(self) -> Suite:
        return self

    def __exit__(self, *exc: object) -> None:
        self._stack.close()

    def scaled(self, count: int, least: int = 64) -> int:
        """Of items or round trips, for a measurement of this suite's size."""
        return max(least, int(count * self.scale))

    def items(self, bulk: int) -> int:
        return max(bulk, self.scaled(min(ITEMS, SINGLES * bulk)))

    def questions(self) -> list[Asked]:
        """Those that as many CPUs can answer."""
        return [*(self._two_sides() if len(self.cpus) > 1 else ()), *self._one_thread(), self._waits(), self._driver()]

    def _strategies(self, measure: Callable[[str], Measure]) -> dict[str, Measure]:
        return {strategy: measure(strategy) for strategy in rings.STRATEGIES}

    def _two_sides(self) -> Iterator[Asked]:
        cpus, first, partner = self.cpus, self.cpus[0], self.partner
        trips = self.scaled(TRIPS)
        for key, bulk, told in (("bulk", 32, "bulks of 32"), ("single", 1, "single items")):
            threads: dict[str, Measure] = {
                one: partial(rings.throughput, one, bulk=bulk, items=self.items(bulk), cpus=cpus) for one in rings.STRATEGIES
            }
            yield Asked(key, f"which ring? two threads, {told}", threads, "cached")
        processes = self._strategies(lambda one: partial(rings.throughput_to, partner, one, items=self.items(32), cpu=first))
        yield Asked("processes", "which ring? two processes, bulks of 32", processes, "cached")
        there = self._strategies(lambda one: partial(rings.round_trip, one, rounds=trips, cpus=cpus))
        yield Asked("latency", "which ring? round trip between two threads", there, "cached", "ns there and back, p50")
        there = self._strategies(lambda one: partial(rings.round_trip_to, partner, one, rounds=trips, cpu=first))
        yield Asked("latency between processes", "which ring? round trip between two processes", there, "cached", "ns there and back, p50")
        many: dict[str, Measure] = {
            one: partial(rings.throughput, one, items=self.items(32) // 4, cpus=cpus, producers=2, consumers=2, spins=64)
            for one in rings.MANY_STRATEGIES
        }
        yield Asked("many", "which ring for many? two producers and two consumers, bulks of 32", many, "mpmc")
        batches: dict[str, Measure] = {
            str(bulk): partial(rings.throughput, "cached", bulk=bulk, items=self.items(bulk), cpus=cpus) for bulk in BATCHES
        }
        yield Asked("batch", "which batch size? cached, two threads", batches, "1")
        capacities: dict[str, Measure] = {
            str(slots): partial(rings.throughput, "cached", capacity=slots, items=self.items(32), cpus=cpus) for slots in CAPACITIES
        }
        yield Asked("capacity", "which capacity? cached, two threads, bulks of 32", capacities, "1024")

        given: dict[str, Measure] = {
            name: partial(pools.between_threads, name, buffers=self.items(32) // 4, cpus=cpus) for name in pools.BETWEEN_THREADS
        }
        yield Asked("pool for two", "which pool? taken on one thread and given back on another", given, "lifo, cache", "ns a buffer")

    def _one_thread(self) -> Iterator[Asked]:
        cpu = self.cpus[0]
        kept: dict[str, Measure] = {name: partial(pools.on_one_thread, name, buffers=self.items(32), cpu=cpu) for name in pools.POOLS}
        yield Asked("pool", "which pool? one thread, 32 buffers at a time", kept, "lifo", "ns a buffer")
        alone = self._strategies(lambda one: partial(rings.single, one, items=self.items(32), cpu=cpu))
        yield Asked("one thread", "which ring? one thread, bulks of 32", alone, "cached")
        if len(self.cpus) == 1:
            batches: dict[str, Measure] = {
                str(bulk): partial(rings.single, "cached", bulk=bulk, items=self.items(bulk), cpu=cpu) for bulk in BATCHES
            }
            yield Asked("batch", "which batch size? cached, one thread", batches, "1")

    def _waits(self) -> Asked:
        """Between processes. On one CPU who spins keeps the other one from answering, so that fewer trips are enough."""
        alone = len(self.cpus) == 1
        trips = self.scaled(WAITS // 10 if alone else WAITS, least=10)
        waits = {name: min(spin, 0.001) if alone else spin for name, spin in SPINS.items()}
        measures: dict[str, Measure] = {
            name: partial(rings.waiting_round_trip, self.partner, spin, rounds=trips, cpu=self.cpus[0]) for name, spin in waits.items()
        }
        return Asked("wait", "poll or park? round trip from Python, two processes", measures, "parks at once", "ns there and back, p50")

    def _driver(self) -> Asked:
        title = "which driver settings? 60 bytes, the whole path on one thread"
        return Asked("driver", title, self.drivers.measures(settings.FEW), "default", "CPU ns a packet")

    def answer(self, asked: Asked, *, seconds: float, check: Callable[[], object] = lambda: None) -> Comparison:
        """Ask it, for about as long. `check`: called between measurements, to raise what ends it."""

        def checked(measure: Measure) -> Measure:
            def run() -> float | RoundTrip:
                check()
                return measure()

            return run

        measures = {name: checked(measure) for name, measure in asked.measures.items()}
        return compare(asked.title, measures, ours=list(measures), rounds=ROUNDS, unit=asked.unit, against=(asked.against,),
                       between=self.noise.look, seconds=seconds)


class Interrupts:
    """Ctrl-C and SIGTERM, kept until `check`, since a measurement has a thread and a process to end with. A second one ends all at once."""

    def __init__(self) -> None:
        self.came = False

    def check(self) -> None:
        """Raises KeyboardInterrupt if one came."""
        if self.came:
            raise KeyboardInterrupt

    def _keep(self, number: int, frame: object) -> None:
        if self.came:
            raise KeyboardInterrupt
        self.came = True

    @contextmanager
    def kept(self) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():  # where they never come
            yield
            return
        before = {number: signal.signal(number, self._keep) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
