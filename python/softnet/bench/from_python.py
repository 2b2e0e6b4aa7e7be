"""Rings filled and emptied from Python: bursts of numbers, and payloads of 1500 bytes, between two processes."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from fastring.record_ring import RecordRing
from fastring.ring import Ring
from softnet.bench.partner import Partner, Patience, rows
from softnet.bench.rings import check_sum, in_threads, make_ring

STRIDE = 1536  # bytes of a payload's slot


def python_items(partner: Partner, strategy: str = "cached", *, capacity: int = 65_536, burst: int = 256, items: int, cpu: int) -> float:
    """Nanoseconds an item from Python to Python in another process, in NumPy arrays of `burst`."""
    items -= items % burst
    numbers = np.arange(burst, dtype=np.uint64)

    def send(ring: Ring) -> int:
        start, patience = time.perf_counter_ns(), Patience()
        for first in range(0, items, burst):
            batch: Any = numbers + np.uint64(first)
            done = 0
            patience.moved()
            while done < burst:
                if got := ring.push_burst(batch[done:] if done else batch):
                    done += got
                else:
                    patience()
        return start

    with make_ring(strategy, capacity, partner.arena) as ring:
        partner.ask("take_items", ring=ring.offset, items=items, burst=burst)
        [start] = in_threads([(cpu, lambda: send(ring))])
        total = partner.answer()
        took = time.perf_counter_ns() - start
    check_sum(total, items)
    return took / items


def python_payloads(
    partner: Partner, strategy: str = "cached", *, slots: int = 1024, burst: int = 256, size: int = 1500, count: int, cpu: int
) -> float:
    """Nanoseconds a payload of `size` bytes from Python to Python in another process.

    Payloads are copied into slots of shared memory; the slots' numbers go there through a ring, and come back through another one. The
    receiver looks at each where it lies.
    """
    arena = partner.arena
    count -= count % burst
    area = arena.alloc(slots * STRIDE)
    shared: Any = np.frombuffer(memoryview(arena), dtype=np.uint8, count=slots * STRIDE, offset=area).reshape(slots, STRIDE)
    payloads = np.zeros((burst, size), dtype=np.uint8)
    numbers = payloads[:, :8].view(np.uint64)[:, 0]

    def send(ring: Ring, empty: Ring) -> int:
        free: Any = np.empty(burst, dtype=np.uint64)
        start, patience = time.perf_counter_ns(), Patience()
        for first in range(0, count, burst):
            numbers[:] = np.arange(first, first + burst, dtype=np.uint64)
            done = 0
            while done < burst:
                if got := empty.pop_burst(free[: burst - done]):
                    shared[rows(free[:got]), :size] = payloads[done : done + got]
                    sent = 0
                    while sent < got:
                        sent += ring.push_burst(free[sent:got])
                    done += got
                    patience.moved()
                else:
                    patience()
        return start

    with make_ring(strategy, slots, arena) as ring, make_ring(strategy, slots, arena) as empty:
        all_slots: Any = np.arange(slots, dtype=np.uint64)
        empty.push_bulk(all_slots)
        partner.ask("take_payloads", ring=ring.offset, empty=empty.offset, area=area, slots=slots, stride=STRIDE, size=size, count=count,
                    burst=burst)
        [start] = in_threads([(cpu, lambda: send(ring, empty))])
        total = partner.answer()
        took = time.perf_counter_ns() - start
    arena.free(area)
    check_sum(total, count)
    return took / count


def python_records(partner: Partner, strategy: str = "cached", *, capacity: int = 1 << 21, burst: int = 256, size: int = 1500, count: int,
                   cpu: int) -> float:
    """The same through a RecordRing of `capacity` bytes, in bursts of rows: copied in, and copied out."""
    count -= count % burst
    payloads: Any = np.zeros((burst, size), dtype=np.uint8)
    lengths: Any = np.full(burst, size, dtype=np.uint32)
    numbers = payloads[:, :8].view(np.uint64)[:, 0]

    def send(ring: RecordRing) -> int:
        start, patience = time.perf_counter_ns(), Patience()
        for first in range(0, count, burst):
            numbers[:] = np.arange(first, first + burst, dtype=np.uint64)
            done = ring.push_burst(payloads, lengths)
            patience.moved()
            while done < burst:
                if got := ring.push_burst(payloads[done:], lengths[done:]):
                    done += got
                else:
                    patience()
        return start

    options: dict[str, Any] = {"strategy": strategy, "arena": partner.arena}
    with RecordRing.create(capacity, **options) as ring:
        partner.ask("take_records", ring=ring.offset, size=size, count=count, burst=burst)
        [start] = in_threads([(cpu, lambda: send(ring))])
        total = partner.answer()
        took = time.perf_counter_ns() - start
    check_sum(total, count)
    return took / count
