"""GroContext: what a NAPI holds back of the packets it received."""

from libc.stdint cimport uint32_t


cdef class GroContext:
    cdef public uint32_t held       # packets; 0: nothing to flush (gro_bitmask)
    cdef public object error        # what on_flush raised last, for whoever runs the loop
    cdef void flush_held(self, bint old) noexcept nogil
