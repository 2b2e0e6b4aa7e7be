"""TxQueue between a transmitting and a reclaiming thread: no wake-up is lost, and one that would be is noticed.

In a round both threads do their part at the same moment; each waits longer when it was first, so that a good share of stops
meets its wake. On x86 a fence behind an atomic read-modify-write (A, C) costs nothing to leave out, as that is a fence already:
what they are for, tests/model shows. B and D stand behind plain stores, which x86 does let a later load pass.
"""

import os
import platform
from concurrent.futures import ThreadPoolExecutor

import pytest

from fastring.txq import TxQueue

# Of the ring: size, stop, start; and the queue's options. Room is left for as many slots, or bytes, as are sent at once.
BY_RING = (2, 1, 1), {"bql": False}
BY_BYTES = (64, 1, 1), {"limit_min": 6300, "limit_max": 6300}
BY_BOTH = (2, 1, 1), {"limit_min": 100, "limit_max": 100}
BY_CHUNKS = (64, 18, 32), {"limit_min": 3200, "limit_max": 3200}
ROUNDS = 3_000_000


needs_x86 = pytest.mark.skipif(platform.machine() not in ("x86_64", "i686"), reason="which fences can be missed depends on the processor")
needs_two_cores = pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="on a single core memory has one order")


def play(race, rounds):
    with ThreadPoolExecutor(2) as pool:
        transmitted, reclaimed = pool.submit(race.transmit_rounds, rounds), pool.submit(race.reclaim_rounds)
        return transmitted.result() and reclaimed.result()


@needs_two_cores
@pytest.mark.parametrize(
    ("ring", "options", "rounds"),
    [(*BY_RING, ROUNDS), (*BY_BYTES, ROUNDS // 3), (*BY_BOTH, ROUNDS // 3), (*BY_CHUNKS, ROUNDS // 10)],
    ids=["by the ring", "by bytes", "by both", "in chunks"],
)
def test_a_stop_that_meets_a_wake_never_leaves_the_queue_stopped(stop_wake, ring, options, rounds):
    for _ in range(5):                                  # on a busy machine the threads hardly run at the same time
        txq = TxQueue(**options)
        race = stop_wake.Race(txq, *ring)
        assert play(race, rounds), race.lost
        assert (race.rounds, txq.state) == (rounds, 0)
        assert txq.stops <= txq.wakes + txq.restarts    # both may have seen the other
        if met(race, rounds):
            return
    pytest.fail(f"stop and wake hardly met: {race.room} {race.stopped} {race.restarted} {race.woken} of {rounds} rounds")


def met(race, rounds):
    """Whether there were wakes before a stop, stops, wakes that found one, and stops that found the wake on its way."""
    return min(race.room, race.stopped, race.woken) >= rounds // 100 and race.restarted >= rounds // 10_000


@needs_x86
@needs_two_cores
@pytest.mark.parametrize(
    ("without", "ring", "options", "bit"),
    [
        ("fence B", *BY_RING, "DRV_XOFF"),
        ("second look at the ring", *BY_RING, "DRV_XOFF"),
        ("fence D", *BY_BYTES, "STACK_XOFF"),
        ("second look at the bytes", *BY_BYTES, "STACK_XOFF"),
    ],
    ids=lambda value: value if isinstance(value, str) and "XOFF" not in value else "",
)
def test_without_it_a_wake_up_is_lost_and_noticed(mutable, without, ring, options, bit):
    mutable.leave_out(without)
    for _ in range(20):                                 # on a busy machine the threads hardly run at the same time
        race = mutable.Race(mutable.TxQueue(**options), *ring)
        if not play(race, ROUNDS):
            assert f"lost wake-up in round {race.rounds}: {bit} set" in race.lost
            assert "both threads are done" in race.lost
            return
    pytest.fail(f"no wake-up was lost without {without} in 20 times {ROUNDS} rounds")


@pytest.mark.parametrize(("ring", "options"), [BY_RING, BY_BYTES], ids=["by the ring", "by bytes"])
def test_the_copy_they_were_left_out_of_is_right_when_whole(mutable, ring, options):
    mutable.leave_out()
    race = mutable.Race(mutable.TxQueue(**options), *ring)
    assert play(race, ROUNDS // 10), race.lost


@pytest.mark.parametrize(("size", "start"), [(1, 1), (2, 1), (4, 4), (64, 8)])
@pytest.mark.parametrize("bql", [False, True])
def test_at_their_own_pace_neither_waits_for_ever(stop_wake, size, start, bql):
    txq, packets = TxQueue(bql=bql, limit_max=300), 100_000
    race = stop_wake.Race(txq, size, 1, start)
    with ThreadPoolExecutor(2) as pool:
        sent, done = pool.submit(race.transmit, packets), pool.submit(race.reclaim_all, packets)
        assert (sent.result(), done.result()) == (packets, packets), race.lost
    assert txq.inflight == 0
    assert txq.stops <= txq.wakes + txq.restarts + (txq.state & 1)
