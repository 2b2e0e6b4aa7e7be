"""A card that is stopped: no engine runs, no timer, nothing arrives; registers answer. For migration.

What engines would have done is noted in `stalled`, whose owner starts them later. A lossless wire is held up; what another brings is
counted as dropped. Time stands still: what is waited for has as long to go afterwards.
"""

from libc.stdint cimport int64_t, uint32_t

from e1000.device.flow cimport flow_resume
from e1000.device.link cimport link_resume
from e1000.device.lock cimport lock_card, unlock_card
from e1000.device.moderation cimport moderation_resume
from e1000.device.state cimport NEVER, STALL_STOPPED, WAITS, Card, DeviceLock
from e1000.device.timers cimport cancel_timers
from e1000.device.tx cimport tx_resume
from fastring.clock cimport Clock, Timer


cdef inline int64_t left(const Timer* timer, int64_t now) noexcept nogil:
    if not timer.armed:
        return NEVER
    return timer.deadline - now if timer.deadline > now else 0


cdef void stop_card(Card* card, Standstill* still) noexcept nogil:
    """Stop it, between two runs of its engines. The clock's thread."""
    cdef DeviceLock* lock = lock_card(card)
    cdef int i
    still.since = (<Clock>card.clock).now() if card.clock != NULL else 0
    still.link_wait = left(&card.link_timer, still.since)
    still.tx_wait = left(&card.tx_timer, still.since)
    still.pause_wait = left(&card.pause_timer, still.since)
    for i in range(WAITS):
        still.deadlines[i] = card.deadlines[i]
    still.interrupted = card.interrupted
    still.generation = card.generation
    cancel_timers(card)
    card.stalled |= STALL_STOPPED
    unlock_card(lock)


cdef void start_card(Card* card, const Standstill* still) noexcept nogil:
    """Let it go on. What registers were told meanwhile stays. Engines are the caller's to start: `stalled` says which."""
    cdef DeviceLock* lock = lock_card(card)
    cdef int64_t elapsed
    cdef int i
    card.stalled &= ~<uint32_t>STALL_STOPPED
    if card.clock != NULL:
        elapsed = (<Clock>card.clock).now() - still.since
        for i in range(WAITS):
            if card.deadlines[i] != NEVER and card.deadlines[i] == still.deadlines[i]:
                card.deadlines[i] += elapsed
        if card.interrupted == still.interrupted and card.interrupted < NEVER - elapsed:
            card.interrupted += elapsed
        moderation_resume(card)
        if still.link_wait != NEVER and not card.link_timer.armed:
            link_resume(card, still.link_wait)
        if card.generation == still.generation:
            if still.tx_wait != NEVER and not card.tx_timer.armed:
                tx_resume(card, still.tx_wait)
            if still.pause_wait != NEVER and not card.pause_timer.armed:
                flow_resume(card, still.pause_wait)
    unlock_card(lock)
