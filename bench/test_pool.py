"""Which pool? 32 buffers taken and given back, by one thread or from one to another, beside malloc and DPDK's rte_mempool.

    pytest bench/test_pool.py -s

Figures are ratios to rte_mempool with its cache, in one session, all alternating; medians, with the least and the most of the runs.
"""

import os
import statistics
import subprocess
import threading
import time
from pathlib import Path

import peers
import pytest
import rings

from fastring.memory import Arena
from fastring.pool import BufferPool
from fastring.ring import Ring

PEERS = Path(__file__).resolve().parent / "peers"

COUNT, SIZE, CACHE, BULK, RUNS = 4096, 2048, 256, 32, 7
ROUNDS = {1: 50_000, 2: 20_000}     # by threads
BASE = "rte_mempool, cache"

# Name: strategy, shared, cache of its owners
OURS = {
    "lifo": ("lifo", False, None),
    "fifo": ("fifo", False, None),
    "lifo, cache": ("lifo", True, CACHE),
    "fifo, cache": ("fifo", True, CACHE),
    "lifo, shared, no cache": ("lifo", True, 0),
}
THEIRS = {BASE: ("ring_mp_mc", CACHE), "rte_mempool, no cache": ("ring_mp_mc", 0), "rte_mempool over rte_stack, cache": ("stack", CACHE)}


def build(what, *args):
    try:
        return what(*args)
    except peers.Unavailable as reason:
        pytest.skip(str(reason))


@pytest.fixture(scope="module")
def loops():
    return build(peers.build_extension, PEERS / "pool_loops.pyx")


@pytest.fixture(scope="module")
def rte_mempool():
    return build(rings.Peer("DPDK", "rte_mempool.c", "libdpdk-dev", "dpdk/rte_mempool.h", pkg_config="libdpdk").build)


def make(name):
    """A pool, and whom two threads use: its owners, or twice itself."""
    strategy, shared, cache = OURS[name]
    arena = Arena(COUNT * (SIZE + 64))
    pool = BufferPool.create(arena, count=COUNT, buffer_size=SIZE, strategy=strategy, shared=shared)
    return pool, [pool.owner(cache=cache) for _ in range(2)] if shared else [pool, pool]


def nanoseconds(loop, *args):
    """A buffer, on this thread."""
    start = time.perf_counter_ns()
    loop(*args)
    return (time.perf_counter_ns() - start) / (ROUNDS[1] * BULK)


def pair_nanoseconds(loops, cpus, *calls, rounds=ROUNDS[2]):
    """A buffer, where the first call's thread takes and the second one's gives back."""

    def run(cpu, loop, *args):
        os.sched_setaffinity(0, {cpu})      # of this thread alone
        loop(*args)

    loops.rendezvous_reset()
    threads = [threading.Thread(target=run, args=(cpu, *call)) for cpu, call in zip(cpus, calls, strict=True)]
    start = time.perf_counter_ns()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return (time.perf_counter_ns() - start) / (rounds * BULK)


def ours_on_two(loops, cpus, name):
    """A pool of one thread gets its buffers back through a second ring, as from another process."""
    pool, (taker, giver) = make(name)
    there, back = Ring(1024), None if OURS[name][1] else Ring(8192)
    elapsed = pair_nanoseconds(
        loops, cpus, (loops.take_all, taker, there, back, ROUNDS[2]), (loops.give_all, giver, there, back, ROUNDS[2])
    )
    assert (pool.available, pool.double_frees) == (COUNT, 0)
    return elapsed


def ours_on_one(loops, name):
    pool, (user, _) = make(name)
    elapsed = nanoseconds(loops.take_give, user, ROUNDS[1])
    assert (pool.available, pool.double_frees) == (COUNT, 0)
    return elapsed


def malloc_on_two(loops, cpus):
    there, rounds = Ring(1024), ROUNDS[2] // 10      # microseconds each: glibc gives memory back to the kernel and takes it again
    return pair_nanoseconds(loops, cpus, (loops.malloc_all, there, rounds, SIZE), (loops.free_all, there, rounds), rounds=rounds)


def theirs(program, threads, cpus, name):
    told = [threads, *THEIRS[name], COUNT, SIZE, BULK, ROUNDS[threads] * BULK, *cpus]
    return float(subprocess.check_output([program, *map(str, told)], text=True))


def report(title, results):
    base = statistics.median(results[BASE])
    print(f"\n{title}, 32 buffers at a time: x the buffers per second of {BASE} of {CACHE} (medians of {RUNS}, least to most)")
    for name, runs in sorted(results.items(), key=lambda item: statistics.median(item[1])):
        print(f"  {name:36} {base / statistics.median(runs):6.2f}   {statistics.median(runs):7.2f} ns a buffer "
              f"({min(runs):.2f} to {max(runs):.2f})")
    if max(results[BASE]) > 2 * min(results[BASE]):
        print("  The machine was busy with other things: run it again on a quiet one, or compare the least.")


@pytest.mark.parametrize("name", OURS)
def test_take_and_give_32(benchmark, loops, name):
    benchmark.group = "which pool?"
    benchmark.extra_info["operations"] = 10_000 * BULK
    pool, (user, _) = make(name)
    benchmark.pedantic(loops.take_give, (user, 10_000), rounds=RUNS, warmup_rounds=1)
    assert pool.available == pool.count


def test_which_pool_on_one_thread(loops, rte_mempool, capsys):
    cpus = sorted(os.sched_getaffinity(0))
    runs = {name: (lambda name=name: ours_on_one(loops, name)) for name in OURS}
    runs |= {"malloc": lambda: nanoseconds(loops.malloc_free, ROUNDS[1], SIZE)}
    runs |= {name: (lambda name=name: theirs(rte_mempool, 1, (cpus[0], cpus[-1]), name)) for name in THEIRS}
    results = {name: [] for name in runs}
    for _ in range(RUNS):
        for name, run in runs.items():
            results[name].append(run())
    with capsys.disabled():
        report("one thread", results)


def test_which_pool_on_two_threads(loops, rte_mempool, capsys):
    cpus = sorted(os.sched_getaffinity(0))[:2]
    if len(cpus) < 2:
        pytest.skip("two threads need two CPUs")
    runs = {
        name if OURS[name][1] else f"{name}, and a ring back": (lambda name=name: ours_on_two(loops, cpus, name)) for name in OURS
    }
    runs |= {"malloc": lambda: malloc_on_two(loops, cpus)}
    runs |= {name: (lambda name=name: theirs(rte_mempool, 2, cpus, name)) for name in THEIRS}
    results = {name: [] for name in runs}
    for _ in range(RUNS):
        for name, run in runs.items():
            results[name].append(run())
    with capsys.disabled():
        report("taken on one thread and given back on another", results)
