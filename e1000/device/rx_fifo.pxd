"""The receive FIFO: frames that wait for descriptors."""

from libc.stdint cimport uint8_t, uint32_t

from e1000.device.arrival cimport Arrival
from e1000.device.rx_store cimport Ring, Room
from e1000.device.state cimport Card

cdef void to_fifo(Card* card, Ring* ring, const Arrival* frame, Room room) noexcept nogil
cdef void drain_fifo(Card* card, Ring* ring) noexcept nogil
cdef void empty_fifo(Card* card) noexcept nogil
cdef void resize_fifo(Card* card, uint32_t size) noexcept nogil
cdef bint fifo_is_possible(const Card* card, const uint8_t* fifo) noexcept nogil
