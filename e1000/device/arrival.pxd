"""A frame at the door of the receive engine: what it is, whether it passes, and what of it is counted."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

from e1000.device.state cimport DROP_REASONS, Card
from e1000.regs cimport CRC_LENGTH
from fastring.burst cimport Frame

cdef enum:
    HEADER = 512                    # bytes of a frame that filters and checksums look at
    TYPE_OFFSET = 12                # of the Ethernet type
    TAG_LENGTH = 4
    PASSES = DROP_REASONS           # where other fates are drop reasons

cdef enum Control:                  # MAC control frames (§8.7.3), recognised while CTRL.RFCE is set
    NO_CONTROL
    PAUSE
    OTHER_CONTROL

ctypedef struct Arrival:
    Frame* pieces
    int count
    uint32_t length                 # bytes on the wire, without CRC
    uint32_t errors                 # FRAME_ERRORS of any of its pieces
    const uint8_t* header           # its first bytes, contiguous
    uint32_t header_length          # of them: HEADER or the whole frame; zeroes follow a short one
    uint64_t destination            # address, first byte lowest
    uint32_t match                  # what the address filter says
    Control control
    int broken                      # what makes it a bad frame: a drop reason, or PASSES
    int fate                        # PASSES, or the reason to drop it
    uint32_t stripped               # bytes of VLAN tag that the host gets in the descriptor
    uint64_t word                   # descriptor's second word but for the length and EOP
    uint8_t crc[CRC_LENGTH]         # what is stored behind it, unless RCTL.SECRC strips that
    uint8_t copy[HEADER]            # of the header, when the pieces split it

cdef void look_at(Arrival* frame, Frame* pieces, int n) noexcept nogil
cdef void judge(Card* card, Arrival* frame) noexcept nogil
cdef void count_arrival(Card* card, const Arrival* frame, uint32_t* causes) noexcept nogil


cdef inline uint32_t load_type(const uint8_t* field) noexcept nogil:
    """An Ethernet type as it lies in memory, to compare with Card.vlan_type and control_type."""
    return field[0] | <uint32_t>field[1] << 8


cdef inline uint32_t load_be16(const uint8_t* field) noexcept nogil:
    return <uint32_t>field[0] << 8 | field[1]


cdef inline uint64_t load_address(const uint8_t* field) noexcept nogil:
    """Six bytes of a station address, first byte lowest."""
    cdef uint64_t address = 0
    memcpy(&address, field, 6)
    return address
