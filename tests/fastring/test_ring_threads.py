"""Rings between running threads: every item once, whole, and each producer's in order."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from fastring.ring import Ring
from fastring.ring_geometry import NAMES

SEVERAL = [name for name in NAMES if name[0] in ("mpmc", "headtail", "locked")]


@pytest.mark.parametrize("capacity", [1, 2, 64, 1024])
@pytest.mark.parametrize(("push", "pop"), [(1, 1), (1, 32), (32, 1), (7, 32)])
def test_every_item_arrives_once_and_in_order(threads, capacity, push, pop):
    ring, items = Ring(capacity), 100_000
    with ThreadPoolExecutor(2) as pool:
        pushed = pool.submit(threads.push_all, ring, items, push)
        popped = pool.submit(threads.pop_all, ring, items, pop)
        assert (pushed.result(), popped.result()) == (items, items)
    assert (len(ring), ring.broken) == (0, 0)


def exchange(ring_threads, ring, producers, consumers, items, bursts):
    """That many items from each producer; what the consumers say."""
    ring_threads.begin()
    with ThreadPoolExecutor(producers + consumers) as pool:
        pushed = [pool.submit(ring_threads.push_from, ring, number, items, bursts[0]) for number in range(producers)]
        popped = [pool.submit(ring_threads.pop_until, ring, items * producers, bursts[1]) for _ in range(consumers)]
        assert [thread.result() for thread in pushed] == [items] * producers
        results = [thread.result() for thread in popped]
    assert [error for _, error in results] == [None] * consumers
    assert sum(got for got, _ in results) == items * producers
    assert (len(ring), ring.broken) == (0, 0)


@pytest.mark.parametrize("item_size", [8, 16])
@pytest.mark.parametrize(("capacity", "bursts"), [(1, (1, 1)), (4, (1, 3)), (64, (32, 7))])
@pytest.mark.parametrize(("strategy", "sync"), NAMES)
def test_every_strategy_hands_over_each_item_once_and_whole(ring_threads, strategy, sync, capacity, bursts, item_size):
    ring = Ring.create(capacity, strategy=strategy, sync=sync, item_size=item_size, patience=60)
    exchange(ring_threads, ring, 1, 1, 20_000, bursts)


@pytest.mark.parametrize(("producers", "consumers"), [(2, 1), (1, 2), (3, 2)])
@pytest.mark.parametrize(("capacity", "bursts"), [(1, (1, 1)), (4, (1, 3)), (64, (32, 7))])
@pytest.mark.parametrize(("strategy", "sync"), SEVERAL)
def test_several_threads_share_a_side(ring_threads, strategy, sync, capacity, bursts, producers, consumers):
    ring = Ring.create(capacity, strategy=strategy, sync=sync, item_size=16, patience=60)
    exchange(ring_threads, ring, producers, consumers, 5_000, bursts)


@pytest.mark.slow
@pytest.mark.parametrize("wait", ["poll", "futex"])
@pytest.mark.parametrize(("strategy", "sync"), NAMES)
def test_a_minute_of_items_arrives_once_and_whole(ring_threads, strategy, sync, wait):
    """Half a minute with each way of waiting."""
    several = (strategy, sync) in SEVERAL
    until, rounds = time.monotonic() + 30, 0
    while time.monotonic() < until:
        for capacity, bursts in (1, (1, 1)), (2, (1, 32)), (64, (7, 32)), (1024, (32, 32)):
            ring = Ring.create(capacity, strategy=strategy, sync=sync, item_size=16, wait=wait, patience=60)
            exchange(ring_threads, ring, *(((1, 1), (2, 2))[several and rounds % 2]), 100_000, bursts)
        rounds += 1
    assert rounds > 0
