"""Is fastring as fast in somebody else's extension as in its own? The same loops, built here against the installed package.

    pytest bench/test_third_party.py -s
"""

import statistics
import time
from pathlib import Path

import peers
import pytest

from fastring.pool_loops import take_and_give
from fastring.ring import Ring
from fastring.ring_loops import push_pop
from softnet.bench import pools

PEERS = Path(__file__).resolve().parent / "peers"
ITEMS, RUNS = 640_000, 21


@pytest.fixture(scope="module")
def third_party():
    try:
        return peers.build_extension(PEERS / "third_party.pyx")
    except peers.Unavailable as reason:
        pytest.skip(str(reason))


def took(loop, *args):
    """Nanoseconds an item of theirs; and what their loop returned."""
    start = time.perf_counter_ns()
    told = loop(*args)
    return (time.perf_counter_ns() - start) / ITEMS, told


def ring_pair(third_party, ring, bulk):
    """Ours, then theirs, on one ring: where it lies costs more than the loop does."""
    begun, ended, total = push_pop(ring, ITEMS, bulk)
    theirs, their_total = took(third_party.push_pop, ring, ITEMS, bulk)
    assert total == their_total == ITEMS * (ITEMS - 1) // 2
    return (ended - begun) / ITEMS, theirs


def pool_pair(third_party, user):
    begun, ended = take_and_give(user, ITEMS // 32, 32)
    theirs, taken = took(third_party.take_and_give, user, ITEMS // 32)
    assert taken == ITEMS
    return (ended - begun) / ITEMS, theirs


def tell(capsys, what, pairs):
    ratios = sorted(ours / theirs for ours, theirs in pairs)
    ours, theirs = (statistics.median(figures) for figures in zip(*pairs, strict=True))
    with capsys.disabled():
        print(f"\n{what}, one thread: an extension of somebody else's has {statistics.median(ratios):.2f} x our throughput "
              f"({ratios[0]:.2f} to {ratios[-1]:.2f}; {theirs:.2f} and {ours:.2f} ns an item)")


@pytest.mark.parametrize("bulk", [1, 32])
@pytest.mark.parametrize("strategy", ["cached", "slotflag", "mpmc"])
def test_a_ring_in_somebody_elses_loop(third_party, capsys, strategy, bulk):
    several = [Ring.create(1024, strategy=strategy) for _ in range(RUNS)]      # at once, each in another place
    tell(capsys, f"{strategy}, bulk {bulk}", [ring_pair(third_party, ring, bulk) for ring in several])


@pytest.mark.parametrize("name", ["lifo", "lifo, cache"])
def test_a_pool_in_somebody_elses_loop(third_party, capsys, name):
    several = [pools.make_pool(name) for _ in range(RUNS)]
    tell(capsys, f"pool, {name}, bulk 32", [pool_pair(third_party, user) for _, [user, _] in several])
