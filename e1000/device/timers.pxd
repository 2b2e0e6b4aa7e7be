"""A card's timers on its clock: the link's, a pause's, the transmitter's, and the one that all of moderation shares."""

from libc.stdint cimport int64_t

from e1000.device.state cimport NEVER, Card
from fastring.clock cimport Clock, Timer, timer_handler


cdef inline void arm_timer(Card* card, Timer* timer, timer_handler handler, int64_t delay) noexcept nogil:
    """Call `handler` with the card in so many ns, or when time ends; on the card's clock, which it must have."""
    cdef int64_t now = (<Clock>card.clock).now()
    timer.handler = handler
    timer.context = card
    (<Clock>card.clock).arm(timer, now + delay if now <= NEVER - delay else NEVER)


cdef inline void cancel_timer(Card* card, Timer* timer) noexcept nogil:
    """Take it off the clock, if it is there. The clock's thread."""
    if card.clock != NULL:
        (<Clock>card.clock).cancel(timer)


cdef inline void cancel_timers(Card* card) noexcept nogil:
    """All of them: before its clock is taken away, or before it becomes another card."""
    cancel_timer(card, &card.link_timer)
    cancel_timer(card, &card.pause_timer)
    cancel_timer(card, &card.tx_timer)
    cancel_timer(card, &card.wait_timer)
