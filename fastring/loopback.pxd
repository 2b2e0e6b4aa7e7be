"""LoopbackWire: what is sent comes back."""

from libc.stdint cimport uint64_t

from fastring.burst cimport Frame
from fastring.stored_packet cimport StoredPacket
from fastring.wire cimport Wire


cdef class LoopbackWire(Wire):
    cdef StoredPacket* first            # on their way, the oldest first
    cdef StoredPacket* last
    cdef uint64_t waiting, waiting_bytes
    cdef readonly uint64_t packets, bytes   # that came back
    cdef uint64_t unstorable            # lost: too long, or no memory
    cdef bint refused                   # `room` is owed
    cdef bint polling
    cdef int bell                       # an eventfd, readable while packets wait
    cdef void ring(self) noexcept nogil
    cdef int give_back(self, int most) noexcept nogil
