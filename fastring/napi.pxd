"""Napi and Softirq: the poll contract of NAPI and the budget loop that runs it."""

from libc.stdint cimport int64_t, uint32_t, uint64_t

from fastring.clock cimport Clock
from fastring.irq cimport IrqLine

cdef enum:                          # Napi.state, the kernel's NAPI_STATE_* bits
    NAPI_SCHED = 1                  # on a poll list, or owned by disable()
    NAPI_MISSED = 2                 # scheduled again while scheduled
    NAPI_DISABLE = 4                # disable() is waiting


cdef class Napi:
    cdef uint32_t state             # atomic
    cdef readonly int weight
    cdef readonly uint64_t polls, packets, completions, misses   # misses: completions refused because MISSED was set
    cdef Softirq softirq
    cdef bint listed                # on the softirq's poll list
    cdef int poll(self, int budget) noexcept nogil              # subclass: returns packets received, at most budget
    cdef bint schedule_prep(self) noexcept nogil                # napi_schedule_prep
    cdef bint schedule(self) noexcept nogil                     # napi_schedule: True if this call scheduled it
    cdef bint complete_done(self, int work) noexcept nogil      # True: interrupts may be unmasked


cdef class Softirq:
    cdef list _napis, _irqs         # keep them alive
    cdef readonly uint64_t runs, time_squeezes
    cdef readonly int budget        # netdev_budget
    cdef readonly int64_t time_limit    # netdev_budget_usecs, in ns
    cdef Clock clock
    cdef int run(self) noexcept nogil   # one net_rx_action: services interrupts, polls what is scheduled; returns packets + interrupts handled
    cdef bint pending(self) noexcept nogil
