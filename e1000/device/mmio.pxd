"""Register accesses in BAR0."""

from libc.stdint cimport uint32_t, uint64_t

from e1000.device.state cimport Card

cdef uint32_t mmio_read(Card* card, uint32_t offset) noexcept nogil
cdef void mmio_write(Card* card, uint32_t offset, uint32_t value) noexcept nogil
cdef uint32_t register_read(Card* card, uint32_t offset) noexcept nogil
cdef void register_write(Card* card, uint32_t offset, uint32_t value) noexcept nogil
cdef uint64_t register_peek(Card* card, uint32_t offset) noexcept nogil
cdef void kick_tx(Card* card) noexcept nogil
cdef void kick_rx(Card* card) noexcept nogil
cdef void derive(Card* card) noexcept nogil
cdef bint registers_are_possible(const Card* card) noexcept nogil
