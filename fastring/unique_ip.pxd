"""UniqueIpSource: other IP addresses in each pass over a capture."""

from cython cimport final
from libc.stdint cimport uint8_t, uint32_t, uint64_t

from fastring.burst cimport Burst, BurstSource, Frame

cdef enum:
    HEAD = 64                       # bytes copied of a packet, at most: Ethernet, two VLAN tags, IPv6


@final
cdef class UniqueIpSource(BurstSource):
    cdef readonly BurstSource source
    cdef readonly uint32_t shift
    cdef readonly uint64_t changed, unchanged       # packets
    cdef Burst whole
    cdef uint8_t* heads             # [HEAD] for each Frame of a burst
    cdef uint32_t heads_room
    cdef bint cramped               # asked for fewer Frames than a packet has
    cdef bint _make_room(self, uint32_t frames) noexcept
    cdef uint32_t copy_head(self, uint8_t* head, const Frame* frame) noexcept nogil
