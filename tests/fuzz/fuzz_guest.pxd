"""What the card under test sees of a guest: memory in zones, and packets."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from fuzz_script cimport Script

cdef enum:
    ZONES = 7
    RING_ZONE = 0                   # transmit ring; RING_ZONE + 1: receive ring
    BUFFERS = 2
    READ_ONLY = 3
    LONGEST = 20000                 # bytes of a packet made here

ctypedef struct Zone:
    uint64_t address                # on the bus
    uint32_t size
    uint8_t* host                   # a block of its own: AddressSanitizer sees every access past its ends
    bint writable

cdef Zone zones[ZONES]

cdef object map_zones(object addresses)
cdef void clear_zones() noexcept nogil
cdef bint read_only_intact() noexcept nogil
cdef uint8_t* guest(uint64_t address, uint32_t length) noexcept nogil
cdef void guest_write(uint64_t address, const void* content, uint32_t length) noexcept nogil
cdef uint64_t take_address(Script* script) noexcept nogil
cdef uint32_t take_value(Script* script) noexcept nogil
cdef uint32_t take_packet(Script* script, uint8_t* packet) noexcept nogil
cdef uint32_t headers_length(const uint8_t* packet) noexcept nogil
