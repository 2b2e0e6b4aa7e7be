"""The Internet checksum (RFC 1071): sums of 16-bit words as they lie in memory, end-around carry kept for later."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from fastring.burst cimport Frame

ctypedef struct Sum:                # of bytes that come one after another, in whatever pieces
    uint64_t total
    uint32_t bytes

cdef extern from "fastring/checksum.h":
    # The unfolded sum of `length` bytes
    uint64_t sum_words "fastring_sum"(const uint8_t* data, uint32_t length) nogil

cdef void sum_frame(Sum* sum, const Frame* pieces, int n, uint32_t start, uint32_t length) noexcept nogil


cdef inline uint32_t fold(uint64_t total) noexcept nogil:
    """A sum as 16 bits."""
    total = (total >> 32) + <uint32_t>total
    total = (total >> 32) + <uint32_t>total
    total = (total >> 16) + (total & 0xFFFF)
    return <uint32_t>((total >> 16) + (total & 0xFFFF))


cdef inline uint32_t swap16(uint32_t value) noexcept nogil:
    """16 bits in the other byte order."""
    return (value >> 8 | value << 8) & 0xFFFF


cdef inline void add_sum(Sum* sum, uint64_t total, uint32_t length) noexcept nogil:
    """Go on with the sum of the next `length` bytes: after an odd number of bytes theirs are the other halves of words."""
    sum.total += swap16(fold(total)) if sum.bytes & 1 else total
    sum.bytes += length
