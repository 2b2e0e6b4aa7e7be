"""What a ring costs, measured without the interpreter: the loops of the benches. bench/peers/harness.h has the same for other people's.

Each loop is run by one worker, a thread or a process of its own, and begins when all of them are at their Meeting. A loop that has to wait
says so to its core (pause), and with `spins` lets others have it every so many times, for where there are more workers than cores. It
returns when it began and ended, by CLOCK_MONOTONIC, in nanoseconds: the whole took from the first beginning to the last end.
"""

from cpython.buffer cimport PyBUF_C_CONTIGUOUS, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport UINT32_MAX, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free
from libc.string cimport memset
from posix.stdlib cimport posix_memalign
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec

from fastring.atomic cimport cpu_relax, fetch_add32, load_acquire32, store_release32
from fastring.memory cimport Arena
from fastring.ring cimport Ring

cdef extern from "<sched.h>" nogil:
    int sched_yield()

cdef enum:
    LARGEST_BULK = 1024
    LINES = 128                     # two cache lines: the prefetcher fetches pairs
    BLOCK = 3 * LINES
    BETWEEN_LOOKS = 1 << 16         # waits between two looks at the clock

MOST_BULK = LARGEST_BULK

ctypedef struct Wait:
    uint64_t tries
    uint64_t deadline
    uint32_t spins                  # waits between two yields; 0: never


cdef uint64_t _now() noexcept nogil:
    cdef timespec t
    clock_gettime(CLOCK_MONOTONIC, &t)
    return <uint64_t>t.tv_sec * 1_000_000_000 + <uint64_t>t.tv_nsec


cdef inline bint _relax(Wait* wait) noexcept nogil:
    """Wait a moment; False when it has been too long, since the others are gone."""
    cpu_relax()
    wait.tries += 1
    if wait.spins and wait.tries % wait.spins == 0:
        sched_yield()
    return wait.tries % BETWEEN_LOOKS or _now() < wait.deadline


cdef class Meeting:
    """Where `workers` of them begin together; made in an `arena` for other processes to attach to.

    ``seconds``: how long a loop waits for the others before it raises TimeoutError. ``spins``: see the module.
    """

    cdef uint32_t* _ready
    cdef uint32_t* _there           # of `bounce`
    cdef uint32_t* _back
    cdef readonly uint32_t workers
    cdef readonly uint64_t offset
    cdef readonly object arena
    cdef object _pin
    cdef uint8_t* _private
    cdef Wait _wait
    cdef uint64_t _patience

    def __cinit__(self, uint32_t workers, *, Arena arena=None, offset=None, double seconds=60, uint32_t spins=0):
        cdef uint8_t* block
        if arena is None:
            if posix_memalign(<void**>&self._private, LINES, BLOCK):
                raise MemoryError()
            block = self._private
        else:
            self._pin = memoryview(arena)
            self.offset = arena.alloc(BLOCK, align=LINES) if offset is None else offset
            block = arena.at(self.offset, BLOCK)
        if offset is None:
            memset(block, 0, BLOCK)
        self._ready = <uint32_t*>block
        self._there = <uint32_t*>(block + LINES)
        self._back = <uint32_t*>(block + 2 * LINES)
        self.arena = arena
        self.workers = workers
        self._wait.spins = spins
        self._patience = <uint64_t>(1e9 * seconds)

    def __dealloc__(self):
        free(self._private)

    cdef bint meet(self, Wait* wait) noexcept nogil:
        """Return when the last one is here, too; False when it does not come. `wait`: whose deadline starts."""
        wait[0] = self._wait
        wait.deadline = _now() + self._patience
        fetch_add32(self._ready, 1)
        while load_acquire32(self._ready) < self.workers:
            if not _relax(wait):
                return False
        return True


cdef int _check(Ring ring, uint32_t bulk, bint wide=False) except -1:
    if ring.capacity == 0:
        raise ValueError("the ring is closed")
    if ring.geometry.item_size != sizeof(uint64_t) and not wide:
        raise ValueError(f"items are of 8 bytes here, not {ring.geometry.item_size}")
    if not 0 < bulk <= min(ring.capacity, LARGEST_BULK):
        raise ValueError(f"a bulk is 1 to {min(ring.capacity, LARGEST_BULK)} items, not {bulk}")
    return 0


cdef _late(str what):
    return TimeoutError(f"nobody else was there any more: {what}")


# --- throughput

cdef bint _push_one_by_one(Ring ring, Wait* wait, uint64_t first, uint64_t items) noexcept nogil:
    cdef uint64_t item
    for item in range(first, first + items):
        while not ring.enqueue(item):
            if not _relax(wait):
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
            if not _relax(wait):
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
            if not _relax(wait):
                return False
        sent += bulk
    ring.flush_writes()
    return True


cdef bint _pop_one_by_one(Ring ring, Wait* wait, uint64_t items, uint64_t* total) noexcept nogil:
    cdef uint64_t _, item = 0, so_far = 0
    for _ in range(items):
        while not ring.dequeue(&item):
            if not _relax(wait):
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
            if not _relax(wait):
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
            if not _relax(wait):
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
        begun = _now()
        if done:
            done = _push(ring, &wait, first, items, bulk)
        ended = _now()
    if not done:
        raise _late("the ring stayed full")
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
        begun = _now()
        if done:
            done = _pop(ring, &wait, items, bulk, &total)
        ended = _now()
    if not done:
        raise _late("the ring stayed empty")
    return begun, ended, total


# --- round trips

cdef bint _ping(Ring there, Ring back, Wait* wait, uint32_t* times, uint64_t rounds, uint32_t* wrong) noexcept nogil:
    cdef uint64_t i, item = 0, then, last = _now()
    for i in range(rounds):
        while not there.enqueue(i):
            if not _relax(wait):
                return False
        there.flush_writes()
        while not back.dequeue(&item):
            if not _relax(wait):
                return False
        wrong[0] += item != i
        then = _now()
        times[i] = <uint32_t>min(then - last, <uint64_t>UINT32_MAX)
        last = then
    return True


cdef bint _pong(Ring there, Ring back, Wait* wait, uint64_t rounds) noexcept nogil:
    cdef uint64_t _, item = 0
    for _ in range(rounds):
        while not there.dequeue(&item):
            if not _relax(wait):
                return False
        while not back.enqueue(item):
            if not _relax(wait):
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
        begun = _now()
        done = done and _ping(there, back, &wait, <uint32_t*>view.buf, rounds, &wrong)
        ended = _now()
    PyBuffer_Release(&view)
    if not done:
        raise _late("an item did not come back")
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
        begun = _now()
        done = done and _pong(there, back, &wait, rounds)
        ended = _now()
    if not done:
        raise _late("no item came")
    return begun, ended


def bounce(Meeting meeting not None, uint32_t rounds, bint first):
    """A number there and back in two bare cache lines: no ring's round trip is shorter. One of two workers is the `first`.

    Returns (begun, ended).
    """
    cdef uint32_t* mine = meeting._there if first else meeting._back
    cdef uint32_t* other = meeting._back if first else meeting._there
    cdef uint64_t begun, ended
    cdef uint32_t i
    cdef bint done
    cdef Wait wait
    with nogil:
        done = meeting.meet(&wait)
        begun = _now()
        for i in range(1, rounds + 1):
            if first:
                store_release32(mine, i)
            while done and load_acquire32(other) != i:      # what was stored there by the other one
                done = _relax(&wait)
            if not first:
                store_release32(mine, i)
        ended = _now()
    if not done:
        raise _late("the number did not come back")
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
        begun = _now()
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
        ended = _now()
    if not done:
        raise RuntimeError("an item did not go through the ring")
    return begun, ended, total


def spin(uint64_t rounds):
    """Steps that each wait for the one before, always as many: nanoseconds they took, which tells how steady this core runs."""
    cdef uint64_t begun, ended, _, x = 1
    with nogil:
        begun = _now()
        for _ in range(rounds):
            x ^= x << 13            # xorshift: each step needs the last one's result
            x ^= x >> 7
            x ^= x << 17
        ended = _now()
    return ended - begun + (x == 0)
