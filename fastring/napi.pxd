"""Napi: the poll contract of NAPI, its state bits, GRO's flush and the interrupts that are put off."""

from libc.stdint cimport int64_t, uint32_t, uint64_t

from fastring.clock cimport Clock, Timer
from fastring.gro cimport GroContext
from fastring.kthread cimport Kthread

cdef enum:                          # Napi.state: the kernel's NAPIF_STATE_* bits
    NAPI_SCHED = 1 << 0             # to be polled, or being polled, or owned by disable()
    NAPI_MISSED = 1 << 1            # scheduled again while scheduled
    NAPI_DISABLE = 1 << 2           # disable() is waiting
    NAPI_NPSVC = 1 << 3             # owned by disable(): complete_done does nothing
    NAPI_IN_BUSY_POLL = 1 << 6      # busy_poll() owns it
    NAPI_PREFER_BUSY_POLL = 1 << 7  # whoever busy-polls is to have it rather than the softirq
    NAPI_THREADED = 1 << 8          # polled by its own thread
    NAPI_SCHED_THREADED = 1 << 9    # scheduled for that thread


cdef enum:                          # what an observer is told, in the order of EVENTS
    NAPI_ADDED, NAPI_REMOVED, NAPI_ENABLED, NAPI_DISABLING, NAPI_SCHEDULING, NAPI_POLL, NAPI_POLLED, NAPI_COMPLETING
    IRQ_ADDED, IRQ_REMOVED, IRQ, IRQ_DONE


cdef class NapiScheduler:
    """What polls NAPIs, as a Napi sees it: see fastring.softirq."""
    cdef Clock clock
    cdef public object observer     # told of polls and interrupts: one test each while there is none
    cdef void tell(self, int event, object source, int value) noexcept with gil
    cdef void enqueue(self, Napi napi) noexcept nogil           # ____napi_schedule: with SCHED taken, holding the CPU
    cdef int run(self) noexcept nogil                           # a net_rx_action
    cdef void start_timer(self, Napi napi, int64_t deadline) noexcept nogil
    cdef bint inside(self) noexcept nogil                       # whether the calling thread is inside a run or a poll
    cdef bint take_cpu(self) noexcept nogil                     # keep others from running it; False inside a run: it is taken
    cdef bint hold(self) except -1                              # the same, but waits for a second at most
    cdef void let_go(self, bint held) noexcept nogil
    cdef bint mine(self) except -1                              # whether the calling thread may run it
    cdef Kthread make_thread(self, Napi napi, str name)


cdef class Napi:
    cdef readonly uint32_t state    # atomic
    cdef readonly int weight
    cdef readonly uint64_t polls, packets, completions, misses   # misses: completions refused because MISSED was set
    cdef readonly uint64_t overruns     # polls that claimed more than their budget, or less than nothing: clamped
    cdef readonly uint64_t busy_packets     # received by busy_poll (BusyPollRxPackets)
    cdef NapiScheduler softirq
    cdef Clock clock                # its softirq's
    cdef bint listed                # on the softirq's poll list
    cdef readonly bint disabled     # disable() owns SCHED; a new one is
    cdef public object error        # what on_poll raised last, for whoever runs the loop
    cdef readonly uint32_t napi_id  # 0 while it belongs to no Softirq
    cdef GroContext gro_context
    cdef int64_t flush_timeout      # gro_flush_timeout, ns
    cdef int deferrals, deferrals_left      # napi_defer_hard_irqs, and defer_hard_irqs_count
    cdef Timer timer                # napi_watchdog
    cdef int64_t timer_wanted       # deadline that another thread than the clock's asks for, or -1
    cdef Kthread kthread            # polls it, in threaded mode
    cdef str thread_name            # set: threaded mode is wanted
    cdef int poll(self, int budget) noexcept nogil              # subclass: returns packets received, at most budget
    cdef bint schedule_prep(self) noexcept nogil                # napi_schedule_prep
    cdef bint schedule(self) noexcept nogil                     # napi_schedule: True if this call scheduled it
    cdef bint complete_done(self, int work) noexcept nogil      # True: interrupts may be unmasked
    cdef bint poll_once(self, int* work) noexcept nogil         # __napi_poll: whether it must be polled again
    cdef int poll_clamped(self, int budget) noexcept nogil
    cdef void _flush_and_defer(self, int work, int64_t* timeout, bint* unmask) noexcept nogil
    cdef void _watchdog_fired(self) noexcept nogil
    cdef void observe(self, int event, int value) noexcept nogil
    cdef bint _try_own(self) noexcept nogil
    cdef bint _give_up(self) noexcept nogil
