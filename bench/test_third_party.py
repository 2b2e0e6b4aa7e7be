"""Is fastring as fast in somebody else's extension as in its own? The same loops, built here against the installed package.

    pytest bench/test_third_party.py -s
"""

import statistics
import time
from pathlib import Path

import peers
import pytest

from fastring.ring import Ring
from fastring.ring_loops import push_pop
from softnet.bench import pools, rings

PEERS = Path(__file__).resolve().parent / "peers"
ITEMS, RUNS = 640_000, 9


@pytest.fixture(scope="module")
def third_party():
    try:
        return peers.build_extension(PEERS / "third_party.pyx")
    except peers.Unavailable as reason:
        pytest.skip(str(reason))


def timed(loop, *args):
    """Nanoseconds an item; and what the loop returned."""
    start = time.perf_counter_ns()
    told = loop(*args)
    return (time.perf_counter_ns() - start) / ITEMS, told


def ring_pair(third_party, strategy, bulk):
    """Ours, then theirs."""
    begun, ended, total = push_pop(Ring.create(1024, strategy=strategy), ITEMS, bulk)
    theirs, their_total = timed(third_party.push_pop, Ring.create(1024, strategy=strategy), ITEMS, bulk)
    assert total == their_total == ITEMS * (ITEMS - 1) // 2
    return (ended - begun) / ITEMS, theirs


def pool_pair(third_party, name):
    ours, (_, [user, _]) = pools.on_one_thread(name, buffers=ITEMS, cpu=rings.cpus()[0]), pools.make_pool(name)
    theirs, taken = timed(third_party.take_and_give, user, ITEMS // 32)
    assert taken == ITEMS
    return ours, theirs


def tell(capsys, what, pairs):
    ratios = sorted(ours / theirs for ours, theirs in pairs)
    ours, theirs = (statistics.median(figures) for figures in zip(*pairs, strict=True))
    with capsys.disabled():
        print(f"\n{what}, one thread: an extension of somebody else's has {statistics.median(ratios):.2f} x our throughput "
              f"({ratios[0]:.2f} to {ratios[-1]:.2f}; {theirs:.2f} and {ours:.2f} ns an item)")


@pytest.mark.parametrize("bulk", [1, 32])
@pytest.mark.parametrize("strategy", ["cached", "slotflag", "mpmc"])
def test_a_ring_in_somebody_elses_loop(third_party, capsys, strategy, bulk):
    tell(capsys, f"{strategy}, bulk {bulk}", [ring_pair(third_party, strategy, bulk) for _ in range(RUNS)])


@pytest.mark.parametrize("name", ["lifo", "lifo, cache"])
def test_a_pool_in_somebody_elses_loop(third_party, capsys, name):
    tell(capsys, f"pool, {name}, bulk 32", [pool_pair(third_party, name) for _ in range(RUNS)])
