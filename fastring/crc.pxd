"""Ethernet's CRC-32 (IEEE 802.3 §3.2.9)."""

from libc.stdint cimport uint8_t, uint32_t

from fastring.burst cimport Frame

cdef uint32_t crc32_update(uint32_t crc, const uint8_t* data, uint32_t length) noexcept nogil
cdef void crc32_frame(const Frame* pieces, int n, uint8_t* fcs) noexcept nogil
