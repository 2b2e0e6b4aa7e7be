"""Rings used oddly: wrong arguments, closed under who is in them, forked, and at their limits."""

import os
import subprocess
import sys
import threading
import time

import pytest

from fastring.memory import Arena
from fastring.ring import Ring


@pytest.mark.parametrize("options", [{"item_size": -1}, {"wait": 5}, {"arena": 1}])
def test_a_refused_argument_closes_nobodys_descriptor(options):
    code = f"""
import os
from fastring.ring import Ring
os.dup2(1, 0)
try:
    Ring(8, **{options})
except (TypeError, OverflowError):
    os.fstat(0)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert done.stderr == b""


def test_a_ring_that_gets_no_eventfds_takes_nothing_from_its_arena():
    code = """
import os, resource
from fastring.memory import Arena
from fastring.ring import Ring
with Arena(1 << 16) as arena:
    for spare in 0, 1:
        resource.setrlimit(resource.RLIMIT_NOFILE, (arena.fileno() + 1 + spare, 4096))
        try:
            Ring.create(8, arena=arena, wait="eventfd")
        except OSError:
            pass
    assert arena.allocated == 0, arena
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_items_of_one_byte_are_a_record_rings():
    with pytest.raises(ValueError, match="it is a RecordRing"):
        Ring.create(8, item_size=1)


def test_a_closed_ring_is_not_congested_but_closed():
    ring = Ring.create(8)
    ring.close()
    with pytest.raises(ValueError, match="closed"):
        _ = ring.congested


@pytest.mark.parametrize("wait", ["poll", "futex", "eventfd"])
def test_a_ring_is_not_closed_under_who_waits_at_it(wait):
    ring, waited = Ring.create(8, wait=wait), []
    thread = threading.Thread(target=lambda: waited.append(ring.wait_for_items(timeout=30)))
    thread.start()
    time.sleep(0.2)
    with pytest.raises(BufferError, match="waits at it"):
        ring.close()
    ring.push(1)
    thread.join()
    assert waited == [True]
    ring.close()


@pytest.mark.parametrize("move", ["push_burst", "pop_burst"])
def test_a_ring_is_not_closed_under_who_is_in_a_call(move):
    """That of hts, which another's reservation holds up."""
    ring, done = Ring.create(8, strategy="headtail", sync="hts", patience=30), []
    ring.push(1)
    (ring.reserve if move == "push_burst" else ring.peek)(1).release()
    thread = threading.Thread(target=lambda: done.append(getattr(ring, move)(bytearray(8))))
    thread.start()
    time.sleep(0.2)
    with pytest.raises(BufferError, match="a thread is in a call of the ring"):
        ring.close()
    (ring.commit if move == "push_burst" else ring.release)(0)
    thread.join()
    assert done == [1]
    ring.close()


@pytest.mark.parametrize("item", [1.5, "1", None])
def test_an_item_is_a_whole_number(item):
    ring = Ring.create(8)
    with pytest.raises(TypeError):
        ring.push(item)
    assert len(ring) == 0


@pytest.mark.parametrize("option", ["timeout", "spin"])
def test_a_time_is_a_number(option):
    ring = Ring.create(8)
    with pytest.raises(ValueError, match=f"{option} is a number of seconds, not nan"):
        ring.wait_for_items(**{option: float("nan")})
    with pytest.raises(ValueError, match="patience is a number of seconds, not nan"):
        Ring.create(8, patience=float("nan"))


@pytest.mark.parametrize("forever", [-1, float("-inf")])
def test_no_time_is_over_at_once(forever):
    assert not Ring.create(8).wait_for_items(timeout=forever, spin=forever)


def test_a_ring_that_is_refused_leaves_its_arena_as_it_was():
    with Arena(1 << 16) as arena:
        for options in ({"high_watermark": 9}, {"patience": float("nan")}, {"low_watermark": "few"}):
            with pytest.raises((ValueError, TypeError)):
                Ring.create(8, arena=arena, **options)
        assert arena.allocated == 0


def test_a_peer_that_makes_the_eventfd_block_and_fills_it_holds_nobody_up():
    code = """
import fcntl, os, struct
from fastring.ring import Ring
ring = Ring.create(8, wait="eventfd")
items, room = ring.eventfds
for descriptor in items, room:
    fcntl.fcntl(descriptor, fcntl.F_SETFL, fcntl.fcntl(descriptor, fcntl.F_GETFL) & ~os.O_NONBLOCK)
    os.write(descriptor, struct.pack("=Q", 2**64 - 2))
ring.arm()
ring.arm(items=False)
assert ring.push(7)
assert ring.pop() == 7
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_a_forked_child_that_closes_a_ring_leaves_its_parents():
    with Arena(1 << 16) as arena, Ring.create(8, arena=arena) as ring:
        ring.push(7)
        child = os.fork()
        if child == 0:
            ring.close()
            os._exit(0)
        os.waitpid(child, 0)
        assert (ring.pop(), ring.broken) == (7, 0)
