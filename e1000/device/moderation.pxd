"""Interrupt moderation: RDTR and RADV, RSRPD, TIDV and TADV (§3.2.7, §3.4.3, §13.4.30 to 13.4.32, §13.4.41, §13.4.44)."""

from libc.stdint cimport int64_t, uint32_t, uint64_t

from e1000.desc cimport TXD_CMD_IDE
from e1000.device.faults cimport hold_causes
from e1000.device.interrupt cimport raise_cause
from e1000.device.state cimport NEVER, WAIT_TX_PACKET, WAITS, Card
from e1000.device.watch cimport RING_RX, RING_TX
from e1000.regs cimport ICR_SRPD, ICR_TXDW, RDTR, RSRPD

cdef enum:                          # beside the causes of ICR_*
    TXDW_LATER = 1 << 30            # written back, interrupt delay enabled
    TXDW_KEPT = 1 << 29             # to be written back

cdef void moderation_reset(Card* card) noexcept nogil
cdef void moderation_resume(Card* card) noexcept nogil
cdef void expire_waits(Card* card) noexcept nogil
cdef uint32_t delay_receive(Card* card, uint32_t causes) noexcept nogil
cdef uint32_t delay_transmit(Card* card, uint32_t causes) noexcept nogil
cdef uint32_t keep_sent(Card* card, uint32_t slot, uint64_t word, uint32_t causes) noexcept nogil
cdef void derive_moderation(Card* card) noexcept nogil
cdef void times_to_waits(Card* card, int64_t now) noexcept nogil
cdef void waits_to_times(Card* card, int64_t now) noexcept nogil
cdef bint waits_are_possible(const Card* card) noexcept nogil
cdef void write_moderation(Card* card, uint32_t offset, uint32_t value) noexcept nogil


cdef inline bint waits(const Card* card) noexcept nogil:
    """Whether anything has a deadline."""
    cdef int i
    for i in range(WAITS):
        if card.deadlines[i] != NEVER:
            return True
    return False


cdef inline void raise_written(Card* card, uint32_t which, uint32_t causes) noexcept nogil:
    """Raise causes that tell of a ring's write-backs: if a fault delays those, behind them."""
    if card.faults != NULL:
        causes = hold_causes(card, which, causes)
    if causes:
        raise_cause(card, causes)


cdef inline void raise_receive(Card* card, uint32_t causes) noexcept nogil:
    """Raise a receive burst's causes. RXT0 says that something was stored: it waits if RDTR says so."""
    if card.regs[RDTR >> 2]:
        causes = delay_receive(card, causes)
    raise_written(card, RING_RX, causes)


cdef inline uint32_t small_packet(const Card* card, uint32_t size) noexcept nogil:
    """The cause for a packet of `size` bytes as stored (§3.2.7.2)."""
    return ICR_SRPD if size <= card.regs[RSRPD >> 2] else 0


cdef inline uint32_t written_back(uint64_t word, uint32_t causes) noexcept nogil:
    """The causes after one more transmit descriptor with RS: TXDW at once unless it has IDE (§3.3.3.1)."""
    return causes | TXDW_LATER if word & TXD_CMD_IDE else causes & ~<uint32_t>TXDW_LATER | ICR_TXDW


cdef inline void raise_transmit(Card* card, uint32_t causes) noexcept nogil:
    """Raise a transmit burst's causes, those of `written_back` among them."""
    if causes & (TXDW_LATER | TXDW_KEPT) or card.deadlines[WAIT_TX_PACKET] != NEVER:
        causes = delay_transmit(card, causes)
    raise_written(card, RING_TX, causes)
