"""BufferPool against malloc: 32 buffers taken and given back. Figures are ratios.

    pytest bench/test_pool.py -s
"""

import statistics
import time
from pathlib import Path

import peers
import pytest

from fastring.memory import Arena
from fastring.pool import BufferPool

PEERS = Path(__file__).resolve().parent / "peers"

ROUNDS, RUNS, BULK, SIZE = 50_000, 7, 32, 2048


@pytest.fixture(scope="module")
def loops():
    try:
        return peers.build_extension(PEERS / "pool_loops.pyx")
    except peers.Unavailable as reason:
        pytest.skip(str(reason))


@pytest.fixture
def pool():
    return BufferPool(Arena(1 << 21), count=512, buffer_size=SIZE)  # pins the arena, and goes with it


def nanoseconds(loop, *args):
    start = time.perf_counter_ns()
    loop(*args)
    return (time.perf_counter_ns() - start) / (ROUNDS * BULK)


def test_take_and_give_32(benchmark, loops, pool):
    benchmark.extra_info["operations"] = ROUNDS * BULK
    benchmark(loops.take_give, pool, ROUNDS)
    assert pool.available == pool.count


def test_take_and_give_against_malloc(loops, pool, capsys):
    ours, theirs = [], []
    for _ in range(RUNS):
        ours.append(nanoseconds(loops.take_give, pool, ROUNDS))
        theirs.append(nanoseconds(loops.malloc_free, ROUNDS, SIZE))
    with capsys.disabled():
        print(f"\npool, 32 buffers: {statistics.median(theirs) / statistics.median(ours):.2f} x the buffers per second of malloc + free "
              f"({statistics.median(ours):.2f} against {statistics.median(theirs):.2f} ns a buffer, medians of {RUNS})")
