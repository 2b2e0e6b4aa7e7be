"""The receive ring, and how a frame gets into its buffers."""

from libc.stdint cimport uint32_t, uint64_t

from e1000.desc cimport RXD_STAT_DD, RXD_STAT_PIF, Desc
from e1000.device.arrival cimport Arrival
from e1000.device.filter cimport INEXACT
from e1000.device.state cimport Card
from e1000.regs cimport ICR_RXT0

ctypedef struct Ring:               # the receive ring during one call
    Desc* desc                      # NULL: not set up, or outside mapped memory
    uint32_t count, head
    uint32_t available              # descriptors the host has given and not got back
    uint32_t available_before
    uint32_t causes                 # of interrupts, so far

cdef enum Room:                     # for a frame in the ring
    ENOUGH
    NOT_YET
    NEVER                           # it needs more descriptors than the ring can have

cdef void describe(Card* card, Arrival* frame) noexcept nogil
cdef void take_crc(Card* card, Arrival* frame) noexcept nogil
cdef void store(Card* card, Ring* ring, const Arrival* frame) noexcept nogil
cdef Room room_for(Card* card, Ring* ring, uint32_t length) noexcept nogil
cdef void count_stored(Card* card, const Arrival* frame) noexcept nogil


cdef inline uint64_t passed_status(uint32_t match) noexcept nogil:
    """Status bits every frame has: PIF when the filter is not sure."""
    return RXD_STAT_DD | (RXD_STAT_PIF if match == INEXACT else 0)


cdef inline void advance(Ring* ring) noexcept nogil:
    """One descriptor used up."""
    ring.head = ring.head + 1 if ring.head + 1 != ring.count else 0
    ring.available -= 1
    ring.causes |= ICR_RXT0
