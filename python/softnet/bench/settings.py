"""What a driver's settings cost or save: the same packets on cards whose drivers differ in one option, in turns."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
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
    "tx_wake=128": ({"tx_wake": 128}, {}),
    "tx_wake=255": ({"tx_wake": 255}, {}),
    "copybreak=256": ({"copybreak": 256}, {}),
    # On a clock: what follows is compared with the first of them, which keeps nothing back.
    "on a clock": ({"moderated": True}, {}),
    "rx_wthresh=8, on a clock": ({"rx_wthresh": 8, "rx_int_delay": 1, "moderated": True}, {}),
    "tx_wthresh=4, rs_every=8, on a clock": ({"tx_wthresh": 4, "rs_every": 8, "tx_int_delay": 1, "moderated": True}, {}),
    # Who is moderated waits for interrupts, which is CPU time here: how much more of the ring a period has to have.
    "rx_usecs=3, on a clock": ({"rx_usecs": 3, "moderated": True}, {}),
    "rx_usecs=50, on a clock": ({"rx_usecs": 50, "moderated": True}, {}),
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


class Drivers:
    """Driver and cards with each of SETTINGS, on one thread on `cpu`, opened when first asked for. Close it, or use `with`."""

    def __init__(self, *, cpu: int, size: int = 60, packets: int = 50_000) -> None:
        self.cpu, self.size, self.packets = cpu, size, packets
        self._stack = ExitStack()
        self._paths: dict[str, Path] = {}

    def __enter__(self) -> Drivers:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        self._stack.close()

    def _path(self, name: str) -> Path:
        if name not in self._paths:
            options, attributes = SETTINGS[name]
            path = self._paths[name] = self._stack.enter_context(Path(self.size, **options))
            for device in (path.near, path.far):
                for attribute, value in attributes.items():
                    setattr(device, attribute, value)
        return self._paths[name]

    def measure(self, name: str) -> float:
        """CPU nanoseconds a packet; the first tenth is not counted."""
        with pinned(self.cpu):
            path = self._path(name)
            path.send(max(1, self.packets // 10))
            start = time.thread_time_ns()
            path.send(self.packets)
            return (time.thread_time_ns() - start) / self.packets

    def measures(self, names: Sequence[str] = tuple(SETTINGS)) -> dict[str, Measure]:
        """One for each of `names`."""
        return {name: partial(self.measure, name) for name in names}
