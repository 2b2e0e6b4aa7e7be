"""Interrupt causes and the line (§13.4.17 to 13.4.21), or messages in its place."""

from libc.stdint cimport uint32_t

from e1000.device.state cimport Card
from fastring.irq cimport IrqLine


cdef void update_message(Card* card) noexcept nogil


cdef inline void update_line(Card* card) noexcept nogil:
    """The line is up while an unmasked cause is pending, unless configuration space disables it."""
    if card.msi:
        update_message(card)
    elif card.irq != NULL:
        (<IrqLine>card.irq).set_level((card.icr & card.ims & card.intx_mask) != 0)


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
