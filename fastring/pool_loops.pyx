"""What a pool costs, measured without the interpreter: buffers taken and given back in bulks, by one thread or from one to another.

As in ring_loops, each loop returns when it began and ended, by CLOCK_MONOTONIC, in nanoseconds.
"""

from libc.stdint cimport uint32_t, uint64_t

from fastring.meeting cimport Meeting, Wait, late, now, relax
from fastring.pool cimport BufferPool
from fastring.ring cimport Ring

cdef enum:
    LARGEST_BULK = 256


cdef int _check(uint32_t bulk) except -1:
    if not 0 < bulk <= LARGEST_BULK:
        raise ValueError(f"a bulk is 1 to {LARGEST_BULK} buffers, not {bulk}")
    return 0


cdef bint _take_and_give(BufferPool pool, uint64_t bulks, uint32_t bulk) noexcept nogil:
    cdef uint32_t buffers[LARGEST_BULK]
    cdef uint64_t _
    cdef uint32_t got = bulk
    for _ in range(bulks):
        got = pool.take_bulk(buffers, bulk)
        pool.give_bulk(buffers, got)
        if got < bulk:
            return False
    return True


def take_and_give(BufferPool pool not None, uint64_t bulks, uint32_t bulk):
    """Take a bulk and give it back, so many times, on one thread. Returns (begun, ended). Raises RuntimeError where it has not as many."""
    cdef uint64_t begun, ended
    cdef bint done
    _check(bulk)
    with nogil:
        begun = now()
        done = _take_and_give(pool, bulks, bulk)
        ended = now()
    if not done:
        raise RuntimeError(f"the pool had no {bulk} buffers")
    return begun, ended


cdef void _give_numbers(BufferPool pool, const uint64_t* items, uint32_t bulk) noexcept nogil:
    cdef uint32_t buffers[LARGEST_BULK]
    cdef uint32_t i
    for i in range(bulk):
        buffers[i] = <uint32_t>items[i]
    pool.give_bulk(buffers, bulk)


cdef bint _take_and_send(BufferPool pool, Ring there, Ring back, Wait* wait, uint64_t bulks, uint32_t bulk) noexcept nogil:
    cdef uint32_t buffers[LARGEST_BULK]
    cdef uint64_t items[LARGEST_BULK]
    cdef uint64_t sent = 0, given = 0
    cdef uint32_t got, i
    while sent < bulks or (back is not None and given < bulks):
        if back is not None and back.dequeue_bulk(items, bulk):
            _give_numbers(pool, items, bulk)
            given += 1
        got = pool.take_bulk(buffers, bulk) if sent < bulks else 0
        if got < bulk:                      # all are on their way
            pool.give_bulk(buffers, got)
            if not relax(wait):
                return False
            continue
        for i in range(bulk):
            items[i] = buffers[i]
        while not there.enqueue_bulk(items, bulk):
            if not relax(wait):
                return False
        sent += 1
    return True


cdef bint _receive_and_give(BufferPool pool, Ring there, Ring back, Wait* wait, uint64_t bulks, uint32_t bulk) noexcept nogil:
    cdef uint64_t items[LARGEST_BULK]
    cdef uint64_t _
    for _ in range(bulks):
        while not there.dequeue_bulk(items, bulk):
            if not relax(wait):
                return False
        if back is None:
            _give_numbers(pool, items, bulk)
            continue
        while not back.enqueue_bulk(items, bulk):
            if not relax(wait):
                return False
    return True


def take_and_send(BufferPool pool not None, Ring there not None, Ring back, Meeting meeting not None, uint64_t bulks, uint32_t bulk):
    """Take a bulk and send its numbers `there`, so many times; with a ring `back` this thread gives back what comes by it, too.

    Returns (begun, ended).
    """
    cdef uint64_t begun, ended
    cdef bint done
    cdef Wait wait
    _check(bulk)
    with nogil:
        done = meeting.meet(&wait)
        begun = now()
        done = done and _take_and_send(pool, there, back, &wait, bulks, bulk)
        ended = now()
    if not done:
        raise late("no buffer came back")
    return begun, ended


def receive_and_give(BufferPool pool not None, Ring there not None, Ring back, Meeting meeting not None, uint64_t bulks, uint32_t bulk):
    """The other thread: give back to the pool what comes, or send it `back`. Returns (begun, ended)."""
    cdef uint64_t begun, ended
    cdef bint done
    cdef Wait wait
    _check(bulk)
    with nogil:
        done = meeting.meet(&wait)
        begun = now()
        done = done and _receive_and_give(pool, there, back, &wait, bulks, bulk)
        ended = now()
    if not done:
        raise late("no buffer came")
    return begun, ended
