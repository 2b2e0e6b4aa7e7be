"""What our buffer pools do: each function is one measurement, of buffers taken and given back in bulks."""

from __future__ import annotations

from collections.abc import Sequence

from fastring.meeting import Meeting
from fastring.memory import Arena
from fastring.pool import BufferPool
from fastring.pool_loops import receive_and_give, take_and_give, take_and_send
from fastring.ring import Ring
from softnet.bench.rings import in_threads, took

COUNT, SIZE, CACHE = 4096, 2048, 256

# Name: strategy, and the cache of its owners, or None for a pool of one thread
POOLS: dict[str, tuple[str, int | None]] = {
    "lifo": ("lifo", None),
    "fifo": ("fifo", None),
    "lifo, cache": ("lifo", CACHE),
    "fifo, cache": ("fifo", CACHE),
    "lifo, shared, no cache": ("lifo", 0),
}


# Between two threads a pool of one gets its buffers back by a second ring, as from another process.
BETWEEN_THREADS = {name + ("" if cache is not None else ", and a ring back"): name for name, (_, cache) in POOLS.items()}


def make_pool(name: str) -> tuple[BufferPool, list[BufferPool]]:
    """One of the above, and whom two threads use: its owners, or twice itself."""
    strategy, cache = POOLS[name]
    arena = Arena(COUNT * (SIZE + 64))
    if cache is None:
        pool = BufferPool.create(arena, count=COUNT, buffer_size=SIZE, strategy=strategy)  # type: ignore[call-overload]
        return pool, [pool, pool]
    shared = BufferPool.create(arena, count=COUNT, buffer_size=SIZE, strategy=strategy, shared=True)  # type: ignore[call-overload]
    return shared, [shared.owner(cache=cache) for _ in range(2)]


def _check_whole(pool: BufferPool) -> None:
    if (pool.available, pool.double_frees, pool.foreign_frees) != (COUNT, 0, 0):
        raise RuntimeError("buffers were lost")


def on_one_thread(name: str, *, buffers: int = 1_000_000, bulk: int = 32, cpu: int) -> float:
    """Nanoseconds a buffer."""
    pool, (user, _) = make_pool(name)
    bulks = max(1, buffers // bulk)
    result = in_threads([(cpu, lambda: take_and_give(user, bulks, bulk))])
    _check_whole(pool)
    return took(result) / (bulks * bulk)


def between_threads(name: str, *, buffers: int = 500_000, bulk: int = 32, cpus: Sequence[int]) -> float:
    """Nanoseconds a buffer that is taken on one thread and given back on another. `name`: of BETWEEN_THREADS."""
    pool, (taker, giver) = make_pool(BETWEEN_THREADS[name])
    there, back = Ring(1024), Ring(2 * COUNT) if taker is giver else None
    bulks, meeting = max(1, buffers // bulk), Meeting(2)
    results = in_threads([
        (cpus[0], lambda: take_and_send(taker, there, back, meeting, bulks, bulk)),
        (cpus[1], lambda: receive_and_give(giver, there, back, meeting, bulks, bulk)),
    ])
    _check_whole(pool)
    return took(results) / (bulks * bulk)
