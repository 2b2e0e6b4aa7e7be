"""A card that is stopped: no engine runs, no timer, nothing arrives; registers answer."""

from libc.stdint cimport int64_t, uint32_t

from e1000.device.state cimport WAITS, Card

ctypedef struct Standstill:         # what goes on later
    int64_t since
    int64_t link_wait, tx_wait, pause_wait      # ns until that timer fires; NEVER: not armed
    int64_t deadlines[WAITS]
    int64_t interrupted
    uint32_t generation

cdef void stop_card(Card* card, Standstill* still) noexcept nogil
cdef void start_card(Card* card, const Standstill* still) noexcept nogil
