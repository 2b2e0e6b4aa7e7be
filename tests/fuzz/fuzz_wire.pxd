"""The far end of the card's cable, and what must hold whatever is done to a card."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from e1000.device.state cimport Card
from fastring.burst cimport Frame
from fastring.wire cimport Wire

cdef class FuzzWire(Wire):
    cdef uint32_t places            # packets it takes before it is full
    cdef bint echo                  # what is sent comes back
    cdef uint64_t echoed            # packets that did
    cdef uint32_t acts              # actions that happen inside of the next transmission
    cdef bint (*act)() noexcept nogil       # one of them; whether there may be another
    cdef uint64_t sent              # packets taken
    cdef void arrive(self, Card* card, const uint8_t* packets, const uint32_t* lengths, uint32_t count, uint32_t pieces,
                     uint32_t errors, bint may_refuse) noexcept nogil

cdef void check(bint holds, const char* what) noexcept nogil
cdef void check_card(const Card* card) noexcept nogil
