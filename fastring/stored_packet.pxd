"""StoredPacket: a packet that a wire keeps for later, in memory of its own."""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

from fastring.burst cimport FRAME_ERRORS, NO_BUFFER, NO_IOVA, Frame

cdef enum:
    LONGEST_STORED = 0x20000        # bytes: longer than any card's packet, or a GSO packet with its headers

ctypedef struct StoredPacket:
    StoredPacket* next
    int64_t due                     # when it goes on, for who delays
    int64_t time
    uint32_t length, wire_len
    uint16_t flags
    uint8_t* data                   # right behind


cdef inline StoredPacket* store_packet(const Frame* pieces, int n) noexcept nogil:
    """Copy a packet of n Frames; NULL if it is too long or there is no memory. `free` it."""
    cdef StoredPacket* packet
    cdef uint32_t length = 0
    cdef int i
    for i in range(n):
        if pieces[i].len > LONGEST_STORED - length:
            return NULL
        length += pieces[i].len
    packet = <StoredPacket*>malloc(sizeof(StoredPacket) + length)
    if packet == NULL:
        return NULL
    packet.next = NULL
    packet.due = 0
    packet.time = pieces[0].time
    packet.wire_len = pieces[0].wire_len
    packet.flags = 0
    packet.data = <uint8_t*>(packet + 1)
    packet.length = 0
    for i in range(n):
        memcpy(packet.data + packet.length, pieces[i].data, pieces[i].len)
        packet.length += pieces[i].len
        packet.flags |= pieces[i].flags & FRAME_ERRORS
    return packet


cdef inline Frame as_frame(StoredPacket* packet) noexcept nogil:
    """The Frame that shows it; its bytes stay the packet's."""
    cdef Frame frame
    memset(&frame, 0, sizeof(frame))
    frame.data = packet.data
    frame.iova = NO_IOVA
    frame.buffer = NO_BUFFER
    frame.time = packet.time
    frame.len = packet.length
    frame.wire_len = packet.wire_len
    frame.flags = packet.flags
    return frame


cdef inline void free_packets(StoredPacket* first) noexcept nogil:
    """A whole list of them."""
    cdef StoredPacket* following
    while first != NULL:
        following = first.next
        free(first)
        first = following
