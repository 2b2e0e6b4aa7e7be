"""The loops that benches run: whole, checked, and never waiting for ever for who is gone."""

import numpy as np
import pytest
from loop_workers import together, yielding

from fastring.meeting import Meeting
from fastring.memory import Arena
from fastring.ring import Ring
from fastring.ring_loops import MOST_BULK, bounce, consume, ping, pong, produce, push_pop, spin


@pytest.mark.parametrize("bulk", [1, 7, 32])
def test_what_is_produced_is_consumed(bulk):
    ring, meeting, items = Ring(64), yielding(2), 700
    items -= items % bulk
    _, taken = together(lambda: produce(ring, meeting, 0, items, bulk), lambda: consume(ring, meeting, items, bulk))
    begun, ended, total = taken
    assert total == items * (items - 1) // 2
    assert ended > begun
    assert len(ring) == 0


def test_a_producer_begins_with_the_number_it_is_told():
    ring, meeting = Ring(8), yielding(2)
    _, taken = together(lambda: produce(ring, meeting, 100, 4, 4), lambda: consume(ring, meeting, 4, 4))
    assert taken[2] == 100 + 101 + 102 + 103


def test_each_round_trip_is_timed():
    there, back, meeting, times = Ring(8), Ring(8), yielding(2), np.zeros(50, dtype=np.uint32)
    [(begun, ended), _] = together(lambda: ping(there, back, meeting, times), lambda: pong(there, back, meeting, 50))
    assert (times > 0).all()
    assert times.sum() <= ended - begun


def test_an_item_that_comes_back_as_another_is_an_error():
    there, back, times = Ring(8), Ring(8), np.zeros(1, dtype=np.uint32)
    back.push(7)
    with pytest.raises(RuntimeError, match="1 of 1 items came back as others"):
        ping(there, back, Meeting(1), times)


def test_a_cache_line_bounces():
    meeting = yielding(2)
    for begun, ended in together(lambda: bounce(meeting, 50, True), lambda: bounce(meeting, 50, False)):
        assert ended > begun


@pytest.mark.parametrize("bulk", [1, 32])
def test_one_thread_gets_out_what_it_put_in(bulk):
    assert push_pop(Ring(32), 64, bulk)[2] == 64 * 63 // 2


def test_who_is_not_there_is_not_waited_for_for_ever():
    with pytest.raises(TimeoutError, match="the ring stayed empty"):
        consume(Ring(8), Meeting(2, seconds=0.01), 8, 1)


def test_nor_who_stops_in_the_middle():
    with pytest.raises(TimeoutError, match="the ring stayed full"):
        produce(Ring(8), Meeting(1, seconds=0.01), 0, 16, 8)
    with pytest.raises(TimeoutError, match="did not come back"):
        bounce(Meeting(1, seconds=0.01), 1, True)


@pytest.mark.parametrize("bulk", [0, 9, MOST_BULK + 1])
def test_a_bulk_that_never_fits_is_refused(bulk):
    with pytest.raises(ValueError, match="a bulk is 1 to 8 items"):
        produce(Ring(8), Meeting(1), 0, 100, bulk)


def test_a_closed_ring_is_refused():
    ring = Ring(8)
    ring.close()
    with pytest.raises(ValueError, match="the ring is closed"):
        push_pop(ring, 8, 1)


def test_items_that_are_not_numbers_are_refused():
    with pytest.raises(ValueError, match="8 bytes here, not 16"):
        push_pop(Ring(8, item_size=16), 8, 1)


def test_a_meeting_outside_its_arena_is_refused():
    arena = Arena(4096)
    with pytest.raises(IndexError):
        Meeting(2, arena=arena, offset=arena.size - 8)


def test_a_loop_of_more_steps_takes_longer():
    assert min(spin(100_000) for _ in range(3)) > min(spin(1000) for _ in range(3)) > 0
