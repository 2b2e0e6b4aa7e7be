"""Busy polling: who waits for packets polls the NAPI himself instead of waiting for its interrupt (napi_busy_loop).

The poller has SCHED, and IN_BUSY_POLL lets nobody complete. So the interrupt handler, which masks its device, cannot schedule and only
leaves MISSED; the last poll completes, and unmasks.
"""

import errno

from libc.stdint cimport uint32_t, uint64_t

from fastring.atomic cimport compare_exchange32, fetch_and32, fetch_or32, load_acquire32
from fastring.napi cimport NAPI_DISABLE, NAPI_IN_BUSY_POLL, NAPI_MISSED, NAPI_PREFER_BUSY_POLL, NAPI_SCHED, Napi

BUSY_POLL_BUDGET = 8


def napi_busy_loop(Napi napi not None, loop_end=None, *, bint prefer_busy_poll=False, int budget=BUSY_POLL_BUDGET):
    """Poll `napi` from here until `loop_end()` says True, or once without it; returns how many packets that received.

    Whoever polls it at the moment is left to it. Between two polls the softirq runs and timers fire. `prefer_busy_poll`: with its
    defer_hard_irqs and gro_flush_timeout the interrupt stays masked until that timer, so that one busy poll can follow the other
    without one. Any thread that may fire the clock's timers. Raises what a poll raised; OSError EDEADLK from inside the softirq.
    """
    cdef bint mine = False, ended = False
    cdef uint64_t before = napi.busy_packets
    if budget < 1:
        raise ValueError(f"a budget is at least 1 packet, not {budget}")
    if napi.softirq is None:
        return 0                    # napi_by_id finds nothing
    if napi.softirq.inside():
        raise OSError(errno.EDEADLK, "busy polling is for who waits for the softirq, not for what runs inside it")
    try:
        while not ended:
            mine = round_of(napi, mine, prefer_busy_poll, budget)
            ended = loop_end is None or napi.error is not None or bool(loop_end())
    finally:
        if mine:
            napi.softirq.hold()
            with nogil:
                stop(napi, budget, prefer_busy_poll)
                napi.softirq.let_go(True)
    if napi.error is not None:
        raise_error(napi)
    return napi.busy_packets - before


cdef int raise_error(Napi napi) except -1:
    """What a poll left there: polls leave it holding the CPU."""
    cdef bint held = napi.softirq.hold()
    error, napi.error = napi.error, None
    napi.softirq.let_go(held)
    if error is not None:
        raise error
    return 0


cdef bint round_of(Napi napi, bint mine, bint prefer, int budget) except -1:
    """One poll, if it can be had, and what comes between two. Returns whether it is the caller's now."""
    napi.softirq.hold()
    with nogil:
        mine = mine or take(napi, prefer)
        if mine:
            napi.busy_packets += napi.poll_clamped(budget)
        napi.softirq.let_go(True)
        napi.clock.run_timers()
        napi.softirq.run()              # local_bh_enable
    napi.clock._raise_error()
    return mine


cdef bint take(Napi napi, bint prefer) noexcept nogil:
    """Take SCHED; if another has it, let him know that busy polling is preferred."""
    cdef uint32_t state = load_acquire32(&napi.state)
    if not state & (NAPI_DISABLE | NAPI_SCHED | NAPI_IN_BUSY_POLL):
        if compare_exchange32(&napi.state, &state, state | NAPI_IN_BUSY_POLL | NAPI_SCHED):
            return True
    if prefer:
        fetch_or32(&napi.state, NAPI_PREFER_BUSY_POLL)
    return False


cdef void stop(Napi napi, int budget, bint prefer) noexcept nogil:
    """Poll once more, to complete: an interrupt that came meanwhile could not schedule it, and is masked (busy_poll_stop)."""
    cdef bint timed = False
    cdef int work
    fetch_and32(&napi.state, ~<uint32_t>(NAPI_MISSED | NAPI_IN_BUSY_POLL))
    if prefer:
        napi.deferrals_left = napi.deferrals
        if napi.deferrals_left and napi.flush_timeout:
            napi.softirq.start_timer(napi, napi.clock.now() + napi.flush_timeout)
            timed = True
    work = napi.poll_clamped(budget)
    napi.busy_packets += work
    if work < budget:
        return
    if not timed:
        napi.softirq.enqueue(napi)
        return
    if napi.gro_context is not None and napi.gro_context.held:
        napi.gro_context.flush_held(True)
    fetch_and32(&napi.state, ~<uint32_t>NAPI_SCHED)         # the timer takes it again
