"""Ring between two running threads: every item once, in order."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from fastring.ring import Ring


@pytest.mark.parametrize("capacity", [1, 2, 64, 1024])
@pytest.mark.parametrize(("push", "pop"), [(1, 1), (1, 32), (32, 1), (7, 32)])
def test_every_item_arrives_once_and_in_order(threads, capacity, push, pop):
    ring, items = Ring(capacity), 100_000
    with ThreadPoolExecutor(2) as pool:
        pushed = pool.submit(threads.push_all, ring, items, push)
        popped = pool.submit(threads.pop_all, ring, items, pop)
        assert (pushed.result(), popped.result()) == (items, items)
    assert (len(ring), ring.broken) == (0, 0)
