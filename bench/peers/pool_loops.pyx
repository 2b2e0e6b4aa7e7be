"""The nogil loops behind bench/test_pool.py: buffers taken and given back on one thread, or carried to another that gives them back."""

from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport free, malloc

from fastring.atomic cimport cpu_relax, fetch_add32, load_acquire32
from fastring.pool cimport BufferPool
from fastring.ring cimport Ring

cdef enum:
    BULK = 32

cdef uint32_t _ready


def rendezvous_reset():
    """Before each pair of threads."""
    global _ready
    _ready = 0


cdef void _meet() noexcept nogil:
    fetch_add32(&_ready, 1)
    while load_acquire32(&_ready) < 2:
        cpu_relax()


def take_give(BufferPool pool, uint64_t rounds):
    """Take 32 buffers and give them back, `rounds` times; return the last number."""
    cdef uint32_t buffers[BULK]
    cdef uint64_t _round
    with nogil:
        for _round in range(rounds):
            pool.take_bulk(buffers, BULK)
            pool.give_bulk(buffers, BULK)
    return buffers[0]


def malloc_free(uint64_t rounds, size_t size):
    """The same with malloc and free; return the last address."""
    cdef void* buffers[BULK]
    cdef uint64_t _round
    cdef int k
    with nogil:
        for _round in range(rounds):
            for k in range(BULK):
                buffers[k] = malloc(size)
                (<char*>buffers[k])[0] = 1
            for k in range(BULK):
                free(buffers[k])
    return <uint64_t>buffers[0]


def take_all(BufferPool pool, Ring there, Ring back, uint64_t rounds):
    """Take 32 buffers and send their numbers, `rounds` times. With a ring `back` this thread is who gives them back, too."""
    cdef uint32_t buffers[BULK]
    cdef uint64_t items[BULK]
    cdef uint64_t sent = 0, given = 0
    cdef uint32_t got
    cdef int i
    cdef bint own = back is not None
    with nogil:
        _meet()
        while sent < rounds or (own and given < rounds):
            if own and back.dequeue_bulk(items, BULK):
                for i in range(BULK):
                    buffers[i] = <uint32_t>items[i]
                pool.give_bulk(buffers, BULK)
                given += 1
            if sent == rounds:
                continue
            got = pool.take_bulk(buffers, BULK)
            if got < BULK:
                pool.give_bulk(buffers, got)
                cpu_relax()
                continue
            for i in range(BULK):
                items[i] = buffers[i]
            while not there.enqueue_bulk(items, BULK):
                cpu_relax()
            sent += 1


def give_all(BufferPool pool, Ring there, Ring back, uint64_t rounds):
    """The other thread: give back what arrives, or send it `back`."""
    cdef uint32_t buffers[BULK]
    cdef uint64_t items[BULK]
    cdef uint64_t _round
    cdef int i
    cdef bint own = back is None
    with nogil:
        _meet()
        for _round in range(rounds):
            while not there.dequeue_bulk(items, BULK):
                cpu_relax()
            if own:
                for i in range(BULK):
                    buffers[i] = <uint32_t>items[i]
                pool.give_bulk(buffers, BULK)
            else:
                while not back.enqueue_bulk(items, BULK):
                    cpu_relax()


def malloc_all(Ring there, uint64_t rounds, size_t size):
    cdef uint64_t items[BULK]
    cdef uint64_t _round
    cdef int i
    with nogil:
        _meet()
        for _round in range(rounds):
            for i in range(BULK):
                items[i] = <uint64_t>malloc(size)
            while not there.enqueue_bulk(items, BULK):
                cpu_relax()


def free_all(Ring there, uint64_t rounds):
    cdef uint64_t items[BULK]
    cdef uint64_t _round
    cdef int i
    with nogil:
        _meet()
        for _round in range(rounds):
            while not there.dequeue_bulk(items, BULK):
                cpu_relax()
            for i in range(BULK):
                free(<void*>items[i])
