"""Clock: one source of time for every timer, real or virtual, and the timers themselves."""

from libc.stdint cimport int64_t

# A one-shot timer inside its owner's struct. deadline is on the monotonic scale; handler runs on the clock's thread.
# An owner that goes away cancels it first.
ctypedef void (*timer_handler)(void* context) noexcept nogil

ctypedef struct Timer:
    int64_t deadline                # ns; meaningful while armed
    timer_handler handler
    void* context
    Timer* next                     # the clock's list
    bint armed


cdef class Clock:
    cdef Timer* timers              # armed ones, by deadline
    cdef int64_t _firing            # time of the timer whose handler runs, or INT64_MIN
    cdef set _handles               # armed TimerHandles: keeps them alive
    cdef public object error        # what a Python callback raised last
    cdef int64_t now(self) noexcept nogil              # monotonic ns: intervals and timers
    cdef int64_t jiffies(self) noexcept nogil          # now() as of the last tick, a few ms ago: cheap, for limits and watchdogs
    cdef int64_t realtime(self) noexcept nogil         # ns since 1970: what a capture records
    cdef void arm(self, Timer* timer, int64_t deadline) noexcept nogil
    cdef void cancel(self, Timer* timer) noexcept nogil
    cdef int run_timers(self) noexcept nogil           # fire what is due; returns how many
    cdef void _fire_first(self, int64_t now) noexcept nogil
    cdef int _raise_error(self) except -1


cdef class MonotonicClock(Clock):
    pass


cdef class VirtualClock(Clock):
    cdef int64_t _now
    cdef int64_t _realtime_offset
    cdef int64_t _destination       # of the outermost advance_to that is under way, or 0
    cdef void advance_to(self, int64_t when) noexcept nogil        # fires every timer on the way, each at its own time
    cdef void step_realtime(self, int64_t when) noexcept nogil     # forward: advances; backward: sets the wall clock only


cdef class TimerHandle:
    cdef Timer timer
    cdef Clock clock
    cdef object callback
