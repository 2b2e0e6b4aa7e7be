"""Kthread: a kernel thread that sleeps until it is woken."""

from libc.stdint cimport uint32_t

cdef extern from "<semaphore.h>" nogil:
    ctypedef struct sem_t:
        pass


cdef class Kthread:
    cdef sem_t wakeups, turns       # turns: posted at the end of each turn, for who gives it one
    cdef uint32_t woken             # and has not begun its turn: atomic
    cdef uint32_t stopping          # atomic
    cdef readonly str name
    cdef object thread, callback
    cdef public object error        # what the callback raised last
    cdef void work(self) noexcept nogil             # subclass: one turn
    cdef void wake(self) noexcept nogil             # wake_up_process; any thread
    cdef void run_turn(self) noexcept nogil         # switch to it: wake it and wait for its turn's end
    cdef bint should_stop(self) noexcept nogil      # kthread_should_stop
    cdef void loop(self) noexcept nogil
