"""Burst: the batch of packets that every layer passes on, and the two ends it travels between."""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memmove

from fastring.pool cimport BufferPool

cpdef enum:
    FRAME_MORE = 1 << 0             # the packet goes on in the next Frame (as MSG_MORE; scatter-gather)
    # What was wrong with a packet on its wire, on any of its Frames. A card receives it as its silicon would; nobody else looks.
    FRAME_BAD_CRC = 1 << 1
    FRAME_ALIGNMENT = 1 << 2        # not a whole number of bytes (10 and 100 Mbit/s)
    FRAME_SYMBOL = 1 << 3           # a bad symbol
    FRAME_RX_ERROR = 1 << 4         # the PHY signalled an error while it was received (RX_ER)
    FRAME_SEQUENCE = 1 << 5         # a bad delimiter sequence
    FRAME_CARRIER = 1 << 6          # a bad carrier extension (1000 Mbit/s, half duplex)
    FRAME_ERRORS = 0x7E             # any of them

cdef enum:
    NO_BUFFER = 0xFFFFFFFF  # Frame.buffer: the bytes belong to somebody else (a capture's mmap, a wire)

cdef extern from *:
    """
    #define FASTRING_NO_IOVA UINT64_MAX
    """
    const uint64_t NO_IOVA "FASTRING_NO_IOVA"   # Frame.iova: not mapped for DMA

# One contiguous piece of a packet. A packet is a run of Frames: all but its last carry FRAME_MORE.
ctypedef struct Frame:
    uint8_t* data           # first byte, as this process sees it
    uint64_t iova           # its bus address, or NO_IOVA
    int64_t time            # nanoseconds on the Clock in use; 0 where nobody stamped it
    uint32_t len            # bytes in this piece
    uint32_t buffer         # number of the pool buffer that holds it, or NO_BUFFER
    uint32_t wire_len       # first piece: bytes the packet had on its wire (> len if captured short); else 0
    uint16_t flags          # FRAME_*
    uint16_t queue          # queue it came from or is meant for


cdef inline uint32_t packets_in(const Frame* frames, uint32_t n) noexcept nogil:
    """Packets in n Frames; one without its end does not count."""
    cdef uint32_t i, packets = 0
    for i in range(n):
        packets += not frames[i].flags & FRAME_MORE
    return packets


cdef extern from *:
    """
    #include <stdint.h>
    typedef uint64_t fastring_chunk __attribute__((vector_size(32), aligned(1), may_alias));
    """
    ctypedef struct Chunk "fastring_chunk":     # 32 bytes, anywhere
        pass


cdef inline void copy_frame(uint8_t* target, const uint8_t* source, uint32_t length) noexcept nogil:
    """memmove, without the call for the short frames of which there are so many: two halves that overlap.

    Source and target may overlap, too: a guest can let what it sends arrive where it was sent from.
    """
    cdef Chunk head, tail
    if 32 <= length <= 64:
        head = (<const Chunk*>source)[0]
        tail = (<const Chunk*>(source + length - 32))[0]
        (<Chunk*>target)[0] = head
        (<Chunk*>(target + length - 32))[0] = tail
    else:
        memmove(target, source, length)


cdef class Burst:
    cdef Frame* frames      # [capacity]
    cdef readonly uint32_t capacity
    cdef readonly uint32_t count            # Frames in use; pieces, not packets
    cdef readonly BufferPool pool           # owner of the frames' buffers, or None
    cdef object keepalive                   # whatever the frames' bytes live in
    cdef uint32_t views                     # of its Frames that users hold: see burst_view
    cdef void release(self) noexcept nogil
    cdef uint32_t packet_count(self) noexcept nogil
    cdef uint32_t _first_frame(self, uint32_t packet) noexcept nogil
    cdef int _check_kept(self) except -1
    cdef int _check_unseen(self) except -1


cdef inline uint32_t show_packets(Burst burst, const Frame* frames, uint32_t n) noexcept nogil:
    """Let `burst` have as many of n Frames as fit it, whole packets unless one alone is longer; return how many. Their owner stays it."""
    cdef uint32_t count = n if n < burst.capacity else burst.capacity
    while 1 < count < n and frames[count - 1].flags & FRAME_MORE:
        count -= 1
    memcpy(burst.frames, frames, count * sizeof(Frame))
    burst.count = count
    return count


cdef class BurstSource:
    cdef int fill(self, Burst burst, uint32_t most) noexcept nogil


cdef class BurstSink:
    cdef public object error        # what on_burst raised last, for whoever runs the loop
    cdef int deliver(self, Burst burst) noexcept nogil


cdef class RepeatSource(BurstSource):
    cdef Burst packets
    cdef bint plain                 # each of one Frame: copied by the run
    cdef bint failed
    cdef uint32_t next              # Frame to go on with
    cdef readonly uint64_t left     # packets still to come


cdef class CountingSink(BurstSink):
    cdef readonly uint64_t packets, bytes, bursts
