"""What our rings do: each function is one measurement, of the same shape as those of bench/peers."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

import numpy as np

from fastring.meeting import Meeting
from fastring.memory import Arena
from fastring.ring import Ring
from fastring.ring_loops import bounce, consume, ping, pong, produce, push_pop
from softnet.bench.partner import PATIENCE, Partner
from softnet.bench.series import RoundTrip

T = TypeVar("T")

STRATEGIES = ("lamport", "cached", "batched", "slotflag")  # between one producer and one consumer
MANY_STRATEGIES = ("mpmc", "headtail mt", "headtail rts", "headtail hts", "locked")  # between any number of both


def make_ring(strategy: str, capacity: int, arena: Arena | None = None, item_size: int = 8) -> Ring:
    """A ring of one of the above, headtail by its `sync`, too."""
    name, _, sync = strategy.partition(" ")
    options: dict[str, Any] = {"strategy": name, "arena": arena, "sync": sync or None, "item_size": item_size}
    return Ring.create(capacity, **options)


def cpus() -> list[int]:
    """The cores this process may use."""
    return sorted(os.sched_getaffinity(0))


def in_threads(jobs: Sequence[tuple[int, Callable[[], T]]]) -> list[T]:
    """Run each job in a thread of its own on its CPU; what they return. Raises what one of them raised."""
    found: list[Any] = [None] * len(jobs)
    errors: list[BaseException] = []

    def run(number: int, cpu: int, job: Callable[[], T]) -> None:
        try:
            os.sched_setaffinity(0, {cpu})  # of this thread alone
            found[number] = job()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(number, *job)) for number, job in enumerate(jobs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return found


def took(results: Sequence[Sequence[int]]) -> int:
    """From the first beginning to the last end."""
    return max(result[1] for result in results) - min(result[0] for result in results)


def check_sum(found: int, items: int) -> None:
    if found % 2**64 != items * (items - 1) // 2 % 2**64:
        raise RuntimeError("items were lost")


def throughput(
    strategy: str,
    *,
    capacity: int = 1024,
    bulk: int = 32,
    items: int = 1_000_000,
    cpus: Sequence[int],
    producers: int = 1,
    consumers: int = 1,
    spins: int = 0,
    item_size: int = 8,
) -> float:
    """Nanoseconds an item between threads, on `cpus` in turn. `spins`: waits between two yields, for more threads than CPUs."""
    items -= items % (bulk * producers * consumers)
    meeting = Meeting(producers + consumers, spins=spins)
    share, part = items // producers, items // consumers
    with make_ring(strategy, capacity, item_size=item_size) as ring:
        work: list[Callable[[], tuple[int, ...]]] = []
        for number in range(producers):
            work.append(partial(produce, ring, meeting, number * share, share, bulk))
        for _ in range(consumers):
            work.append(partial(consume, ring, meeting, part, bulk))
        results = in_threads([(cpus[number % len(cpus)], job) for number, job in enumerate(work)])
    check_sum(sum(result[2] for result in results[producers:]), items)
    return took(results) / items


def throughput_to(partner: Partner, strategy: str, *, capacity: int = 1024, bulk: int = 32, items: int = 1_000_000, cpu: int) -> float:
    """The same from this process to another."""
    items -= items % bulk
    with make_ring(strategy, capacity, partner.arena) as ring:
        meeting = Meeting(2, arena=partner.arena)
        partner.ask("consume", ring=ring.offset, meeting=meeting.offset, items=items, bulk=bulk)
        sent = in_threads([(cpu, lambda: produce(ring, meeting, 0, items, bulk))])
        taken = partner.answer()
        partner.arena.free(meeting.offset)
    check_sum(taken[2], items)
    return took([*sent, taken]) / items


def _round_trip(times: np.ndarray[Any, Any]) -> RoundTrip:
    p50, p99, p99_9 = np.percentile(times, (50, 99, 99.9))
    return RoundTrip(float(times.mean()), float(p50), float(p99), float(p99_9))


def round_trip(strategy: str, *, capacity: int = 1024, rounds: int = 20_000, cpus: Sequence[int]) -> RoundTrip:
    """One item there and back through two rings, between two threads."""
    times: Any = np.ones(rounds, dtype=np.uint32)
    meeting = Meeting(2)
    with make_ring(strategy, capacity) as there, make_ring(strategy, capacity) as back:
        in_threads([(cpus[0], lambda: ping(there, back, meeting, times)), (cpus[1], lambda: pong(there, back, meeting, rounds))])
    return _round_trip(times)


def round_trip_to(partner: Partner, strategy: str, *, capacity: int = 1024, rounds: int = 20_000, cpu: int) -> RoundTrip:
    """The same from this process to another and back."""
    times: Any = np.ones(rounds, dtype=np.uint32)
    arena = partner.arena
    with make_ring(strategy, capacity, arena) as there, make_ring(strategy, capacity, arena) as back:
        meeting = Meeting(2, arena=arena)
        partner.ask("pong", there=there.offset, back=back.offset, meeting=meeting.offset, rounds=rounds)
        in_threads([(cpu, lambda: ping(there, back, meeting, times))])
        partner.answer()
        arena.free(meeting.offset)
    return _round_trip(times)


def waiting_round_trip(partner: Partner, spin: float, *, rounds: int, cpu: int) -> RoundTrip:
    """The same from Python, each side waiting by futex: it spins for `spin` seconds, then parks. Both may be on one CPU."""
    times: Any = np.ones(rounds, dtype=np.int64)
    arena = partner.arena

    def trips(there: Ring, back: Ring) -> None:
        for number in range(rounds):
            start = time.perf_counter_ns()
            there.push(number)
            if not back.wait_for_items(timeout=PATIENCE, spin=spin) or back.pop() != number:
                raise RuntimeError("an item did not come back")
            times[number] = time.perf_counter_ns() - start

    with Ring.create(64, wait="futex", arena=arena) as there, Ring.create(64, wait="futex", arena=arena) as back:
        partner.ask("echo", there=there.offset, back=back.offset, rounds=rounds, spin=spin)
        in_threads([(cpu, lambda: trips(there, back))])
        partner.answer()
    return _round_trip(times)


def single(strategy: str, *, capacity: int = 1024, bulk: int = 32, items: int = 1_000_000, cpu: int) -> float:
    """Nanoseconds an item, in and out again by one thread."""
    items -= items % bulk
    with make_ring(strategy, capacity) as ring:
        [result] = in_threads([(cpu, lambda: push_pop(ring, items, bulk))])
    check_sum(result[2], items)
    return (result[1] - result[0]) / items


def line_round_trip(cpus: Sequence[int], rounds: int = 5_000) -> float:
    """Nanoseconds that a bare cache line takes from one CPU to the other and back: what no ring can beat."""
    meeting = Meeting(2)
    results = in_threads([(cpus[0], lambda: bounce(meeting, rounds, True)), (cpus[1], lambda: bounce(meeting, rounds, False))])
    return took(results) / rounds
