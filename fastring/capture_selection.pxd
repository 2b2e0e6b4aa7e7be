"""Selection: which packets of a capture are sent, and by which of two interfaces, by their number."""

from cython cimport final
from libc.stdint cimport uint8_t, uint32_t, uint64_t

from fastring.capture cimport CaptureCursor


@final
cdef class Selection:
    cdef uint64_t* ranges           # first and last of each, ascending, apart from each other
    cdef uint32_t range_count
    cdef bint excludes
    cdef bytes cache
    cdef const uint8_t* directions  # two bits a packet, or NULL
    cdef readonly uint64_t cached   # packets it has them for
    cdef bint listed(self, uint64_t number) noexcept nogil
    cdef int queue_of(self, uint64_t number) noexcept nogil


@final
cdef class SelectingCursor(CaptureCursor):
    cdef readonly Selection selection
    cdef readonly uint64_t unselected       # frames passed over
    cdef uint64_t number            # of the record it came to last, from 1
