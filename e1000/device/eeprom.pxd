"""The EEPROM, a 93C46 of 64 words, and the two ways to it: EECD moves its pins (§13.4.3), EERD asks for a word (§13.4.4)."""

from libc.stdint cimport uint16_t, uint32_t

cdef enum:
    EEPROM_WORDS = 64

cdef enum:                          # words that the card reads, and their bits (§5.6)
    CONTROL1 = 0x0A
    CONTROL1_DEVICE_ID = 1 << 0     # these words are what configuration space shows
    CONTROL1_SUBSYSTEM = 1 << 1
    CONTROL1_FD = 1 << 10
    CONTROL1_FRCSPD = 1 << 11
    SUBSYSTEM_WORD = 0x0B
    SUBSYSTEM_VENDOR_WORD = 0x0C
    DEVICE_ID_WORD = 0x0D
    VENDOR_ID_WORD = 0x0E
    CONTROL2 = 0x0F
    CONTROL2_APM_PME = 1 << 15
    CONTROL3 = 0x24
    CONTROL3_APM = 1 << 10

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
    """Whether the card loads anything from it: CONTROL1 carries 01 in its upper bits."""
    return eeprom.words[CONTROL1] >> 14 == 1
