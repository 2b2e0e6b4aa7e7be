"""Wake-up (§12.3, §13.6): packets and link changes that wake a sleeping host."""

from libc.stdint cimport uint32_t

from e1000.device.state cimport Card
from fastring.burst cimport Frame

cdef void wake_by_frames(Card* card, Frame* frames, int n) noexcept nogil
cdef void wake_by_link(Card* card) noexcept nogil
cdef bint pme_asserted(Card* card) noexcept nogil
cdef uint32_t read_wuc(Card* card) noexcept nogil
cdef void write_wuc(Card* card, uint32_t value) noexcept nogil
