"""A turn of serving cards, without Python: messages, frames and timers, until nothing has happened for a while."""

from libc.stdint cimport int64_t
from libc.stdlib cimport free, malloc

from e1000.vfio_user.channel cimport Channel
from e1000.vfio_user.monotonic cimport now
from e1000.vfio_user.served cimport ServedCard
from fastring.clock cimport Clock

cdef enum:
    BUDGET = 64                     # messages, and packets, of a card before the next one's turn


cdef struct Place:
    void* card                      # ServedCard
    void* channel                   # its Channel, or NULL: no client


cdef bint go_round(Place* places, int cards, void** clocks, int count, bint* attention) noexcept nogil:
    """Let each card and clock do what there is to do, bounded. Returns whether that was anything."""
    cdef bint busy = False
    cdef int i, done
    for i in range(cards):
        if places[i].channel != NULL:
            done = (<ServedCard>places[i].card).serve(<Channel>places[i].channel, BUDGET)
            busy |= done != 0
            attention[0] |= done < 0
        if (<ServedCard>places[i].card).poll_wire(BUDGET):
            busy = True
        attention[0] |= (<ServedCard>places[i].card).has_error()
    for i in range(cards):              # after all of them moved packets: a doorbell's card may have been another's wire
        busy |= (<ServedCard>places[i].card).take_doorbells(not busy)
    for i in range(count):
        if (<Clock>clocks[i]).run_timers():
            busy = True
    return busy


def take_turn(list cards not None, list clocks not None, int64_t spin, int64_t most):
    """Serve `cards` (ServedCards) and run `clocks`, until nothing has happened for `spin` ns, or for `most` ns; or one needs attention.

    That is: its client is gone, or its line has an error to raise. Returns whether it went idle. Raises what a timer in Python did.
    """
    cdef int i, count = <int>len(cards), ticking = <int>len(clocks)
    cdef Place* places = <Place*>malloc((count + 1) * sizeof(Place))
    cdef void** running = <void**>malloc((ticking + 1) * sizeof(void*))
    cdef int64_t began = now(), last = began, time = began
    cdef bint attention = False
    cdef ServedCard card
    _kept = [(<ServedCard?>one).channel for one in cards]        # whoever hangs up meanwhile
    try:
        if places == NULL or running == NULL:
            raise MemoryError()
        for i in range(count):
            card = cards[i]
            places[i].card = <void*>card
            places[i].channel = NULL if card.channel is None else <void*>card.channel
        for i in range(ticking):
            running[i] = <void*><Clock?>clocks[i]
        with nogil:
            while not attention and time - last < spin and time - began < most:
                if go_round(places, count, running, ticking, &attention):
                    last = now()
                    time = last
                else:
                    time = now()
    finally:
        free(places)
        free(running)
    for clock in clocks:
        (<Clock>clock)._raise_error()
    return not attention and time - last >= spin
