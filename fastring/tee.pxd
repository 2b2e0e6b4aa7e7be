"""TeeWire: what passes a wire, recorded."""

from libc.stdint cimport int64_t, uint64_t

from fastring.burst cimport Frame
from fastring.capture_writer cimport CaptureWriter
from fastring.clock cimport Clock
from fastring.wrapper cimport WrapperWire

cdef enum:
    SHOWN = 256                     # Frames given to the inner wire at once


cdef class TeeWire(WrapperWire):
    cdef readonly CaptureWriter writer
    cdef Clock clock
    cdef readonly uint64_t unrecorded       # packets that the writer could not write
    cdef const Frame* shown         # being sent: what is lost of them is noted, not yet recorded
    cdef int shown_count
    cdef const char** reasons       # [shown_count]: for each packet's first Frame why it was lost, or NULL
    cdef int send_some(self, Frame* frames, int n) noexcept nogil
    cdef void record(self, const Frame* frames, int n, int64_t time, uint64_t direction, const char** reasons) noexcept nogil
    cdef void record_one(self, const Frame* frames, int n, int64_t time, uint64_t direction, const char* reason) noexcept nogil
