"""CaptureMapping: the mapped bytes of a capture file, which outlive the Capture while cursors and bursts point into them."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

cdef extern from *:
    """
    struct fr_guarded;
    """
    struct fr_guarded:
        pass


cdef class CaptureMapping:
    cdef const uint8_t* base
    cdef readonly uint64_t size
    cdef int fd
    cdef fr_guarded* guard          # NULL: not guarded
    cdef const uint32_t* shrunk     # not 0: the file lost bytes, and zeroes are in their place
