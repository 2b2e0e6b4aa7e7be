"""A ring's watermarks, and waiting for the other side."""

from libc.stdint cimport uint32_t

from fastring.ring_memory cimport RingMemory, fr_bell


cdef class RingWaiting(RingMemory):
    cdef uint32_t _low, _high               # watermarks
    cdef bint _congested

    cdef int _raise_broken(self, bint producer) except -1
    cdef bint _wait(self, bint items, uint32_t n, object timeout, double spin) except -1
    cdef void flush_writes(self) noexcept nogil
    cdef void flush_reads(self) noexcept nogil
