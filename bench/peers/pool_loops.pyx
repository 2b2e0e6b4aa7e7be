"""The nogil loops behind bench/test_pool.py."""

from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport free, malloc

from fastring.pool cimport BufferPool

cdef enum:
    BULK = 32


def take_give(BufferPool pool, uint64_t rounds):
    """Take 32 buffers and give them back, `rounds` times; return the last number."""
    cdef uint32_t buffers[BULK]
    cdef uint64_t i
    with nogil:
        for i in range(rounds):
            pool.take_bulk(buffers, BULK)
            pool.give_bulk(buffers, BULK)
    return buffers[0]


def malloc_free(uint64_t rounds, size_t size):
    """The same with malloc and free; return the last address."""
    cdef void* buffers[BULK]
    cdef uint64_t i
    cdef int k
    with nogil:
        for i in range(rounds):
            for k in range(BULK):
                buffers[k] = malloc(size)
                (<char*>buffers[k])[0] = 1
            for k in range(BULK):
                free(buffers[k])
    return <uint64_t>buffers[0]
