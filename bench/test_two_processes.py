"""The whole path with driver and cards in two processes, over vfio-user, against two threads of one, alternating.

    pytest bench/test_two_processes.py -s
"""

import os
import statistics

import pytest
from path import Path, cpus
from remote_path import RemotePath

RUNS = 9
PACKETS = 400_000
# A message costs as much as dozens of packets: larger rings, longer polls and deferred interrupts need fewer.
TUNINGS = {
    "as they are": ({}, {}),
    "tuned": (
        {"rx_descriptors": 1024, "tx_descriptors": 1024, "weight": 256, "burst": 512},
        {"gro_flush_timeout": 10_000, "napi_defer_hard_irqs": 1000},
    ),
}


def tune(path, attributes):
    """Set them on both devices, and warm up."""
    for device in (path.near, path.far):
        for name, value in attributes.items():
            setattr(device, name, value)
    path.send(PACKETS // 4)


@pytest.mark.parametrize("size", [60, 1514])
@pytest.mark.parametrize("tuning", TUNINGS)
@pytest.mark.parametrize("map_doorbells", [False, True], ids=["messages", "stores"])
def test_two_processes_against_two_threads(size, tuning, map_doorbells, capsys):
    if len(cpus()) < 2:
        pytest.skip("two processes need two CPUs")
    before = os.sched_getaffinity(0)
    driver_cpu, device_cpu = cpus()[:2]
    os.sched_setaffinity(0, {driver_cpu})
    options, attributes = TUNINGS[tuning]
    processes, threads = [], []
    try:
        with RemotePath(size, map_doorbells=map_doorbells, device_cpu=device_cpu, **options) as remote:
            tune(remote, attributes)
            for _ in range(RUNS):
                told = remote.messages
                processes.append(remote.nanoseconds(PACKETS))
                messages = {name: count - told[name] for name, count in remote.messages.items()}
                with Path(size, device_cpu=device_cpu, **options) as path:  # for each run: its thread never sleeps
                    tune(path, attributes)
                    threads.append(path.nanoseconds(PACKETS))
    finally:
        os.sched_setaffinity(0, before)
    ours, theirs = statistics.median(processes), statistics.median(threads)
    with capsys.disabled():
        rung = "stores" if map_doorbells else "messages"
        print(f"\npath, {size} bytes, {tuning}, doorbells {rung}, two processes: {theirs / ours:.3f} of two threads "
              f"({1e3 / ours:.2f} against {1e3 / theirs:.2f} Mpps, {ours:.1f} against {theirs:.1f} ns a packet, medians of {RUNS}; "
              f"best {min(processes):.1f} and {min(threads):.1f}; "
              f"{PACKETS / messages['exchanges']:.0f} packets an exchange, {PACKETS / messages['posted']:.0f} a posted message)")
