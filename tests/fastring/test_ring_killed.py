"""Producers and consumers killed at any moment: what was published is there once and whole, and the next goes on where it was."""

import os
import random
import signal
import struct
import time

import pytest

from fastring.memory import Arena
from fastring.pool import BufferPool
from fastring.ring import Ring

STRATEGIES = ["lamport", "cached", "batched", "slotflag", "locked"]


def fork(work):
    """A child that does `work` and ends with 0; with 1 if it fails."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
            os._exit(0)
        except BaseException:
            os._exit(1)
    return pid


def end(pid, sign=signal.SIGKILL):
    os.kill(pid, sign)
    _, status = os.waitpid(pid, 0)
    assert os.WIFSIGNALED(status), f"it ended by itself, with {status:#x}"


def kill_at_random(kill_loops, strategy, rounds, seed):
    """Kill one side or both, `rounds` times; each next one attaches anew. Everything is checked by position."""
    rng = random.Random(seed)
    with Arena(1 << 16) as arena, Ring.create(64, strategy=strategy, item_size=16, arena=arena) as ring:
        notes = arena.alloc(16)

        def producer():
            kill_loops.produce(Ring.attach(arena, ring.offset), rng.choice([1, 3, 32]))

        def consumer():
            kill_loops.consume(Ring.attach(arena, ring.offset), rng.choice([1, 5, 32]), arena.address + notes)

        alive = {producer: fork(producer), consumer: fork(consumer)}
        moved = 0
        for _ in range(rounds):
            time.sleep(rng.random() * 0.004)
            for side in rng.choice([[producer], [consumer], [producer, consumer]]):
                before = ring.read_index
                end(alive[side])
                alive[side] = fork(side)
                moved += ring.read_index != before
            with memoryview(arena) as view:
                _, wrong = struct.unpack_from("=QQ", view, notes)
            assert wrong == 0, f"item {wrong - 1} is torn, lost or a duplicate"
            assert 0 <= len(ring) <= 64
        end(alive[producer])
        end(alive[consumer])
        rest = Ring.attach(arena, ring.offset)
        last = (rest.read_index + len(rest)) % 2**32
        if last != rest.read_index:  # what was published is all there
            assert kill_loops.consume(rest, 1, arena.address + notes, last or 2**32) == last
        with memoryview(arena) as view:
            assert struct.unpack_from("=QQ", view, notes)[1] == 0
        assert ring.write_index > 0
        rest.close()
        arena.free(notes)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_killed_sides_leave_no_duplicate_no_torn_item_and_no_gap(kill_loops, strategy):
    kill_at_random(kill_loops, strategy, 25, seed=1)


@pytest.mark.slow
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_thousand_kills_leave_no_duplicate_no_torn_item_and_no_gap(kill_loops, strategy):
    kill_at_random(kill_loops, strategy, 1000, seed=2)


def hold_and_return(arena, there, back):
    """A consumer of buffers: takes some, holds them a little, gives them back."""
    items, returns, held = Ring.attach(arena, there), Ring.attach(arena, back), []
    while True:
        while len(held) < 5 and (buffer := items.pop()) is not None:
            held.append(buffer)
        while held and random.random() < 0.7 and returns.push(held[0]):
            held.pop(0)


@pytest.mark.parametrize("rounds", [25, pytest.param(1000, marks=pytest.mark.slow)])
def test_buffers_that_a_killed_consumer_held_come_back_to_their_pool(rounds):
    """The owner knows what it sent at which position: what the dead one had taken, and not returned, it takes back."""
    rng = random.Random(3)
    with Arena(1 << 18) as arena, Ring(16, arena=arena) as there, Ring(64, arena=arena) as back:
        pool = BufferPool(arena, count=32, buffer_size=64)
        sent = {}  # buffer -> the position it was sent at

        def collect():
            while (buffer := back.pop()) is not None:
                pool.put(buffer)
                del sent[buffer]

        for _ in range(rounds):
            consumer = fork(lambda: hold_and_return(arena, there.offset, back.offset))
            until = time.monotonic() + rng.random() * 0.02
            while time.monotonic() < until:
                collect()
                if pool.available and there.free_count:
                    buffer = pool.take()
                    sent[buffer] = there.write_index
                    there.push(buffer)
            end(consumer)
            collect()
            taken = there.read_index
            for buffer, position in list(sent.items()):
                if (taken - position - 1) % 2**32 < 2**31:
                    pool.put(buffer)
                    del sent[buffer]
            assert len(sent) == len(there)
        with Ring.attach(arena, there.offset) as rest:
            while (buffer := rest.pop()) is not None:
                pool.put(buffer)
        pool.close()
