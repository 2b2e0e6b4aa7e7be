"""A card's whole state as bytes, and back."""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from e1000.device.state cimport FIFO_SIZE, Card

cdef enum:
    VERSION = 1

ctypedef struct Snapshot:           # little-endian, as the card's own structs are
    uint8_t magic[8]
    uint32_t version
    uint32_t size                   # of all of it
    uint64_t layout                 # fingerprint of the structs and enums a Card is made of
    uint32_t cable                  # one was plugged in
    uint32_t checksum               # CRC-32 of all that follows
    int64_t link_wait, tx_wait, pause_wait      # ns until that timer fires; NEVER: not armed
    uint8_t fifo[FIFO_SIZE]
    Card card                       # its times relative to now; what belongs to the process is zero

cdef enum Refusal:                  # why a card cannot be restored, or saved
    ACCEPTED
    NO_SNAPSHOT
    OTHER_VERSION
    OTHER_LAYOUT
    OTHER_SIZE
    DAMAGED
    BAD_PROCESS                     # what is always zero is not
    BAD_REGISTERS
    BAD_RINGS
    BAD_FIFO
    BAD_EEPROM
    BAD_PHY
    BAD_PCI
    BAD_LINK
    BAD_WRITE_BACK
    BAD_TIMES
    NO_CLOCK
    BUSY
    REFUSALS

cdef bytes take_snapshot(Card* card, object device)
cdef int restore_snapshot(Card* card, object snapshot, object device) except -1
cdef uint32_t checksum(const Snapshot* snapshot) noexcept nogil
cdef Refusal save(const Card* card, Snapshot* snapshot) noexcept nogil
cdef Refusal load(Card* card, const uint8_t* content, uint64_t size, Card* scratch) noexcept nogil
