"""Faults: what goes wrong in a card, from a seed."""

from libc.stdint cimport int64_t, uint32_t, uint64_t

from e1000.desc cimport Desc
from e1000.device.state cimport Card, WriteBack
from fastring.burst cimport Frame
from fastring.clock cimport Timer

cdef enum:
    LINK_FLAP
    LOST_INTERRUPT
    DELAYED_DMA
    SINGLE_COLLISION                # from here on, what befalls a packet that is sent
    MULTIPLE_COLLISIONS
    EXCESSIVE_COLLISIONS
    LATE_COLLISION
    DEFERRED
    NO_CARRIER
    FAULTS

cdef enum:
    GIVEN_UP = -2                   # what send_befallen returns besides `transmit`: the packet is done with, and nobody got it

ctypedef struct Befallen:           # the packet that is about to leave
    uint64_t random                 # the generator's state after it
    uint32_t faults                 # bits by SINGLE_COLLISION ...
    uint32_t collisions

ctypedef struct Plan:               # what Card.faults leads to. No state of the card: a snapshot does not hold it
    uint64_t rates[FAULTS]          # of 2^32
    uint64_t happened[FAULTS]
    uint64_t packets, interrupts, flaps     # generators' states: one for each sequence of events
    uint64_t write_backs[2]
    uint64_t between_flaps          # ns, at most
    int64_t flap_time, dma_delay    # ns
    bint early_interrupt
    bint lost                       # the card asserts its interrupt, and the host does not know
    bint cable_out
    Timer flap_timer
    WriteBack late[2]               # by ring: what the host will see when the delay is over
    uint32_t causes[2]              # and the interrupt that waits for it
    Befallen befallen
    uint64_t status                 # of the packet at the head that is being segmented, so far

cdef class Faults:
    cdef Plan plan
    cdef bint taken
    cdef uint64_t seed
    cdef dict given
    cdef int claim(self, object clock) except -1
    cdef void attach(self, Card* card) noexcept nogil

cdef void faults_cancel(Card* card) noexcept nogil
cdef void faults_reset(Card* card) noexcept nogil
cdef void faults_restored(Card* card) noexcept nogil
cdef bint is_heard(Card* card, bint up) noexcept nogil
cdef void assert_again(Card* card) noexcept nogil
cdef bint delay_write_back(Card* card, uint32_t which, Desc* ring, uint32_t slot, uint64_t word) noexcept nogil
cdef void end_delay(Card* card, uint32_t which) noexcept nogil
cdef int send_befallen(Card* card, Frame* frames, uint32_t n, uint32_t length, uint64_t* status) noexcept nogil


cdef inline bint has_cable(const Card* card) noexcept nogil:
    """Whether something is plugged in, and no flap has it out."""
    return card.wire != NULL and not (card.faults != NULL and (<Plan*>card.faults).cable_out)


cdef inline void settle(Card* card, uint32_t which) noexcept nogil:
    """Let the host see all that is written back: a ring stops, or the card is saved."""
    if card.faults != NULL:
        end_delay(card, which)


cdef inline void forget_late(Card* card, uint32_t which) noexcept nogil:
    """The ring is gone, and with it what was late; only the interrupt still comes."""
    if card.faults != NULL:
        (<Plan*>card.faults).late[which].count = 0


cdef inline uint32_t hold_causes(Card* card, uint32_t which, uint32_t causes) noexcept nogil:
    """An interrupt waits for the write-backs it tells of. Returns the causes that are left."""
    cdef Plan* plan = <Plan*>card.faults
    if plan == NULL or plan.early_interrupt or plan.late[which].count == 0:
        return causes
    plan.causes[which] |= causes
    return 0
