"""Interrupt causes and the line (§13.4.17 to 13.4.21), or messages in its place; throttling (ITR, §13.4.18)."""

from libc.stdint cimport int64_t, uint32_t

from e1000.device.faults cimport is_heard
from e1000.device.state cimport Card
from e1000.regs cimport ITR
from fastring.irq cimport IrqLine


cdef void update_message(Card* card, bint pending) noexcept nogil
cdef bint throttled(Card* card) noexcept nogil
cdef void wait_until(Card* card, int wait, int64_t deadline) noexcept nogil


cdef inline void update_line(Card* card) noexcept nogil:
    """The line is up while an unmasked cause is pending, unless configuration space disables it, or ITR wants it to wait."""
    cdef uint32_t causes = card.icr & card.ims
    cdef bint up, heard
    if not card.msi:
        causes &= card.intx_mask
    up = causes != 0
    if up and not card.interrupting and card.regs[ITR >> 2]:
        up = not throttled(card)
    heard = up if card.faults == NULL else is_heard(card, up)
    card.interrupting = up
    if card.msi:
        update_message(card, heard)
    elif card.irq != NULL:
        (<IrqLine>card.irq).set_level(heard)


cdef inline void raise_cause(Card* card, uint32_t causes) noexcept nogil:
    """Set causes in ICR."""
    card.icr |= causes
    update_line(card)


cdef inline uint32_t read_icr(Card* card) noexcept nogil:
    """Read ICR: the read clears it, so the line drops at once."""
    cdef uint32_t causes = card.icr
    card.icr = 0
    update_line(card)
    return causes
