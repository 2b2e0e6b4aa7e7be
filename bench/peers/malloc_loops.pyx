"""What bench/test_pool.py measures malloc with: the loops of fastring/pool_loops.pyx, with malloc and free for a pool."""

from libc.stdint cimport uint64_t
from libc.stdlib cimport free, malloc

from fastring.meeting cimport Meeting, Wait, late, now, relax
from fastring.ring cimport Ring

cdef enum:
    BULK = 32


cdef void _allocate(void** buffers, size_t size) noexcept nogil:
    cdef int k
    for k in range(BULK):
        buffers[k] = malloc(size)
        (<char*>buffers[k])[0] = 1


def take_and_give(uint64_t bulks, size_t size):
    """32 at a time. Returns (begun, ended)."""
    cdef void* buffers[BULK]
    cdef uint64_t begun, ended, _
    cdef int k
    with nogil:
        begun = now()
        for _ in range(bulks):
            _allocate(buffers, size)
            for k in range(BULK):
                free(buffers[k])
        ended = now()
    return begun, ended


cdef bint _send(Ring there, Wait* wait, uint64_t bulks, size_t size) noexcept nogil:
    cdef void* buffers[BULK]
    cdef uint64_t _
    for _ in range(bulks):
        _allocate(buffers, size)
        while not there.enqueue_bulk(buffers, BULK):
            if not relax(wait):
                return False
    return True


cdef bint _receive(Ring there, Wait* wait, uint64_t bulks) noexcept nogil:
    cdef void* buffers[BULK]
    cdef uint64_t _
    cdef int k
    for _ in range(bulks):
        while not there.dequeue_bulk(buffers, BULK):
            if not relax(wait):
                return False
        for k in range(BULK):
            free(buffers[k])
    return True


def take_and_send(Ring there, Meeting meeting, uint64_t bulks, size_t size):
    cdef uint64_t begun, ended
    cdef bint done
    cdef Wait wait
    with nogil:
        done = meeting.meet(&wait)
        begun = now()
        done = done and _send(there, &wait, bulks, size)
        ended = now()
    if not done:
        raise late("the ring stayed full")
    return begun, ended


def receive_and_give(Ring there, Meeting meeting, uint64_t bulks):
    cdef uint64_t begun, ended
    cdef bint done
    cdef Wait wait
    with nogil:
        done = meeting.meet(&wait)
        begun = now()
        done = done and _receive(there, &wait, bulks)
        ended = now()
    if not done:
        raise late("the ring stayed empty")
    return begun, ended
