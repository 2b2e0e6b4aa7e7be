"""The transmit engine (§3.3): descriptors to frames on the wire."""

from libc.stdint cimport int64_t, uint32_t

from e1000.device.state cimport Card
from e1000.regs cimport CRC_LENGTH, MIN_FRAME
from fastring.burst cimport Frame

cdef enum:
    SHORTEST = MIN_FRAME - CRC_LENGTH
    RING_GONE = -1
    TX_PAUSE = 1000                 # ns until a run goes on with what it owes, others being served meanwhile

cdef void tx_run(Card* card) noexcept nogil
cdef void tx_resume(Card* card, int64_t delay) noexcept nogil
cdef int transmit(Card* card, Frame* frames, uint32_t n) noexcept nogil
cdef uint32_t group_address(const Frame* frame) noexcept nogil
