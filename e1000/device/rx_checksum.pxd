"""Checksums of received packets (§3.2.9)."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from e1000.device.state cimport Card
from fastring.burst cimport Frame

cdef uint64_t checksum_bits(Card* card, const uint8_t* header, uint32_t have, const Frame* pieces, int n, uint32_t length,
                            uint32_t stripped, const uint8_t* crc) noexcept nogil
