"""Somebody else's extension on fastring's rings and pool, with Cython's ordinary switches: what bench/test_third_party.py measures."""

from libc.stdint cimport uint32_t, uint64_t

from fastring.pool cimport BufferPool
from fastring.ring cimport Ring

cdef enum:
    BULK = 32
    MOST = 1024             # as in fastring/ring_loops.pyx: for an array of 32 gcc unrolls the loops into something slower


def push_pop(Ring ring, uint64_t items, uint32_t bulk):
    """A bulk in and the same out, until so many items went through; the sum of their first ones."""
    cdef uint64_t[MOST] batch
    cdef uint64_t sent = 0, item = 0, total = 0
    cdef uint32_t i
    with nogil:
        while sent + bulk <= items:
            if bulk == 1:
                ring.enqueue(sent)
                ring.dequeue(&item)
                total += item
            else:
                for i in range(bulk):
                    batch[i] = sent + i
                ring.enqueue_bulk(batch, bulk)
                ring.dequeue_bulk(batch, bulk)
                for i in range(bulk):
                    total += batch[i]
            sent += bulk
    return total


def take_and_give(BufferPool pool, uint64_t bulks):
    """32 buffers taken and given back, so many times; how many that were."""
    cdef uint32_t[BULK] buffers
    cdef uint64_t _, taken = 0
    with nogil:
        for _ in range(bulks):
            taken += pool.take_bulk(buffers, BULK)
            pool.give_bulk(buffers, BULK)
    return taken
