"""The whole path, all counters and filters on, against the floor: bench/floor.c in the same session, alternating.

    pytest bench/test_path.py -s
"""

import os
import sys
from pathlib import Path as FilePath

import pytest

sys.path.insert(0, str(FilePath(__file__).resolve().parent / "peers"))
sys.path.insert(0, str(FilePath(__file__).resolve().parent))
from path import Path, alternate, cpus  # noqa: E402

SIZES = (60, 256, 1514)
RUNS = 7
PACKETS = 3_000_000
BATCH = 100_000


@pytest.mark.parametrize("size", SIZES)
def test_one_thread_against_the_floor(size, capsys):
    ours, floor = alternate(size, runs=RUNS, count=PACKETS)
    with capsys.disabled():
        print(f"\npath, {size} bytes, one thread: {floor / ours:.3f} of the floor "
              f"({1e3 / ours:.2f} against {1e3 / floor:.2f} Mpps, {ours:.1f} against {floor:.1f} ns a packet, medians of {RUNS})")


@pytest.mark.parametrize("size", SIZES)
def test_two_threads_against_the_floor(size, capsys):
    if len(cpus()) < 2:
        pytest.skip("two threads need two CPUs")
    before = os.sched_getaffinity(0)
    driver_cpu, device_cpu = cpus()[:2]
    os.sched_setaffinity(0, {driver_cpu})
    try:
        ours, floor = alternate(size, runs=RUNS, count=PACKETS, device_cpu=device_cpu)
    finally:
        os.sched_setaffinity(0, before)
    with capsys.disabled():
        print(f"\npath, {size} bytes, device on its own core: {floor / ours:.3f} of the floor "
              f"({1e3 / ours:.2f} against {1e3 / floor:.2f} Mpps, {ours:.1f} against {floor:.1f} ns a packet, medians of {RUNS})")


@pytest.mark.parametrize("size", SIZES)
def test_path_on_one_thread(benchmark, size):
    with Path(size) as path:
        path.send(BATCH)
        benchmark.extra_info["packets"] = BATCH
        benchmark(path.send, BATCH)
        assert path.sink.bytes == size * path.sink.packets


@pytest.mark.parametrize("burst", [1, 8, 32, 128, 230])
def test_burst_size(benchmark, burst):
    with Path(60, burst=burst) as path:
        path.send(BATCH)
        benchmark.extra_info["packets"] = BATCH
        benchmark(path.send, BATCH)
