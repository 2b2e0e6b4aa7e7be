"""The Internet checksum (RFC 1071) of packets in pieces, and of bytes from Python."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t


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
