"""Flow control (§8.7): pause frames in both directions."""

from libc.stdint cimport int64_t, uint32_t

from e1000.device.state cimport Card

cdef enum:
    XON = 0                         # a pause of no time
    PAUSE_OPCODE = 1
    LONGEST_PAUSE = 3356            # ms: 65,535 quanta at 10 Mbit/s

cdef void flow_received(Card* card, bint pause, uint32_t quanta) noexcept nogil
cdef void flow_settle(Card* card) noexcept nogil
cdef void flow_send_by_software(Card* card) noexcept nogil
cdef void flow_check(Card* card) noexcept nogil
cdef void derive_flow(Card* card) noexcept nogil
cdef bint flow_is_possible(Card* card) noexcept nogil
cdef void flow_resume(Card* card, int64_t length) noexcept nogil
cdef void flow_reset(Card* card) noexcept nogil
