"""CaptureMapping: the mapped bytes of a capture file, which outlive the Capture while cursors and bursts point into them."""

from libc.stdint cimport uint8_t, uint64_t


cdef class CaptureMapping:
    cdef const uint8_t* base
    cdef readonly uint64_t size
    cdef int fd
