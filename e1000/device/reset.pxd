"""The card's registers at power-up and after a reset."""

from libc.stdint cimport uint32_t

from e1000.device.state cimport REG_WORDS, Card

cdef uint32_t RESET[REG_WORDS]
cdef bint STICKY[REG_WORDS]         # kept by a reset

cdef void power_up(Card* card) noexcept nogil
cdef void card_reset(Card* card) noexcept nogil
cdef void load_eeprom(Card* card) noexcept nogil
cdef void update_addresses(Card* card) noexcept nogil
cdef uint32_t buffer_size(uint32_t rctl) noexcept nogil
