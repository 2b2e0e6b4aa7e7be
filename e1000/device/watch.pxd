"""Watch: who looks at a card from outside. A card that nobody looks at has none, and pays one test an access."""

from libc.stdint cimport uint32_t

from e1000.device.state cimport Card

ctypedef struct Watch:              # each pointer NULL when that is off; all held by the E1000Device
    void* handlers                  # a Handlers: Python in place of registers

cdef uint32_t watched_read(Card* card, uint32_t offset) noexcept nogil
cdef void watched_write(Card* card, uint32_t offset, uint32_t value) noexcept nogil
