"""Interrupts as messages (MSI, §4.1.3.1), when one may come (ITR, §13.4.18), and what the card waits for."""

from libc.stdint cimport int64_t
from libc.string cimport memcpy

from e1000.device.pci cimport received_master_abort
from e1000.device.state cimport NEVER, WAIT_THROTTLE, Card
from e1000.regs cimport ITR
from fastring.atomic cimport fence_full
from fastring.clock cimport Clock
from fastring.irq cimport IrqLine
from fastring.memory cimport translate

cdef enum:
    ITR_UNIT = 256                  # ns


cdef void update_message(Card* card, bint pending) noexcept nogil:
    """Send one message when an unmasked cause becomes pending: a 32-bit write to host memory, behind all data written before."""
    cdef unsigned char* target
    if pending and not card.pci.msi_sent and not host_takes_message(card):
        target = translate(card.iovas, card.pci.msi_address, 4, True, &card.pci.msi_hint)
        if target == NULL:
            received_master_abort(card)
        else:
            fence_full()
            memcpy(target, &card.pci.msi_data, 4)
    card.pci.msi_sent = pending


cdef bint host_takes_message(Card* card) noexcept nogil:
    """Whether the host has its own way for messages, and took this one."""
    return card.irq != NULL and (<IrqLine>card.irq).take_message(card.pci.msi_address, card.pci.msi_data)


cdef bint throttled(Card* card) noexcept nogil:
    """Whether an interrupt that is about to begin must wait until the interval since the last one is over; then it is waited for.

    The interval is always ITR's present one: a shorter one, or 0, lets go at once what a longer one held.
    """
    cdef int64_t interval = <int64_t>ITR_UNIT * card.regs[ITR >> 2], now
    if card.clock == NULL:
        return False
    now = (<Clock>card.clock).now()
    if now - interval >= card.interrupted or card.interrupted >= NEVER - interval:      # or time ends before
        card.interrupted = now
        return False
    wait_until(card, WAIT_THROTTLE, card.interrupted + interval)
    return True


cdef void wait_until(Card* card, int wait, int64_t deadline) noexcept nogil:
    """Wait on the clock, in place of what was waited for before. The timer may be early: it looks again.

    A DeviceThread looks by itself: timers belong to the clock's thread.
    """
    card.deadlines[wait] = deadline
    if not card.threaded and deadline != NEVER and (not card.wait_timer.armed or card.wait_timer.deadline > deadline):
        (<Clock>card.clock).arm(&card.wait_timer, deadline)
