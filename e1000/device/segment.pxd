"""Segmentation (§3.5): one packet of the host's becomes many on the wire."""

from libc.stdint cimport uint32_t

from e1000.desc cimport Desc
from e1000.device.gather cimport Batch
from e1000.device.state cimport Card

cdef uint32_t send_segments(Card* card, Desc* ring, uint32_t count, uint32_t tail, Batch* batch) noexcept nogil
