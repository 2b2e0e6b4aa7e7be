"""HostWire: what wires to the world outside the process share."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from fastring.burst cimport Frame
from fastring.wire cimport Wire

cdef enum:
    STAGED = 256                    # Frames of one pull
    ETH_ZLEN = 60                   # bytes of the shortest frame, without CRC
    PAGE = 4096


cdef inline void mend(const Frame* frames, int n) noexcept nogil:
    """After EFAULT: a guest cut short the file that Frames lie in. A look at each page has it read as zeroes (sigbus.h); then try again.

    A system call does not do that: it only says EFAULT.
    """
    cdef volatile uint8_t looked
    cdef uint32_t at
    cdef int i
    for i in range(n):
        at = 0
        while at < frames[i].len:
            looked = frames[i].data[at]
            at += PAGE
        if frames[i].len:
            looked = frames[i].data[frames[i].len - 1]


cdef class HostWire(Wire):
    cdef Frame* staged              # [STAGED]: pulled, and [next_staged, staged_count) not yet delivered
    cdef uint8_t* padded            # [STAGED][ETH_ZLEN]: the ends of packets that were too short
    cdef int next_staged, staged_count
    cdef bint delivering            # who is being shown frames may close the wire: what they lie in must stay
    cdef bint blocked               # a send took less than it was offered: `room` is owed
    cdef int dead                   # errno it failed for good with, or 0
    cdef readonly uint64_t tx_packets, tx_bytes, rx_packets, rx_bytes   # sent for the card, and taken by it
    cdef uint64_t tx_failed         # packets lost because it is dead
    cdef uint64_t unsent_packets, unsent_bytes      # of this `send`: dropped instead
    # For each kind of wire
    cdef int send(self, Frame* frames, int n) noexcept nogil
    cdef int pull(self, int most) noexcept nogil
    cdef void recycle(self) noexcept nogil
    cdef bint writable(self) noexcept nogil
    cdef uint32_t unsent(self, Frame* frames, int n) noexcept nogil
    cdef void die(self, int error) noexcept nogil
    cdef void pad_short(self, int n) noexcept nogil
    cdef int offer(self) noexcept nogil
    cdef int give_up(self, Frame* frames, int n, uint64_t* counter, const char* reason) noexcept nogil
