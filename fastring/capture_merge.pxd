"""MergedCursors: two captures as one, by time."""

from cython cimport final
from libc.stdint cimport uint32_t, uint64_t

from fastring.burst cimport Burst, BurstSource
from fastring.capture cimport CaptureCursor


@final
cdef class MergedCursors(BurstSource):
    cdef readonly CaptureCursor first, second
    cdef Burst first_burst, second_burst
    cdef uint32_t first_next, second_next
    cdef bint first_ended, second_ended
    cdef readonly uint64_t frames   # given out
    cdef uint64_t limit
    cdef int refill(self) noexcept nogil
