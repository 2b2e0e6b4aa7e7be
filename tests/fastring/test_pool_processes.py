"""Buffers lent to another process that is killed at any moment: all of them come back, and none twice."""

import os
import random
import signal
import time
from contextlib import contextmanager

import pytest

from fastring.memory import Arena
from fastring.pool import BufferPool
from fastring.ring import Ring


@pytest.fixture(params=["lifo", "fifo"])
def pool(request):
    return BufferPool.create(Arena(1 << 16), count=64, buffer_size=64, strategy=request.param)


@contextmanager
def borrower(there, back):
    """A process that writes to what it gets, a while later, and sends it back."""
    child = os.fork()
    if child == 0:
        kept = []
        while True:
            buffer = there.pop()
            if buffer is not None:
                kept.append(buffer)
            if kept and (buffer is None or len(kept) > 8) and back.push(kept[0]):
                kept.pop(0)
    try:
        yield child
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def lend_for(seconds, pool, peer, there, back):
    """Lend and take back; return how many came back."""
    end, returned = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        if pool.available and len(there) < there.capacity:
            buffer = pool.take()
            pool.lend(buffer, peer)
            there.push(buffer)
        returned += take_back_all(pool, peer, back)
    return returned


def take_back_all(pool, peer, back):
    returned = 0
    while (buffer := back.pop()) is not None:
        pool.take_back(buffer, peer)
        returned += 1
    return returned


def lose(pool, peer, own, rounds):
    """That many processes, one after the other, each killed with buffers in its hands; return how many came back by themselves."""
    patience, returned, reclaimed = random.Random(1), 0, 0
    for _ in range(rounds):
        shared = Arena(1 << 16)
        there, back = Ring(16, arena=shared), Ring(64, arena=shared)
        with borrower(there, back):
            returned += lend_for(patience.uniform(0, 0.01), pool, peer, there, back)
        returned += take_back_all(pool, peer, back)     # what it had returned, and then what it had not
        reclaimed += len(pool.reclaim(peer))
        assert (pool.outstanding, pool.double_frees, pool.foreign_frees) == (own, 0, 0)
    assert reclaimed > 0
    return returned


def test_what_a_killed_process_had_comes_back_and_only_that(pool):
    peer, own = pool.add_holder("consumer"), [pool.take(), pool.take()]
    assert lose(pool, peer, own, 30) > 0
    assert sorted(pool.take() for _ in range(62)) == list(range(2, 64))


@pytest.mark.slow
def test_a_thousand_killed_processes_leave_no_leak(pool):
    peer, own = pool.add_holder("consumer"), [pool.take(), pool.take()]
    assert lose(pool, peer, own, 1000) > 0
    assert sorted(pool.take() for _ in range(62)) == list(range(2, 64))
