"""CaptureSummary and the index: the two walks over a whole capture."""

from libc.stdint cimport int64_t, uint32_t, uint64_t

from fastring.capture_records cimport RecordReader

# One frame in Capture.index(), as its NumPy dtype has it.
ctypedef struct IndexEntry:
    uint64_t offset
    int64_t time
    uint32_t caplen
    uint32_t wirelen
    uint32_t interface
    uint32_t padding


cdef uint64_t fill_index(RecordReader* r, IndexEntry* entry, uint64_t most) noexcept nogil


cdef class CaptureSummary:
    cdef readonly uint64_t frames, bytes, truncated, empty, untimed
    cdef public object broken_off
    cdef uint32_t _shortest, _longest
    cdef int64_t _first_time, _last_time
    cdef int tally(self, RecordReader* r, uint64_t most) noexcept nogil
