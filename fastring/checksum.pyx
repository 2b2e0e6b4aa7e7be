"""The Internet checksum (RFC 1071): sums of 16-bit words as they lie in memory, end-around carry kept for later.

A 64-bit total takes 2^32 words of 32 bits without a carry, so none is looked for before `fold`; the loop is one a compiler vectorises.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy


cdef uint64_t sum_words(const uint8_t* data, uint32_t length) noexcept nogil:
    """The unfolded sum of `length` bytes."""
    cdef uint64_t total = 0
    cdef uint32_t word, i
    cdef uint16_t half
    for i in range(length >> 2):
        memcpy(&word, data + 4 * <uint64_t>i, 4)
        total += word
    data += length & ~3u
    if length & 2:
        memcpy(&half, data, 2)
        total += half
        data += 2
    if length & 1:
        total += data[0]
    return total


cdef void sum_frame(Sum* sum, const Frame* pieces, int n, uint32_t start, uint32_t length) noexcept nogil:
    """Go on with `length` bytes from byte `start` of a frame in n pieces, or as many as there are."""
    cdef uint32_t here
    cdef int i
    for i in range(n):
        if length == 0:
            break
        if start >= pieces[i].len:
            start -= pieces[i].len
            continue
        here = pieces[i].len - start
        if here > length:
            here = length
        add_sum(sum, sum_words(pieces[i].data + start, here), here)
        length -= here
        start = 0


def checksum(const uint8_t[::1] data not None):
    """The Internet checksum of `data`, less than 4 GiB, as a header holds it in network order."""
    cdef uint64_t total = 0
    if data.shape[0] > 0xFFFFFFFF:
        raise ValueError(f"{data.shape[0]} bytes: a checksum is of less than 2^32")
    if data.shape[0]:
        total = sum_words(&data[0], <uint32_t>data.shape[0])
    return ~swap16(fold(total)) & 0xFFFF
