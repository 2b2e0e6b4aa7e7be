"""Is fastring as fast in somebody else's extension as in its own? The same loop over a ring, built here against the installed package.

    pytest bench/test_third_party.py -s
"""

import statistics
import time
from pathlib import Path

import peers
import pytest

from fastring.ring import Ring
from fastring.ring_loops import push_pop

PEERS = Path(__file__).resolve().parent / "peers"
ITEMS, RUNS = 640_000, 9


@pytest.fixture(scope="module")
def third_party():
    try:
        return peers.build_extension(PEERS / "third_party.pyx")
    except peers.Unavailable as reason:
        pytest.skip(str(reason))


def theirs(loop, strategy, bulk):
    ring = Ring.create(1024, strategy=strategy)
    start = time.perf_counter_ns()
    total = loop(ring, ITEMS, bulk)
    elapsed = time.perf_counter_ns() - start
    assert total == ITEMS * (ITEMS - 1) // 2
    return elapsed / ITEMS


def ours(strategy, bulk):
    begun, ended, total = push_pop(Ring.create(1024, strategy=strategy), ITEMS, bulk)
    assert total == ITEMS * (ITEMS - 1) // 2
    return (ended - begun) / ITEMS


@pytest.mark.parametrize("bulk", [1, 32])
@pytest.mark.parametrize("strategy", ["cached", "slotflag", "mpmc"])
def test_the_same_loop_built_by_somebody_else(third_party, capsys, strategy, bulk):
    pairs = [(ours(strategy, bulk), theirs(third_party.push_pop, strategy, bulk)) for _ in range(RUNS)]
    ratios = sorted(mine / other for mine, other in pairs)
    with capsys.disabled():
        mine, other = (statistics.median(figures) for figures in zip(*pairs, strict=True))
        ratio = statistics.median(ratios)
        print(f"\n{strategy}, bulk {bulk}, one thread: an extension of somebody else's has {ratio:.2f} x our throughput "
              f"({ratios[0]:.2f} to {ratios[-1]:.2f}; {other:.2f} and {mine:.2f} ns an item)")
