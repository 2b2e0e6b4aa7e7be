"""BufferPool of each strategy: random operations, right and wrong, against a model; on several threads, against what each knows."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import numpy as np
import pytest

from fastring.memory import Arena
from fastring.pool import BufferPool
from fastring.ring import Ring

COUNT = 200


def make(strategy, *, count=COUNT):
    """A pool, and the order in which it hands out; "lifo cache": an owner of one, with a cache."""
    order, _, way = strategy.partition(" ")
    pool = BufferPool.create(Arena(1 << 20), count=count, buffer_size=64, strategy=order, shared=bool(way))
    if way == "cache":
        return pool.owner(cache=16), None
    return pool, order


STRATEGIES = [f"{order}{way}" for order in ("lifo", "fifo") for way in ("", " shared", " cache")]


def operate(compiled, strategy, operations):
    pool, order = make(strategy)
    holder = pool.add_holder("peer")
    assert compiled.against_model(pool, order, holder, operations, 12345) == operations
    assert (pool.outstanding, pool.outstanding_of(holder)) == ([], [])
    pool.close()
    getattr(pool, "pool", pool).close()     # raises if one is missing


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_100_000_random_operations_go_as_in_the_model(pool_model, strategy):
    operate(pool_model, strategy, 100_000)


@pytest.mark.slow
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_10_million_random_operations_go_as_in_the_model(pool_model, strategy):
    operate(pool_model, strategy, 10_000_000)


def operate_together(compiled, order, caches, operations):
    """A thread for each cache, None standing for the pool itself."""
    pool = BufferPool.create(Arena(1 << 20), count=600, buffer_size=64, strategy=order, shared=True)
    stamps = np.zeros(pool.count, np.uint64)
    rings = [Ring(32) for _ in caches]
    with ExitStack() as stack, ThreadPoolExecutor(len(caches)) as threads:
        users = [pool if cache is None else stack.enter_context(pool.owner(cache=cache)) for cache in caches]
        runs = [
            threads.submit(compiled.share, user, rings[i], rings[i - 1], stamps, operations, i + 1)
            for i, user in enumerate(users)
        ]
        results = [run.result() for run in runs]
    assert [done for done, *_ in results] == [operations] * len(caches)
    assert min(taken for *_, taken in results) > 0
    assert sum(taken for *_, taken in results) > operations
    assert pool.double_frees == sum(doubles for _, doubles, _, _ in results)
    assert pool.foreign_frees == sum(foreigners for _, _, foreigners, _ in results)
    for user, (_, doubles, foreigners, _) in zip(users, results, strict=True):
        assert user is pool or (user.double_frees, user.foreign_frees) == (doubles, foreigners)
    left = sorted(item for ring in rings for item in iter(ring.pop, None))
    assert pool.outstanding == left
    for buffer in left:
        pool.put(buffer)
    pool.close()


CACHES = [(64, 64), (16, 48, 1), (None, None), (None, 0, 32)]


@pytest.mark.parametrize("caches", CACHES, ids=str)
@pytest.mark.parametrize("order", ["lifo", "fifo"])
def test_no_buffer_has_two_owners_on_several_threads(pool_model, order, caches):
    operate_together(pool_model, order, caches, 30_000)


@pytest.mark.slow       # with caches that spare the lock: a core for each thread is more than most machines have to give for so long
@pytest.mark.parametrize("caches", [(64, 64), (64, 32, 64)], ids=str)
@pytest.mark.parametrize("order", ["lifo", "fifo"])
def test_no_buffer_has_two_owners_in_10_million_operations_on_several_threads(pool_model, order, caches):
    operate_together(pool_model, order, caches, 10_000_000 // len(caches))


@pytest.mark.parametrize("cache", [0, 8])
def test_of_two_threads_that_free_a_buffer_at_the_same_moment_one_is_refused(pool_model, cache):
    turns = 20_000
    pool = BufferPool.create(Arena(1 << 20), count=64, buffer_size=64, shared=True)
    words = np.zeros(3, np.uint32)
    with pool.owner(cache=cache) as first, pool.owner(cache=cache) as second, ThreadPoolExecutor(2) as threads:
        runs = threads.submit(pool_model.free_first, first, words, turns), threads.submit(pool_model.free_second, second, words, turns)
        assert [run.result() for run in runs] == [turns, turns]
        assert first.double_frees + second.double_frees == turns
    assert (pool.double_frees, pool.available) == (turns, 64)
    pool.close()
