"""The nogil loops behind bench/test_ring.py: built when it runs, as somebody else's extension on fastring would be."""

from libc.stdint cimport uint32_t, uint64_t

from fastring.atomic cimport cpu_relax, fetch_add32, load_acquire32
from fastring.ring cimport Ring

cdef enum:
    MAX_BULK = 1024

cdef uint32_t _ready


def rendezvous_reset():
    """Before each pair of threads."""
    global _ready
    _ready = 0


cdef void _meet() noexcept nogil:
    fetch_add32(&_ready, 1)
    while load_acquire32(&_ready) < 2:
        cpu_relax()


def produce(Ring ring, uint64_t items, uint32_t bulk):
    """Push 0, 1, … items - 1 in bulks, from the moment the consumer is there, too."""
    cdef uint64_t batch[MAX_BULK]
    cdef uint64_t sent = 0
    cdef uint32_t i
    with nogil:
        _meet()
        while sent < items:
            for i in range(bulk):
                batch[i] = sent + i
            while not ring.enqueue_bulk(batch, bulk):
                cpu_relax()
            sent += bulk


def consume(Ring ring, uint64_t items, uint32_t bulk):
    """Pop that many items in bulks; return their sum (mod 2^64)."""
    cdef uint64_t batch[MAX_BULK]
    cdef uint64_t got = 0, total = 0
    cdef uint32_t i
    with nogil:
        _meet()
        while got < items:
            while not ring.dequeue_bulk(batch, bulk):
                cpu_relax()
            for i in range(bulk):
                total += batch[i]
            got += bulk
    return total


def push_pop(Ring ring, uint64_t rounds):
    """One push and one pop, inline, `rounds` times on one thread; return the sum of what came out."""
    cdef uint64_t i, item = 0, total = 0
    with nogil:
        for i in range(rounds):
            ring.enqueue(i)
            ring.dequeue(&item)
            total += item
    return total


def push_pop_bulk(Ring ring, uint64_t rounds, uint32_t bulk):
    """One bulk in and one out, `rounds` times on one thread; return the sum of their first items."""
    cdef uint64_t batch[MAX_BULK]
    cdef uint64_t i, total = 0
    with nogil:
        for i in range(bulk):
            batch[i] = i
        for i in range(rounds):
            ring.enqueue_bulk(batch, bulk)
            ring.dequeue_bulk(batch, bulk)
            total += batch[0]
    return total
