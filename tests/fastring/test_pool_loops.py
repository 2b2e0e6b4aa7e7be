"""The loops that benches of pools run: every buffer comes back, and nobody waits for ever for who is gone."""

import pytest
from loop_workers import together, yielding

from fastring.meeting import Meeting
from fastring.memory import Arena
from fastring.pool import BufferPool
from fastring.pool_loops import receive_and_give, take_and_give, take_and_send
from fastring.ring import Ring

COUNT = 64


def make_pool(**options):
    return BufferPool.create(Arena(COUNT * 320), count=COUNT, buffer_size=256, **options)


def whole(pool):
    return (pool.available, pool.double_frees, pool.foreign_frees) == (COUNT, 0, 0)


def test_what_is_taken_is_given_back():
    pool = make_pool()
    begun, ended = take_and_give(pool, 10, 32)
    assert ended > begun
    assert whole(pool)


def test_an_owner_gives_back_what_another_took():
    pool, there = make_pool(shared=True), Ring(128)
    with pool.owner(cache=8) as taker, pool.owner(cache=8) as giver:
        meeting = yielding(2)
        sent, given = together(
            lambda: take_and_send(taker, there, None, meeting, 50, 8), lambda: receive_and_give(giver, there, None, meeting, 50, 8),
        )
    assert min(sent[1], given[1]) > max(sent[0], given[0])
    assert len(there) == 0
    assert whole(pool)


def test_a_pool_of_one_thread_gets_its_buffers_back_by_a_ring():
    pool, there, back, meeting = make_pool(), Ring(128), Ring(128), yielding(2)
    together(lambda: take_and_send(pool, there, back, meeting, 50, 8), lambda: receive_and_give(pool, there, back, meeting, 50, 8))
    assert (len(there), len(back)) == (0, 0)
    assert whole(pool)


def test_a_pool_without_as_many_is_an_error_and_not_waited_for():
    pool = make_pool()
    with pytest.raises(RuntimeError, match="the pool had no 65 buffers"):
        take_and_give(pool, 1, 65)
    assert whole(pool)


def test_who_is_not_there_is_not_waited_for_for_ever():
    with pytest.raises(TimeoutError, match="no buffer came"):
        receive_and_give(make_pool(), Ring(8), None, Meeting(1, seconds=0.01), 1, 8)
    with pytest.raises(TimeoutError, match="no buffer came back"):
        take_and_send(make_pool(), Ring(128), None, Meeting(1, seconds=0.01), 9, 8)


@pytest.mark.parametrize("bulk", [0, 257])
def test_a_bulk_that_the_loops_cannot_hold_is_refused(bulk):
    with pytest.raises(ValueError, match=f"a bulk is 1 to 256 buffers, not {bulk}"):
        take_and_give(make_pool(), 1, bulk)
