"""The EEPROM, a 93C46 of 64 words, and the two ways to it: EECD moves its pins (§13.4.3), EERD asks for a word (§13.4.4)."""

from libc.stdint cimport uint16_t, uint32_t

cdef enum:
    EEPROM_WORDS = 64

ctypedef struct Eeprom:
    uint16_t words[EEPROM_WORDS]
    uint32_t eecd                   # as the host wrote it: its pins, REQ, and FWE, which is the flash's
    uint32_t eerd                   # START stays while the host holds the pins
    # The chip, between two clocks
    uint32_t command                # start bit and what followed it; complete from 1 << 8 on, 0 before the start bit
    uint32_t bits                   # data bits shifted since
    uint16_t data                   # those shifted in
    bint output                     # level of DO
    bint writable                   # EWEN came last, not EWDS

cdef void eeprom_reset(Eeprom* eeprom) noexcept nogil
cdef bint eeprom_is_possible(const Eeprom* eeprom) noexcept nogil
cdef uint32_t read_eecd(Eeprom* eeprom) noexcept nogil
cdef void write_eecd(Eeprom* eeprom, uint32_t value) noexcept nogil
cdef void write_eerd(Eeprom* eeprom, uint32_t value) noexcept nogil


cdef inline bint eeprom_is_signed(Eeprom* eeprom) noexcept nogil:
    """Whether the card loads anything from it: word 0x0A carries 01 in its upper bits (§5.6)."""
    return eeprom.words[0x0A] >> 14 == 1
