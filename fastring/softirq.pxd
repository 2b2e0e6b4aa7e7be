"""Softirq: one CPU's NET_RX softirq: the budget loop that polls NAPIs, and the threads that do."""

from cpython.ref cimport PyObject
from libc.stdint cimport int64_t, uint32_t, uint64_t

from fastring.irq cimport IrqLine
from fastring.kthread cimport Kthread
from fastring.napi cimport Napi, NapiScheduler


cdef class Softirq(NapiScheduler):
    cdef list _napis, _irqs         # keep them alive
    cdef readonly uint64_t runs, time_squeezes
    cdef readonly int budget        # netdev_budget
    cdef readonly int64_t time_limit    # netdev_budget_usecs, in ns
    cdef readonly bint preempt      # threads poll whenever they like
    cdef uint32_t running           # the CPU is taken: by a run, a poll, a change of the lists: atomic
    cdef unsigned long holder       # by this thread, while it is
    cdef unsigned long thread       # that last ran it, or 0
    cdef uint32_t _next_napi_id
    cdef uint32_t timers_wanted     # some Napi's timer_wanted is set: atomic
    cdef PyObject** irq_lines       # [irq_count], borrowed from _irqs
    cdef int irq_count
    cdef PyObject** poll_list       # FIFO ring, borrowed from _napis; a Napi is on it at most once
    cdef uint32_t poll_head, poll_tail, poll_mask
    # One net_rx_action: services interrupts, polls what is scheduled; returns packets + interrupts handled.
    cdef int run(self) noexcept nogil
    cdef bint pending(self) noexcept nogil
    cdef int raise_error(self) except -1
    cdef int _net_rx_action(self) noexcept nogil
    cdef int _service_irqs(self) noexcept nogil
    cdef bint _observed_service(self, IrqLine line) noexcept nogil
    cdef int _poll_first(self) noexcept nogil
    cdef int _poll_listed(self, Napi napi) noexcept nogil
    cdef void _poll_threaded(self, Napi napi, Kthread kthread) noexcept nogil
    cdef bint _try_take_cpu(self) noexcept nogil
    cdef void _append(self, Napi napi) noexcept nogil
    cdef void _start_wanted_timers(self) noexcept nogil
    cdef int _resize_poll_list(self, uint32_t count) except -1
    cdef int _list_irqs(self) except -1


cdef class NapiThread(Kthread):
    cdef Softirq softirq
    cdef Napi napi
    cdef int packets                # received in the last turn
    cdef bint again                 # which used up its budget
