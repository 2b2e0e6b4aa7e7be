"""WirePort: in the place of a card on a wire."""

from libc.stdint cimport uint64_t

from fastring.burst cimport Burst, BurstSink, Frame
from fastring.clock cimport Clock
from fastring.wire cimport Wire


cdef class WirePort:
    cdef readonly Wire wire
    cdef public BurstSink sink
    cdef Clock clock
    cdef Burst burst
    cdef bint stamped               # the wire tells when packets came, and how long they were: one from outside
    cdef bint busy                  # the sink is being called: who sends from there may not be shown the same burst
    cdef readonly uint64_t tx_packets, tx_bytes, rx_packets, rx_bytes, unclaimed, failures
    cdef int arrived(self, Frame* frames, int n) noexcept nogil
    cdef int push(self, Frame* frames, int n) noexcept nogil
    cdef int step(self, int budget) noexcept nogil
