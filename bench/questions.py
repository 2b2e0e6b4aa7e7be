"""What bench/test_questions.py asks of rings, pools and settings: who takes part in each question, and how one measurement of each is made.

Each takes some milliseconds on a quiet machine, so that one round of all is over before a hypervisor has moved its CPUs.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from types import ModuleType

from peers import HERE, Unavailable, build_extension
from rings import MEMPOOL, PEERS, WIDE, Peer

from fastring.meeting import Meeting
from fastring.ring import Ring
from softnet.bench import from_python as python
from softnet.bench import pools, rings, settings
from softnet.bench.machine import Noise
from softnet.bench.partner import Partner
from softnet.bench.series import Comparison, Measure, RoundTrip, compare

ROUNDS = 7
MORE_ROUNDS = 15  # where two ought to be alike
ITEMS, SINGLES, TRIPS = 2_000_000, 400_000, 10_000
SPSC = tuple(peer for peer in PEERS if not peer.many)
MANY = tuple(peer for peer in PEERS if peer.many)
SWEPT = ("cached", "batched")
QUICK = tuple(peer for peer in SPSC if peer.name in ("rte_ring SP/SC", "Boost spsc_queue"))  # that have bulks: for sweeps


@dataclass(frozen=True, kw_only=True)
class Question:
    """`measures`: by name, one measurement of each who takes part. Those of ours begin with "fastring"."""

    name: str
    measures: dict[str, Measure] = field(hash=False)
    unit: str = "ns an item"
    rounds: int = ROUNDS
    needed: dict[str, Callable[[], object]] = field(default_factory=dict, hash=False)  # raises Unavailable
    all_ours: bool = False
    against: tuple[str, ...] = ()  # whom the table compares with, if not the best of the others

    def missing(self) -> dict[str, str]:
        """Who cannot take part here, and why."""
        found = {}
        for name, build in self.needed.items():
            try:
                build()
            except Unavailable as reason:
                found[name] = str(reason)
        return found

    def answer(self, noise: Noise) -> Comparison:
        missing = self.missing()
        measures = {name: measure for name, measure in self.measures.items() if name not in missing}
        ours = [name for name in measures if self.all_ours or name.startswith("fastring")]
        return compare(self.name, measures, ours=ours, rounds=self.rounds, unit=self.unit, against=self.against, between=noise.look)


@cache
def two_cpus() -> list[int]:
    """The CPUs of the two sides. Raises Unavailable."""
    if len(found := rings.cpus()) < 2:
        raise Unavailable("two threads need two CPUs")
    return found[:2]


@cache
def partner() -> Partner:
    """The other process, for all questions."""
    return Partner(two_cpus()[1])


@cache
def drivers() -> settings.Drivers:
    """With all settings."""
    return settings.Drivers(cpu=rings.cpus()[0], packets=40_000)


def close() -> None:
    """What the questions left open."""
    partner().close()
    drivers().close()


def theirs(peers: Sequence[Peer], **options: object) -> tuple[dict[str, Measure], dict[str, Callable[[], object]]]:
    def measure(peer: Peer) -> Measure:
        def run() -> float | RoundTrip:
            told = peer.run(cpus=",".join(map(str, two_cpus())), **options)
            return RoundTrip(told["ns"], told["p50"], told["p99"], told["p99_9"]) if "p50" in told else float(told["ns"])

        return run

    return {peer.name: measure(peer) for peer in peers}, {peer.name: peer.build for peer in peers}


def question(name: str, ours: Callable[[str], float | RoundTrip], peers: Sequence[Peer], *, strategies: Sequence[str] = rings.STRATEGIES,
             unit: str = "ns an item", rounds: int = ROUNDS, **options: object) -> Question:
    """`ours`: one measurement of a strategy; `peers` are run with `options`."""
    measures = {f"fastring {strategy}": (lambda strategy=strategy: ours(strategy)) for strategy in strategies}
    more, needed = theirs(peers, **options)
    return Question(name=name, measures=measures | more, unit=unit, rounds=rounds, needed=needed)


def throughput(bulk: int, capacity: int = 1024) -> Callable[[str], float]:
    return lambda strategy: rings.throughput(strategy, capacity=capacity, bulk=bulk, items=items(bulk), cpus=two_cpus())


def items(bulk: int) -> int:
    return min(ITEMS, SINGLES * bulk)


def which_ring() -> list[Question]:
    asked = []
    for bulk, told in ((32, "bulks of 32"), (1, "single items")):
        asked.append(question(f"which ring? two threads, {told}", throughput(bulk), SPSC, bulk=bulk, items=items(bulk)))
    asked.append(question(
        "which ring? two threads, bulks of 32 items of 16 bytes",
        lambda strategy: rings.throughput(strategy, items=items(32), cpus=two_cpus(), item_size=16), WIDE, bulk=32, items=items(32),
    ))
    asked.append(question(
        "which ring? round trip between two threads", lambda strategy: rings.round_trip(strategy, rounds=TRIPS, cpus=two_cpus()), SPSC,
        unit="ns there and back, p50", mode="roundtrip", items=TRIPS,
    ))
    shared = [peer for peer in SPSC if peer.processes]
    for bulk, told in ((32, "bulks of 32"), (1, "single items")):
        asked.append(question(
            f"which ring? two processes, {told}",
            lambda strategy, bulk=bulk: rings.throughput_to(partner(), strategy, bulk=bulk, items=items(bulk), cpu=two_cpus()[0]),
            shared, bulk=bulk, items=items(bulk), processes=1,
        ))
    asked.append(question(
        "which ring? round trip between two processes",
        lambda strategy: rings.round_trip_to(partner(), strategy, rounds=TRIPS, cpu=two_cpus()[0]), shared,
        unit="ns there and back, p50", mode="roundtrip", items=TRIPS, processes=1,
    ))
    for bulk, told in ((32, "bulks of 32"), (1, "single items")):
        asked.append(question(
            f"which ring? one thread, {told}",
            lambda strategy, bulk=bulk: rings.single(strategy, bulk=bulk, items=ITEMS, cpu=rings.cpus()[0]),
            SPSC, mode="single", bulk=bulk, items=ITEMS,
        ))
    for pairs, told in ((1, "one producer, one consumer"), (2, "two producers and two consumers on two cores")):
        options = {"producers": pairs, "consumers": pairs, "spins": 64 if pairs > 1 else 0}
        asked.append(question(
            f"which ring for many? {told}, bulks of 32",
            lambda strategy, options=options: rings.throughput(strategy, items=ITEMS // 4, cpus=two_cpus(), **options),
            MANY, strategies=rings.MANY_STRATEGIES, items=ITEMS // 4, **options,
        ))
    return asked


def which_batch_size() -> list[Question]:
    return [
        question(f"which batch size? {bulk:3}", throughput(bulk), QUICK, strategies=SWEPT, rounds=5, bulk=bulk, items=items(bulk))
        for bulk in (1, 4, 8, 32, 128)
    ]


def which_capacity() -> list[Question]:
    return [
        question(f"which capacity? {capacity:5}", throughput(32, capacity), QUICK, strategies=SWEPT, rounds=5, capacity=capacity, bulk=32,
                 items=ITEMS)
        for capacity in (64, 256, 1024, 4096, 16384)
    ]


def threads_or_processes() -> list[Question]:
    """Ours in both, in the same rounds."""
    first, second = (f"fastring cached, two {who}" for who in ("threads", "processes"))
    asked = []
    for bulk, told in ((32, "bulks of 32"), (1, "single items")):
        measures: dict[str, Measure] = {
            first: lambda bulk=bulk: throughput(bulk)("cached"),
            second: lambda bulk=bulk: rings.throughput_to(partner(), "cached", bulk=bulk, items=items(bulk), cpu=two_cpus()[0]),
        }
        asked.append(Question(name=f"threads or processes? {told}", measures=measures, rounds=MORE_ROUNDS, against=(first,)))
    trips: dict[str, Measure] = {
        first: lambda: rings.round_trip("cached", rounds=TRIPS, cpus=two_cpus()),
        second: lambda: rings.round_trip_to(partner(), "cached", rounds=TRIPS, cpu=two_cpus()[0]),
    }
    asked.append(Question(
        name="threads or processes? round trip", measures=trips, unit="ns there and back, p50", rounds=MORE_ROUNDS, against=(first,),
    ))
    return asked


def which_driver_settings() -> list[Question]:
    """Each beside the defaults: how often it asks for reports and tells of packets, how much it polls, when it wakes and is interrupted."""
    measures: dict[str, Measure] = {name: (lambda name=name: drivers().measure(name)) for name in settings.SETTINGS}
    title = "which driver settings? 60 bytes, the whole path on one thread"
    return [Question(name=title, measures=measures, unit="CPU ns a packet", all_ours=True, against=("default",))]


# --- pools

CACHED_MEMPOOL = "rte_mempool, cache"
MEMPOOLS = {
    CACHED_MEMPOOL: ("ring_mp_mc", pools.CACHE), "rte_mempool, no cache": ("ring_mp_mc", 0),
    "rte_mempool over rte_stack, cache": ("stack", pools.CACHE),
}
BULK = 32


def mempool(name: str, threads: int, buffers: int) -> float:
    operations, cache_size = MEMPOOLS[name]
    told = [threads, operations, cache_size, pools.COUNT, pools.SIZE, BULK, buffers, *two_cpus()]
    return float(subprocess.check_output([MEMPOOL.build(), *map(str, told)], text=True))


@cache
def malloc_loops() -> ModuleType:
    return build_extension(HERE / "malloc_loops.pyx")


def malloc_on_one(bulks: int) -> float:
    loops, cpu = malloc_loops(), two_cpus()[0]
    return rings.took(rings.in_threads([(cpu, lambda: loops.take_and_give(bulks, pools.SIZE))])) / (bulks * BULK)


def malloc_on_two(bulks: int) -> float:
    loops, meeting = malloc_loops(), Meeting(2)
    with Ring.create(1024) as there:
        results = rings.in_threads([
            (two_cpus()[0], lambda: loops.take_and_send(there, meeting, bulks, pools.SIZE)),
            (two_cpus()[1], lambda: loops.receive_and_give(there, meeting, bulks)),
        ])
    return rings.took(results) / (bulks * BULK)


def which_pool() -> list[Question]:
    one: dict[str, Measure] = {
        f"fastring {name}": (lambda name=name: pools.on_one_thread(name, buffers=ITEMS, cpu=two_cpus()[0])) for name in pools.POOLS
    }
    two: dict[str, Measure] = {
        f"fastring {name}": (lambda name=name: pools.between_threads(name, buffers=ITEMS // 4, cpus=two_cpus()))
        for name in pools.BETWEEN_THREADS
    }
    # glibc gives memory back to the kernel and takes it again: fewer, since that takes microseconds
    one["malloc"], two["malloc"] = lambda: malloc_on_one(ITEMS // 10 // BULK), lambda: malloc_on_two(ITEMS // 100 // BULK)
    asked = []
    for threads, measures, told in ((1, one, "one thread"), (2, two, "taken on one thread and given back on another")):
        measures |= {name: (lambda name=name, threads=threads: mempool(name, threads, ITEMS // threads**2)) for name in MEMPOOLS}
        needed: dict[str, Callable[[], object]] = dict.fromkeys(MEMPOOLS, MEMPOOL.build) | {"malloc": malloc_loops}
        name = f"which pool? {told}, {BULK} buffers at a time"
        asked.append(Question(name=name, measures=measures, unit="ns a buffer", needed=needed, against=(CACHED_MEMPOOL,)))
    return asked


# --- from Python

QUEUES = ("faster-fifo", "faster-fifo many", "faster-fifo many, no pickle", "multiprocessing.Queue", "SimpleQueue, threads")
ARRAYS = ("faster-fifo arrays", "multiprocessing.Queue arrays")
AGAINST = ("faster-fifo many", "faster-fifo many, no pickle", "multiprocessing.Queue")
COUNTS = {"faster": 25_600, "multip": 12_800, "Simple": 51_200}


def python_queue(kind: str, what: str) -> float:
    count = COUNTS[kind[:6]] * (20 if "arrays" in kind else 1)
    command = [sys.executable, HERE / "queues.py", kind, what, str(count), ",".join(map(str, two_cpus()))]
    return float(json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=120).stdout)["ns"])


def has_faster_fifo() -> None:
    try:
        import faster_fifo  # noqa: F401
    except ImportError:
        raise Unavailable("faster-fifo is not installed (PyPI: faster-fifo)") from None


def from_python() -> list[Question]:
    asked = []
    ours: dict[str, dict[str, Measure]] = {
        "items": {
            "fastring, NumPy bursts of 256": lambda: python.python_items(partner(), items=2_000_000, cpu=two_cpus()[0]),
        },
        "payloads": {
            "fastring, slots and their numbers": lambda: python.python_payloads(partner(), count=51_200, cpu=two_cpus()[0]),
            "fastring, a RecordRing": lambda: python.python_records(partner(), count=51_200, cpu=two_cpus()[0]),
        },
    }
    for what, told in (("items", "small ints"), ("payloads", "payloads of 1500 bytes")):
        kinds = QUEUES if what == "payloads" else QUEUES + ARRAYS
        measures = ours[what] | {kind: (lambda kind=kind, what=what: python_queue(kind, what)) for kind in kinds}
        needed = {kind: has_faster_fifo for kind in kinds if kind.startswith("faster-fifo")}
        title = f"which queue for Python? {told}"
        asked.append(Question(name=title, measures=measures, unit="ns each", rounds=5, needed=needed, against=AGAINST))
    return asked


ASKED = (
    *which_ring(), *threads_or_processes(), *which_batch_size(), *which_capacity(), *which_pool(), *which_driver_settings(), *from_python(),
)
QUESTIONS = {asked.name: asked for asked in ASKED}
