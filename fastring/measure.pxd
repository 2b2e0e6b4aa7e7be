"""MeasuringSink: sizes of what passes, and the gaps between."""

from libc.stdint cimport int64_t

from fastring.burst cimport BurstSink
from fastring.histogram cimport Histogram


cdef class MeasuringSink(BurstSink):
    cdef readonly BurstSink inner
    cdef readonly Histogram sizes, gaps
    cdef int64_t last               # time of the packet before, or 0
