"""Ethernet's CRC-32 (IEEE 802.3 §3.2.9), eight bytes a step by tables.

zlib's would do, but only as a build dependency or with a Python object a frame.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

cdef uint32_t TABLE[8][256]


cdef void fill_table() noexcept:
    """TABLE[j][b]: byte b followed by j zero bytes."""
    cdef uint32_t i, j, _j, crc
    for i in range(256):
        crc = i
        for _j in range(8):
            crc = crc >> 1 ^ (0xEDB88320u if crc & 1 else 0)
        TABLE[0][i] = crc
    for i in range(256):
        for j in range(1, 8):
            TABLE[j][i] = TABLE[j - 1][i] >> 8 ^ TABLE[0][TABLE[j - 1][i] & 0xFF]


fill_table()


cdef uint32_t crc32_update(uint32_t crc, const uint8_t* data, uint32_t length) noexcept nogil:
    """Go on with a CRC over more bytes; begin with 0. The same as zlib's crc32."""
    cdef uint64_t word
    crc = ~crc
    while length >= 8:
        memcpy(&word, data, 8)
        word ^= crc
        crc = (TABLE[7][word & 0xFF] ^ TABLE[6][word >> 8 & 0xFF] ^ TABLE[5][word >> 16 & 0xFF] ^ TABLE[4][word >> 24 & 0xFF]
               ^ TABLE[3][word >> 32 & 0xFF] ^ TABLE[2][word >> 40 & 0xFF] ^ TABLE[1][word >> 48 & 0xFF] ^ TABLE[0][word >> 56])
        data += 8
        length -= 8
    while length:
        crc = crc >> 8 ^ TABLE[0][(crc ^ data[0]) & 0xFF]
        data += 1
        length -= 1
    return ~crc


cdef void crc32_frame(const Frame* pieces, int n, uint8_t* fcs) noexcept nogil:
    """The four FCS bytes of a frame in n pieces, in the order they are on the wire."""
    cdef uint32_t crc = 0
    cdef int i
    for i in range(n):
        crc = crc32_update(crc, pieces[i].data, pieces[i].len)
    memcpy(fcs, &crc, 4)


def crc32(const uint8_t[::1] data not None, uint32_t value=0):
    """CRC-32 of `data`, going on from `value`; equals zlib.crc32."""
    if data.shape[0] == 0:
        return value
    return crc32_update(value, &data[0], data.shape[0])
