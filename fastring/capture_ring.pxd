"""CaptureRing: packets into one capture file after another."""

from libc.stdint cimport int64_t, uint32_t, uint64_t

from fastring.burst cimport Burst, BurstSink, Frame
from fastring.capture_writer cimport CaptureWriter


cdef class CaptureRing(BurstSink):
    cdef object next_file           # next_file(time in ns of the packet it is for) -> CaptureWriter, or None: no more
    cdef readonly CaptureWriter writer      # of the file at hand, or None
    cdef readonly uint64_t file_bytes       # a file that has so many is the last but one's; 0: any
    cdef readonly int64_t file_ns           # the same for the time since its first packet
    cdef uint64_t limit             # packets to write in all
    cdef readonly uint64_t refused  # packets offered when no file was to be opened any more, or could be
    cdef readonly uint64_t beyond   # packets offered after the last one that was wanted
    cdef uint64_t offered           # to writers
    cdef uint64_t size              # bytes of the file at hand
    cdef int64_t began              # time of its first packet
    cdef readonly bint ended        # no file any more
    cdef Burst part
    cdef uint64_t packets_before, bytes_before, truncated_before, lost_before, unstampable_before    # of closed files
    cdef bint is_full(self) noexcept nogil
    cdef bint is_over(self, int64_t time) noexcept nogil
    cdef uint32_t fitting(self, Burst burst, uint32_t start) noexcept nogil
    cdef int change_file(self, int64_t time) noexcept nogil
