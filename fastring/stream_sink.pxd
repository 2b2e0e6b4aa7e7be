"""StreamSink: what became of the packets of streams, told by their signatures."""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from fastring.burst cimport BurstSink, Frame
from fastring.clock cimport Clock
from fastring.histogram cimport Counts

cdef enum:
    WINDOW_WORDS = 64
    WINDOW = 4096                   # sequence numbers before the highest, of which it is known which have come
    USUAL = 1 << 20                 # ns by which one packet's time on its way may differ from the one before's unlooked at

ctypedef struct Arrivals:           # of one stream
    uint64_t packets, bytes
    uint64_t duplicates, reordered, stale, early
    uint64_t next                   # the highest sequence number, and one
    uint64_t jitter                 # RFC 3550's J, in 1/16 ns
    int64_t transit                 # of the packet before
    bint any
    Counts* latency
    uint64_t seen[WINDOW_WORDS]     # at sequence number modulo WINDOW


cdef class StreamSink(BurstSink):
    cdef Clock clock
    cdef Arrivals* streams
    cdef dict index                 # stream's number -> place in `streams`
    cdef list latencies             # Histogram of each
    cdef uint16_t* places           # [65536]: place of a number and one, 0: none
    cdef uint32_t signature         # where the one before was
    cdef readonly uint64_t packets, bytes
    cdef readonly uint64_t foreign  # packets without the signature of one of these streams, or damaged
    cdef Arrivals* stream_of(self, const uint8_t* data, uint32_t length) noexcept nogil
    cdef void arrive(self, const Frame* frame, int pieces, uint32_t bytes, int64_t now) noexcept nogil
