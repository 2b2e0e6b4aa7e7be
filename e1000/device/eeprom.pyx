"""The EEPROM as a chip on three wires: a bit is taken, or given, at each rising SK while CS is high.

An instruction is a start bit, two bits of opcode and six of address. What changes the chip happens when CS falls, and only when all
its bits came and EWEN allowed it; it takes no time, so DO says ready at once.
"""

from libc.stdint cimport uint16_t, uint32_t

from e1000.regs cimport (
    EECD_CS, EECD_DI, EECD_DO, EECD_FWE, EECD_FWE_DIS, EECD_GNT, EECD_PRES, EECD_REQ, EECD_SK, EERD_ADDR_SHIFT, EERD_DATA_SHIFT, EERD_DONE,
    EERD_START,
)

cdef enum:
    PINS = EECD_SK | EECD_CS | EECD_DI
    COMPLETE = 1 << 8               # an instruction, its start bit having moved up to here
    DATA_BITS = 16
    ALL_BITS = EEPROM_WORDS * DATA_BITS

cdef enum Opcode:                   # the two bits after the start bit
    EXTENDED
    WRITE
    READ
    ERASE

cdef enum Extended:                 # the address' upper two bits
    EWDS
    WRAL
    ERAL
    EWEN


cdef inline Opcode opcode(Eeprom* eeprom) noexcept nogil:
    return <Opcode>(eeprom.command >> 6 & 3)


cdef inline Extended extended(Eeprom* eeprom) noexcept nogil:
    return <Extended>(eeprom.command >> 4 & 3)


cdef inline uint32_t address(Eeprom* eeprom) noexcept nogil:
    return eeprom.command & (EEPROM_WORDS - 1)


cdef void clock_in(Eeprom* eeprom, bint bit) noexcept nogil:
    """One rising SK."""
    cdef uint32_t word
    if eeprom.command == 0:
        eeprom.command = bit                                # zeros before the start bit do nothing
    elif eeprom.command < COMPLETE:
        eeprom.command = eeprom.command << 1 | bit
        if eeprom.command >= COMPLETE:
            decode(eeprom)
    elif opcode(eeprom) == READ:                            # on to the next word after 16 bits, round and round
        word = eeprom.words[(address(eeprom) + eeprom.bits // DATA_BITS) % EEPROM_WORDS]
        eeprom.output = word >> (DATA_BITS - 1 - eeprom.bits % DATA_BITS) & 1
        eeprom.bits = (eeprom.bits + 1) % ALL_BITS
    elif eeprom.bits < DATA_BITS:
        eeprom.data = <uint16_t>(eeprom.data << 1 | bit)
        eeprom.bits += 1


cdef void decode(Eeprom* eeprom) noexcept nogil:
    """The last address bit is in."""
    eeprom.bits = 0
    if opcode(eeprom) == READ:
        eeprom.output = False                               # a dummy zero comes before D15
    elif opcode(eeprom) == EXTENDED and extended(eeprom) == EWEN:
        eeprom.writable = True
    elif opcode(eeprom) == EXTENDED and extended(eeprom) == EWDS:
        eeprom.writable = False


cdef void program(Eeprom* eeprom) noexcept nogil:
    """CS falls behind an instruction that changes the chip; without EWEN, or all of its bits, it changes nothing."""
    cdef uint32_t i, first = address(eeprom), count = 1
    cdef bint erase = opcode(eeprom) == ERASE
    if opcode(eeprom) == EXTENDED:
        if extended(eeprom) == EWEN or extended(eeprom) == EWDS:
            return
        erase = extended(eeprom) == ERAL
        first = 0
        count = EEPROM_WORDS
    if not eeprom.writable or not erase and eeprom.bits < DATA_BITS:
        return
    for i in range(first, first + count):
        eeprom.words[i] = 0xFFFF if erase else eeprom.data


cdef void drive(Eeprom* eeprom, uint32_t old, uint32_t pins) noexcept nogil:
    """The chip's pins change."""
    if old & EECD_CS and not pins & EECD_CS:
        if eeprom.command >= COMPLETE and opcode(eeprom) != READ:
            program(eeprom)
        eeprom.command = 0
        eeprom.output = True                                # let go, and pulled up: also what "ready" looks like
    elif old & EECD_CS and pins & EECD_SK and not old & EECD_SK:
        clock_in(eeprom, (pins & EECD_DI) != 0)


cdef inline uint32_t pins_of(uint32_t eecd) noexcept nogil:
    """What reaches the chip: nothing unless the host was granted it."""
    return eecd & PINS if eecd & EECD_REQ else 0


cdef uint32_t read_eecd(Eeprom* eeprom) noexcept nogil:
    """EECD: a request is granted at once; SIZE is 0, 64 words."""
    cdef uint32_t value = eeprom.eecd | EECD_PRES
    if eeprom.eecd & EECD_REQ:
        value |= EECD_GNT
    if eeprom.output:
        value |= EECD_DO
    return value


cdef void write_eecd(Eeprom* eeprom, uint32_t value) noexcept nogil:
    cdef uint32_t old = pins_of(eeprom.eecd)
    eeprom.eecd = value & (PINS | EECD_FWE | EECD_REQ)
    drive(eeprom, old, pins_of(eeprom.eecd))
    serve_eerd(eeprom)


cdef void write_eerd(Eeprom* eeprom, uint32_t value) noexcept nogil:
    """EERD: read a word; it waits until the host lets go of the pins (§13.4.4)."""
    eeprom.eerd = value & (EERD_START | 0xFF << EERD_ADDR_SHIFT)
    serve_eerd(eeprom)


cdef void serve_eerd(Eeprom* eeprom) noexcept nogil:
    cdef uint32_t wanted = eeprom.eerd >> EERD_ADDR_SHIFT & 0xFF
    if eeprom.eerd & EERD_START and not eeprom.eecd & EECD_REQ:
        # Six address bits reach the chip
        eeprom.eerd = wanted << EERD_ADDR_SHIFT | EERD_DONE | <uint32_t>eeprom.words[wanted % EEPROM_WORDS] << EERD_DATA_SHIFT


cdef void eeprom_reset(Eeprom* eeprom) noexcept nogil:
    """The card's side after a reset: pins let go. The chip has power all the while and keeps its words, and EWEN."""
    write_eecd(eeprom, EECD_FWE_DIS)
    eeprom.eerd = 0
    eeprom.output = True


cdef bint eeprom_is_possible(const Eeprom* eeprom) noexcept nogil:
    """Whether a chip can be in this state: for one that comes out of a snapshot."""
    return (eeprom.eecd & ~<uint32_t>(PINS | EECD_FWE | EECD_REQ) == 0 and eeprom.command < 2 * COMPLETE and eeprom.bits <= ALL_BITS
            and 0 <= eeprom.output <= 1 and 0 <= eeprom.writable <= 1)
