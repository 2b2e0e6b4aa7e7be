"""CaptureMapping: the mapped bytes of a capture file, which outlive the Capture while cursors and bursts point into them."""

from fastring.file_mapping cimport FileMapping


cdef class CaptureMapping(FileMapping):
    cdef int fd
    cdef bint owns
