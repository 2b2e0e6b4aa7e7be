"""FaultyWire: what goes wrong on a cable, from a seed."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from fastring.burst cimport Frame
from fastring.wrapper cimport WrapperWire

cdef enum:
    BAD_CRC
    ALIGNMENT
    SYMBOL_ERROR
    RX_ERROR
    SEQUENCE_ERROR
    CARRIER_ERROR
    RUNT
    FRAGMENT
    OVERSIZE
    JABBER
    BAD_CHECKSUM
    LOST
    FAULTS


cdef inline uint64_t splitmix64(uint64_t* state) noexcept nogil:
    """The next number of a generator that any state starts."""
    cdef uint64_t z
    state[0] += 0x9E3779B97F4A7C15ull
    z = state[0]
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9ull
    z = (z ^ z >> 27) * 0x94D049BB133111EBull
    return z ^ z >> 31


cdef inline bint happens(uint64_t* state, uint64_t rate) noexcept nogil:
    """Whether a fault of `rate`, of 2^32, happens: one number, whatever the rate."""
    return splitmix64(state) >> 32 < rate


cdef class FaultyWire(WrapperWire):
    cdef uint64_t random, chance    # the generator's state; what it said last of how
    cdef uint64_t rates[FAULTS]     # of 2^32
    cdef uint64_t happened[FAULTS]
    cdef uint8_t* copy              # of the packet that a fault befalls
    cdef uint32_t choose(self) noexcept nogil
    cdef void gather(self, Frame* whole, const Frame* pieces, int n) noexcept nogil
    cdef void count(self, uint32_t faults) noexcept nogil
    cdef void spoil(self, Frame* frame, uint32_t length, uint32_t faults) noexcept nogil
