"""Forwarder: packets that arrive, changed and sent on, by bursts."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from fastring.burst cimport Burst, BurstSink, Frame
from fastring.txq cimport XmitTarget

cpdef enum:                         # testpmd's forwarding modes, those that look at what arrives
    FORWARD_IO = 0                  # as it is
    FORWARD_MAC = 1                 # to the peer's address, from the sending port's
    FORWARD_MACSWAP = 2             # source and destination change places
    FORWARD_CSUM = 3                # the same, and checksums made anew
    FORWARD_ICMPECHO = 4            # ARP requests and ICMP echo requests are answered, all else is dropped
    FORWARD_RXONLY = 5              # counted and dropped

cdef enum:
    OUT = 256                       # Frames sent at once

ctypedef struct ForwardDrops:
    uint64_t tx_full, runt, no_request, no_room


cdef class Forwarder(BurstSink):
    cdef readonly XmitTarget target
    cdef readonly int mode
    cdef readonly uint64_t rx_packets, rx_bytes, tx_packets, tx_bytes
    cdef ForwardDrops dropped
    cdef uint8_t source[6]
    cdef uint8_t peer[6]
    cdef int tag                    # to push: its TCI, or -1
    cdef bint pops
    cdef uint8_t* room              # changed packets, until they are sent
    cdef uint32_t used              # bytes of it
    cdef Frame out[OUT]
    cdef int waiting                # Frames in `out`
    cdef void pass_on(self, const Frame* frames, int pieces) noexcept nogil
    cdef void change(self, const Frame* frames, int pieces, uint64_t length) noexcept nogil
    cdef void append(self, const Frame* frames, int pieces) noexcept nogil
    cdef void flush(self) noexcept nogil
