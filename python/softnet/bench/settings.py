"""What a driver's settings cost or save: the same packets on cards whose drivers differ in one option, in turns."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from softnet.bench.path import Path
from softnet.bench.series import Measure

# By name: options of probe, and attributes of the devices. The first is what the others are compared with.
SETTINGS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "default": ({}, {}),
    "rs_every=1": ({"rs_every": 1}, {}),
    "rs_every=8": ({"rs_every": 8}, {}),
    "rs_every=128": ({"rs_every": 128}, {}),
    "doorbell_every=1": ({"doorbell_every": 1}, {}),
    "doorbell_every=8": ({"doorbell_every": 8}, {}),
    "doorbell_every=32": ({"doorbell_every": 32}, {}),
    "weight=16": ({"weight": 16}, {}),
    "weight=256": ({"weight": 256}, {}),
    "rings of 1024": ({"tx_descriptors": 1024, "rx_descriptors": 1024}, {}),
    "rx_usecs=3": ({"rx_usecs": 3}, {}),
    "rx_usecs=100": ({"rx_usecs": 100}, {}),
    "interrupts deferred": ({}, {"gro_flush_timeout": 10_000, "napi_defer_hard_irqs": 1000}),
}
FEW = ("default", "rs_every=1", "rs_every=128", "doorbell_every=1", "doorbell_every=8", "weight=16", "weight=256")


@contextmanager
def pinned(cpu: int) -> Iterator[None]:
    """This thread, meanwhile."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {cpu})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def measure(name: str, *, cpu: int, size: int = 60, packets: int = 50_000) -> float:
    """CPU nanoseconds a packet of `size` bytes with one of SETTINGS, driver and cards on one thread; the first tenth is not counted."""
    options, attributes = SETTINGS[name]
    with pinned(cpu), Path(size, **options) as path:
        for device in (path.near, path.far):
            for attribute, value in attributes.items():
                setattr(device, attribute, value)
        path.send(max(1, packets // 10))
        start = time.thread_time_ns()
        path.send(packets)
        return (time.thread_time_ns() - start) / packets


def measures(names: tuple[str, ...] = tuple(SETTINGS), **options: int) -> dict[str, Measure]:
    """One for each of `names`; `options` as of measure."""
    return {name: partial(measure, name, **options) for name in names}
