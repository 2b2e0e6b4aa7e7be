"""Napi and Softirq: the poll contract of NAPI and the budget loop that runs it."""

from cpython.ref cimport PyObject
from libc.stdint cimport int64_t, uint32_t, uint64_t

from fastring.clock cimport Clock
from fastring.irq cimport IrqLine

cdef enum:                          # Napi.state, the kernel's NAPI_STATE_* bits
    NAPI_SCHED = 1                  # on a poll list, or owned by disable()
    NAPI_MISSED = 2                 # scheduled again while scheduled
    NAPI_DISABLE = 4                # disable() is waiting


cdef class Napi:
    cdef readonly uint32_t state    # atomic
    cdef readonly int weight
    cdef readonly uint64_t polls, packets, completions, misses   # misses: completions refused because MISSED was set
    cdef readonly uint64_t overruns     # polls that claimed more than their budget, or less than nothing: clamped
    cdef Softirq softirq
    cdef bint listed                # on the softirq's poll list
    cdef readonly bint disabled     # disable() owns SCHED; a new one is
    cdef public object error        # what on_poll raised last, for whoever runs the loop
    cdef int poll(self, int budget) noexcept nogil              # subclass: returns packets received, at most budget
    cdef bint schedule_prep(self) noexcept nogil                # napi_schedule_prep
    cdef bint schedule(self) noexcept nogil                     # napi_schedule: True if this call scheduled it
    cdef bint complete_done(self, int work) noexcept nogil      # True: interrupts may be unmasked
    cdef int _poll_weight(self) noexcept nogil
    cdef bint _try_own(self) noexcept nogil
    cdef bint _give_up(self) noexcept nogil
    cdef void _observe(self, int event, int value) noexcept nogil


cdef class Softirq:
    cdef list _napis, _irqs         # keep them alive
    cdef readonly uint64_t runs, time_squeezes
    cdef readonly int budget        # netdev_budget
    cdef readonly int64_t time_limit    # netdev_budget_usecs, in ns
    cdef Clock clock
    cdef public object observer     # told of polls and interrupts: one test each while there is none
    cdef uint32_t running           # held by a run, or by a change of the lists: atomic
    cdef unsigned long thread       # that last ran it, or 0
    cdef PyObject** irq_lines       # [irq_count], borrowed from _irqs
    cdef int irq_count
    cdef PyObject** poll_list       # FIFO ring, borrowed from _napis; a Napi is on it at most once
    cdef uint32_t poll_head, poll_tail, poll_mask
    # One net_rx_action: services interrupts, polls what is scheduled; returns packets + interrupts handled.
    cdef int run(self) noexcept nogil
    cdef bint pending(self) noexcept nogil
    cdef int raise_error(self) except -1
    cdef int _service_irqs(self) noexcept nogil
    cdef bint _observed_service(self, IrqLine line) noexcept nogil
    cdef void _tell(self, int event, object source, int value) noexcept with gil
    cdef int _poll_first(self) noexcept nogil
    cdef void _append(self, Napi napi) noexcept nogil
    cdef bint _inside(self) noexcept nogil
    cdef bint _mine(self) except -1
    cdef bint _hold(self) except -1
    cdef void _let_go(self, bint held) noexcept nogil
    cdef int _resize_poll_list(self, uint32_t count) except -1
    cdef int _list_irqs(self) except -1
