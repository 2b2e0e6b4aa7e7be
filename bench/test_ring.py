"""Ring against DPDK's rte_ring: the same loops, the same two cores, alternating in one session. Figures are ratios.

    pytest bench/test_ring.py -s
"""

import os
import statistics
import threading
import time
from pathlib import Path

import peers
import pytest
import rings

from fastring.ring import Ring

PEERS = Path(__file__).resolve().parent / "peers"

CAPACITY, BULK, RUNS = 1024, 32, 7
ITEMS = 20_000_000 // BULK * BULK


def build(what, *args):
    try:
        return what(*args)
    except peers.Unavailable as reason:
        pytest.skip(str(reason))


@pytest.fixture(scope="module")
def loops():
    return build(peers.build_extension, PEERS / "ring_threads.pyx")


@pytest.fixture(scope="module")
def rte_ring():
    peer = rings.PEERS[0]
    build(peer.build)
    return peer


@pytest.fixture(scope="module")
def two_cpus():
    cpus = sorted(os.sched_getaffinity(0))
    if len(cpus) < 2:
        pytest.skip("two threads need two CPUs")
    return cpus[:2]


def fastring_pair(loops, cpus, bulk=BULK, items=ITEMS):
    """Nanoseconds per item from one pinned thread to another."""
    ring, results = Ring(CAPACITY), []

    def run(cpu, loop):
        os.sched_setaffinity(0, {cpu})      # of this thread alone
        results.append(loop(ring, items, bulk))

    loops.rendezvous_reset()
    threads = [threading.Thread(target=run, args=pair) for pair in zip(cpus, (loops.produce, loops.consume), strict=True)]
    start = time.perf_counter_ns()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    elapsed = time.perf_counter_ns() - start
    assert sorted(results, key=lambda r: r is not None) == [None, items * (items - 1) // 2 % 2**64], "items were lost"
    return elapsed / items


def rte_ring_pair(peer, cpus, bulk=BULK, items=ITEMS):
    return peer.run(capacity=CAPACITY, bulk=bulk, items=items, cpus=",".join(map(str, cpus)))["ns"]


@pytest.mark.parametrize("bulk", [1, 8, 32])
def test_two_threads_bulk_against_rte_ring(loops, rte_ring, two_cpus, capsys, bulk):
    items = ITEMS // 4 if bulk == 1 else ITEMS
    ours, theirs = [], []
    for _ in range(RUNS):
        ours.append(fastring_pair(loops, two_cpus, bulk, items))
        theirs.append(rte_ring_pair(rte_ring, two_cpus, bulk, items))
    ratio = statistics.median(theirs) / statistics.median(ours)
    with capsys.disabled():
        print(f"\nring, bulk {bulk}, two threads: {ratio:.2f} x the items per second of rte_ring SP/SC "
              f"({statistics.median(ours):.2f} against {statistics.median(theirs):.2f} ns an item, medians of {RUNS})")
    if bulk == BULK:
        assert ratio >= 1


def test_push_and_pop_on_one_thread(benchmark, loops):
    ring, rounds = Ring(CAPACITY), 100_000
    benchmark.extra_info["operations"] = rounds
    total = benchmark(loops.push_pop, ring, rounds)
    assert total == rounds * (rounds - 1) // 2


def test_bulk_of_32_on_one_thread(benchmark, loops):
    ring, rounds = Ring(CAPACITY), 10_000
    benchmark.extra_info["operations"] = rounds
    assert benchmark(loops.push_pop_bulk, ring, rounds, BULK) == 0


def test_push_and_pop_from_python(benchmark):
    ring = Ring(CAPACITY)

    def push_pop():
        ring.push(7)
        return ring.pop()

    assert benchmark(push_pop) == 7
