"""Strict mode: each access held against the manual, before it has its effect."""

from libc.stdint cimport uint32_t, uint64_t

from e1000.device.state cimport Card

cpdef enum:                         # rules: places in e1000/strict.py's table
    ACCESS_SIZE
    NO_REGISTER
    READ_ONLY_WRITTEN
    WRITE_ONLY_READ
    RESERVED_BITS
    RESERVED_VALUE
    IO_SIZE
    IO_UNDEFINED
    STATISTIC_ORDER
    EERD_BUSY
    EERD_UNDONE
    EECD_NO_GRANT
    MDIC_BUSY
    PBA_SIZE
    FLOW_THRESHOLDS
    RING_UNALIGNED
    RING_LENGTH
    RING_MOVED
    HEAD_WRITTEN
    TAIL_OUTSIDE
    ENABLED_WITHOUT_RING
    DOORBELL_NO_MASTER
    RING_FULL
    TAIL_PASSES_HEAD
    RING_OUTSIDE_MEMORY
    RX_BUFFER_SIZE
    RX_STATUS
    RX_BUFFER_OUTSIDE
    RX_BUFFERS_OVERLAP
    TX_DONE
    TX_NO_EOP
    TX_NO_IFCS
    TX_LENGTH
    TX_TYPE
    TX_MIXED
    TX_CONTEXT_INSIDE
    TX_CONTEXT_RANGE
    TX_CHECKSUM_OFFSET
    TX_NO_CONTEXT
    TX_NO_MSS
    TX_HEADER
    TX_PAYLOAD

ctypedef struct Packet:             # a packet for transmission, as far as its descriptors have been given
    uint32_t descs, first
    uint64_t octets
    bint extended                   # of data descriptors
    bint segmented

cdef class Strict:
    cdef object breaches            # a strict.Breaches
    cdef bint silent
    cdef bint writing               # the access that is looked at
    cdef uint32_t offset, value
    cdef bint eerd_asked, mdic_asked, granted
    cdef uint32_t low_half          # of the 64-bit statistic that was read last
    cdef Packet packet
    cdef bint context               # one for segmentation was given
    cdef uint32_t mss, header, payload
    cdef void reset(self) noexcept nogil
    cdef void look_back(self, Card* card) noexcept nogil
    cdef void check_size(self, Card* card, uint32_t space, bint write, uint32_t offset, uint32_t value, uint32_t size) noexcept nogil
    cdef void check_read(self, Card* card, uint32_t offset, uint32_t value) noexcept nogil
    cdef void check_write(self, Card* card, uint32_t offset, uint32_t value) noexcept nogil
    cdef void check_unit(self, Card* card, uint32_t value, bint receive, uint32_t before) noexcept nogil
    cdef void check_ring(self, Card* card) noexcept nogil
    cdef void check_tail(self, Card* card, bint receive) noexcept nogil
    cdef void check_pins(self, Card* card) noexcept nogil
    cdef void receive_given(self, Card* card, uint32_t slot, uint32_t end) noexcept nogil
    cdef void transmit_given(self, Card* card, uint32_t slot, uint32_t end) noexcept nogil
    cdef void look_at(self, Card* card, uint32_t slot, uint64_t address, uint64_t word) noexcept nogil
    cdef void look_at_context(self, Card* card, uint32_t slot, uint64_t offsets, uint64_t word) noexcept nogil
    cdef void end_packet(self, Card* card, uint32_t slot, uint64_t word) noexcept nogil
    cdef void breach(self, Card* card, uint32_t rule, uint64_t a, uint64_t b) noexcept nogil
