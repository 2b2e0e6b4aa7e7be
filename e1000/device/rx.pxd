"""The receive engine (§3.2): frames from the wire to descriptors."""

from libc.stdint cimport uint32_t

from e1000.device.state cimport Card
from fastring.burst cimport Frame

cdef int rx_receive(void* card, Frame* frames, int n, bint may_refuse) noexcept nogil
cdef void rx_tail_moved(Card* card) noexcept nogil
cdef void rx_configure(Card* card) noexcept nogil
cdef bint packet_buffer_is_possible(const Card* card) noexcept nogil
cdef void resize_packet_buffer(Card* card, uint32_t value) noexcept nogil
