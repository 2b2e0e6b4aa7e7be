"""PacketQueue: a bounded queue of copied packets, between a sink and whoever reads when it likes."""

from cpython.pythread cimport PyThread_type_lock
from libc.stdint cimport uint8_t, uint32_t, uint64_t

from fastring.burst cimport Burst, BurstSink, Frame


cdef class PacketQueue(BurstSink):
    cdef readonly uint64_t packets, bytes       # taken in so far
    cdef readonly uint32_t packet_limit
    cdef readonly uint64_t byte_limit
    cdef uint64_t over_packets, over_bytes      # packets dropped: one more than the limit; no room for their bytes
    cdef uint8_t* ring                          # [byte_limit]: records, each a header and a packet in one piece
    cdef uint64_t head, tail                    # bytes ever read and written; the offset in `ring` is what is left modulo byte_limit
    cdef uint32_t waiting                       # packets
    cdef uint32_t least                         # packets that `event` waits for
    cdef bint overflowed                        # a packet was dropped since the last were taken
    cdef bint signalled                         # `event` is readable
    cdef int event                              # eventfd
    cdef PyThread_type_lock lock
    cdef void signal(self) noexcept nogil
    cdef bint add(self, const Frame* frames, uint32_t pieces) noexcept nogil
    cdef uint32_t measure(self, uint32_t most, uint64_t* size) noexcept nogil
    cdef void move(self, Burst burst, uint8_t* target, uint64_t size, uint32_t most) noexcept nogil
