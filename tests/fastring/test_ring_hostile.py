"""A peer that writes random values to every shared word: nothing crashes, nothing is touched outside, nothing runs for ever."""

import contextlib
import os
import random
import re
import signal
import time

import numpy as np
import pytest

from fastring.memory import Arena
from fastring.record_ring import RecordRing
from fastring.ring import BrokenRing, Ring
from fastring.ring_geometry import NAMES

SECONDS = 0.4
PAGE = os.sysconf("SC_PAGE_SIZE")


def scribble(arena, first, size, seed):
    """Write random and likely words all over the shared block, until killed, or left alone."""
    parent = os.getppid()
    rng, words = np.random.default_rng(seed), np.frombuffer(memoryview(arena)[first:first + size], np.uint32)
    while os.getppid() == parent:
        where = rng.integers(0, len(words), 64)
        words[where] = rng.integers(0, 2**32, 64, dtype=np.uint32)
        words[where[:32]] = rng.integers(0, 80, 32, dtype=np.uint32)
        words[where[:8]] = words[rng.integers(0, 300, 8) % len(words)] + np.uint32(1)


def use(ring, operations, seconds):
    """Operations at random; reset now and then. Returns the longest of them in seconds, and how many broke."""
    rng, longest, broken, until = random.Random(1), 0.0, 0, time.monotonic() + seconds
    while time.monotonic() < until:
        start = time.monotonic()
        try:
            rng.choice(operations)()
        except BrokenRing:
            broken += 1
            if broken % 10 == 0:
                with contextlib.suppress(BrokenRing):
                    ring.reset()
        except ValueError as error:
            if not re.search("more than the|reserved|looked at", str(error)):
                raise
        longest = max(longest, time.monotonic() - start)
        assert 0 <= len(ring) <= ring.capacity
    return longest, broken


def besieged(ring, arena, operations, seconds):
    pid = os.fork()
    if pid == 0:
        scribble(arena, ring.offset + 128, arena.size - ring.offset - 128, 1)
        os._exit(0)
    try:
        longest, _ = use(ring, operations, seconds)
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    assert longest < 5


def in_place(ring, look, done):
    def operation():
        with look() or memoryview(b"") as view:
            n = len(view)
            if n and not view.readonly:
                view[:] = bytes(n)
        done(n // ring.item_size if ring.item_size > 1 else n) if n else None

    return operation


@pytest.mark.parametrize("seconds", [SECONDS, pytest.param(20, marks=pytest.mark.slow)])
@pytest.mark.parametrize("wait", ["poll", "futex"])
@pytest.mark.parametrize("item_size", [8, 16])
@pytest.mark.parametrize(("strategy", "sync"), NAMES)
def test_a_ring_outlives_a_peer_that_scribbles_over_it(strategy, sync, item_size, wait, seconds):
    """The slots end where the arena does: behind lies a page that nobody may touch."""
    stride = {"slotflag": 2, "mpmc": 2}.get(strategy, 1) * item_size
    capacity = PAGE // stride
    with Arena(2 * PAGE) as arena:
        arena.alloc(PAGE - 1152)
        with Ring.create(capacity, strategy=strategy, sync=sync, item_size=item_size, wait=wait, arena=arena, patience=0.01) as ring:
            assert ring.offset + 1152 == PAGE
            out = bytearray(64 * item_size)
            operations = [
                lambda: ring.push_burst(out), lambda: ring.push_bulk(out), lambda: ring.pop_burst(out), lambda: ring.pop_bulk(out),
                ring.pop, lambda: ring.push(out[:16] if item_size == 16 else 1), ring.flush, lambda: ring.congested,
                lambda: ring.wait_for_items(timeout=0.001, spin=0), lambda: ring.wait_for_room(1, timeout=0.001, spin=0), ring.recover,
            ]  # fmt: skip
            if strategy in ("lamport", "cached", "batched") or sync == "hts":
                operations += [in_place(ring, lambda: ring.reserve(9), ring.commit), in_place(ring, lambda: ring.peek(9), ring.release)]
            besieged(ring, arena, operations, seconds)


@pytest.mark.parametrize("seconds", [SECONDS, pytest.param(20, marks=pytest.mark.slow)])
@pytest.mark.parametrize("strategy", ["lamport", "cached", "batched"])
def test_a_record_ring_outlives_a_peer_that_scribbles_over_it(strategy, seconds):
    with Arena(2 * PAGE) as arena:
        arena.alloc(PAGE - 1152)
        with RecordRing.create(PAGE, strategy=strategy, arena=arena) as ring:
            lengths, out = np.full(8, 100, np.uint32), np.zeros((8, 2048), np.uint8)
            operations = [
                lambda: ring.push(bytes(700)), ring.pop, lambda: ring.push_burst(out[:, :100].copy()), lambda: ring.pop_burst(out, lengths),
                lambda: ring.pop_burst(out[0], lengths), in_place(ring, lambda: ring.reserve(333), ring.commit),
                in_place(ring, ring.peek, lambda _: ring.release()),
            ]  # fmt: skip
            besieged(ring, arena, operations, seconds)
