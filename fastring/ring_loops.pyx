"""What a ring costs, measured without the interpreter: the loops of the benches. bench/peers/harness.h has the same for other people's.

Each loop is run by one worker and begins when all of them are at their Meeting. It returns when it began and ended, by CLOCK_MONOTONIC, in
nanoseconds: the whole took from the first beginning to the last end.
"""

from cpython.buffer cimport PyBUF_C_CONTIGUOUS, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport UINT32_MAX, uint32_t, uint64_t

from fastring.atomic cimport load_acquire32, store_release32
from fastring.meeting cimport Meeting, Wait, late, now, relax
from fastring.ring cimport Ring

cdef enum:
    LARGEST_BULK = 1024

MOST_BULK = LARGEST_BULK


cdef int _check(Ring ring, uint32_t bulk, bint wide=False) except -1:
    if ring.capacity == 0:
        raise ValueError("the ring is closed")
    if ring.geometry.item_size != sizeof(uint64_t) and not wide:
        raise ValueError(f"items are of 8 bytes here, not {ring.geometry.item_size}")
    if not 0 < bulk <= min(ring.capacity, LARGEST_BULK):
        raise ValueError(f"a bulk is 1 to {min(ring.capacity, LARGEST_BULK)} items, not {bulk}")
    return 0


# --- throughput

cdef bint _push_one_by_one(Ring ring, Wait* wait, uint64_t first, uint64_t items) noexcept nogil:
    cdef uint64_t item
    for item in range(first, first + items):
        while not ring.enqueue(item):
            if not relax(wait):
                return False
    ring.flush_writes()
    return True


cdef bint _push_bulks(Ring ring, Wait* wait, uint64_t first, uint64_t items, uint32_t bulk) noexcept nogil:
    cdef uint64_t batch[LARGEST_BULK]
    cdef uint64_t sent = first
    cdef uint32_t i
    while sent < first + items:
        for i in range(bulk):
            batch[i] = sent + i
        while not ring.enqueue_bulk(batch, bulk):
            if not relax(wait):
                return False
        sent += bulk
    ring.flush_writes()
    return True


cdef bint _push_wide(Ring ring, Wait* wait, uint64_t first, uint64_t items, uint32_t bulk) noexcept nogil:
    """Items of 16 bytes: the number, and another word."""
    cdef uint64_t batch[2 * LARGEST_BULK]
    cdef uint64_t sent = first
    cdef uint32_t i
    while sent < first + items:
        for i in range(bulk):
            batch[2 * i] = sent + i
            batch[2 * i + 1] = sent
        while not ring.enqueue_bulk(batch, bulk):
            if not relax(wait):
                return False
        sent += bulk
    ring.flush_writes()
    return True


cdef bint _pop_one_by_one(Ring ring, Wait* wait, uint64_t items, uint64_t* total) noexcept nogil:
    cdef uint64_t _, item = 0, so_far = 0
    for _ in range(items):
        while not ring.dequeue(&item):
            if not relax(wait):
                return False
        so_far += item
    total[0] = so_far
    return True


cdef bint _pop_bulks(Ring ring, Wait* wait, uint64_t items, uint32_t bulk, uint64_t* total) noexcept nogil:
    cdef uint64_t batch[LARGEST_BULK]
    cdef uint64_t left = items, so_far = 0
    cdef uint32_t i
    while left:
        while not ring.dequeue_bulk(batch, bulk):
            if not relax(wait):
                return False
        for i in range(bulk):
            so_far += batch[i]
        left -= bulk
    total[0] = so_far
    return True


cdef bint _pop_wide(Ring ring, Wait* wait, uint64_t items, uint32_t bulk, uint64_t* total) noexcept nogil:
    cdef uint64_t batch[2 * LARGEST_BULK]
    cdef uint64_t left = items, so_far = 0
    cdef uint32_t i
    while left:
        while not ring.dequeue_bulk(batch, bulk):
            if not relax(wait):
                return False
        for i in range(bulk):
            so_far += batch[2 * i]
        left -= bulk
    total[0] = so_far
    return True


cdef inline bint _push(Ring ring, Wait* wait, uint64_t first, uint64_t items, uint32_t bulk) noexcept nogil:
    if ring.geometry.item_size != sizeof(uint64_t):
        return _push_wide(ring, wait, first, items, bulk)
    return _push_one_by_one(ring, wait, first, items) if bulk == 1 else _push_bulks(ring, wait, first, items, bulk)


cdef inline bint _pop(Ring ring, Wait* wait, uint64_t items, uint32_t bulk, uint64_t* total) noexcept nogil:
    if ring.geometry.item_size != sizeof(uint64_t):
        return _pop_wide(ring, wait, items, bulk, total)
    return _pop_one_by_one(ring, wait, items, total) if bulk == 1 else _pop_bulks(ring, wait, items, bulk, total)


def produce(Ring ring not None, Meeting meeting not None, uint64_t first, uint64_t items, uint32_t bulk):
    """Push `first`, `first` + 1, … in bulks, whole ones; singly where `bulk` is 1. Items of 8 bytes or of 16. Returns (begun, ended)."""
    cdef uint64_t begun, ended
    cdef bint done
    cdef Wait wait
    _check(ring, bulk, wide=True)
    items -= items % bulk
    with nogil:
        done = meeting.meet(&wait)
        begun = now()
        if done:
            done = _push(ring, &wait, first, items, bulk)
        ended = now()
    if not done:
        raise late("the ring stayed full")
    return begun, ended


def consume(Ring ring not None, Meeting meeting not None, uint64_t items, uint32_t bulk):
    """Pop that many items in bulks, whole ones; singly where `bulk` is 1. Returns (begun, ended, their sum mod 2^64)."""
    cdef uint64_t begun, ended, total = 0
    cdef bint done
    cdef Wait wait
    _check(ring, bulk, wide=True)
    items -= items % bulk
    with nogil:
        done = meeting.meet(&wait)
        begun = now()
        if done:
            done = _pop(ring, &wait, items, bulk, &total)
        ended = now()
    if not done:
        raise late("the ring stayed empty")
    return begun, ended, total


# --- round trips

cdef bint _ping(Ring there, Ring back, Wait* wait, uint32_t* times, uint64_t rounds, uint32_t* wrong) noexcept nogil:
    cdef uint64_t i, item = 0, then, last = now()
    for i in range(rounds):
        while not there.enqueue(i):
            if not relax(wait):
                return False
        there.flush_writes()
        while not back.dequeue(&item):
            if not relax(wait):
                return False
        wrong[0] += item != i
        then = now()
        times[i] = <uint32_t>min(then - last, <uint64_t>UINT32_MAX)
        last = then
    return True


cdef bint _pong(Ring there, Ring back, Wait* wait, uint64_t rounds) noexcept nogil:
    cdef uint64_t _, item = 0
    for _ in range(rounds):
        while not there.dequeue(&item):
            if not relax(wait):
                return False
        while not back.enqueue(item):
            if not relax(wait):
                return False
        back.flush_writes()
    return True


def ping(Ring there not None, Ring back not None, Meeting meeting not None, times):
    """One item there and the same one back, as often as `times`, a uint32 array, is long, which gets the nanoseconds of each.

    Returns (begun, ended).
    """
    cdef uint64_t begun, ended, rounds
    cdef uint32_t wrong = 0
    cdef bint done
    cdef Py_buffer view
    cdef Wait wait
    _check(there, 1)
    _check(back, 1)
    PyObject_GetBuffer(times, &view, PyBUF_C_CONTIGUOUS | PyBUF_WRITABLE)
    rounds = view.len // sizeof(uint32_t)
    with nogil:
        done = meeting.meet(&wait)
        begun = now()
        done = done and _ping(there, back, &wait, <uint32_t*>view.buf, rounds, &wrong)
        ended = now()
    PyBuffer_Release(&view)
    if not done:
        raise late("an item did not come back")
    if wrong:
        raise RuntimeError(f"{wrong} of {rounds} items came back as others")
    return begun, ended


def pong(Ring there not None, Ring back not None, Meeting meeting not None, uint64_t rounds):
    """Send back what comes, so many times. Returns (begun, ended)."""
    cdef uint64_t begun, ended
    cdef bint done
    cdef Wait wait
    _check(there, 1)
    _check(back, 1)
    with nogil:
        done = meeting.meet(&wait)
        begun = now()
        done = done and _pong(there, back, &wait, rounds)
        ended = now()
    if not done:
        raise late("no item came")
    return begun, ended


def bounce(Meeting meeting not None, uint32_t rounds, bint first):
    """A number there and back in two bare cache lines: no ring's round trip is shorter. One of two workers is the `first`.

    Returns (begun, ended).
    """
    cdef uint32_t* mine = meeting.there if first else meeting.back
    cdef uint32_t* other = meeting.back if first else meeting.there
    cdef uint64_t begun, ended
    cdef uint32_t i
    cdef bint done
    cdef Wait wait
    with nogil:
        done = meeting.meet(&wait)
        begun = now()
        for i in range(1, rounds + 1):
            if first:
                store_release32(mine, i)
            while done and load_acquire32(other) != i:      # what was stored there by the other one
                done = relax(&wait)
            if not first:
                store_release32(mine, i)
        ended = now()
    if not done:
        raise late("the number did not come back")
    return begun, ended


# --- one thread

def push_pop(Ring ring not None, uint64_t items, uint32_t bulk):
    """A bulk in and the same out, until so many items went through. Returns (begun, ended, their sum mod 2^64)."""
    cdef uint64_t batch[LARGEST_BULK]
    cdef uint64_t begun, ended, sent = 0, item = 0, total = 0
    cdef uint32_t i
    cdef bint done = True
    _check(ring, bulk)
    with nogil:
        begun = now()
        if bulk == 1:
            for sent in range(items):
                done = done and ring.enqueue(sent)
                ring.flush_writes()
                done = done and ring.dequeue(&item)
                total += item
        else:
            while sent + bulk <= items:
                for i in range(bulk):
                    batch[i] = sent + i
                done = done and ring.enqueue_bulk(batch, bulk)
                ring.flush_writes()
                done = done and ring.dequeue_bulk(batch, bulk)
                for i in range(bulk):
                    total += batch[i]
                sent += bulk
        ended = now()
    if not done:
        raise RuntimeError("an item did not go through the ring")
    return begun, ended, total


def spin(uint64_t rounds):
    """Steps that each wait for the one before, always as many: nanoseconds they took, which tells how steady this core runs."""
    cdef uint64_t begun, ended, _, x = 1
    with nogil:
        begun = now()
        for _ in range(rounds):
            x ^= x << 13            # xorshift: each step needs the last one's result
            x ^= x >> 7
            x ^= x << 17
        ended = now()
    return ended - begun + (x == 0)
