"""Pacer: when each packet is due: an absolute schedule on a clock, and how late packets left."""

from cython cimport final
from libc.stdint cimport int64_t, uint32_t, uint64_t

from fastring.burst cimport Burst
from fastring.clock cimport Clock, VirtualClock
from fastring.histogram cimport Histogram


@final
cdef class Pacer:
    cdef readonly Clock clock
    cdef VirtualClock stepped       # the same clock if it moves only when told, else None
    cdef int kind
    cdef uint64_t factor, divisor   # ns a unit, as a fraction
    cdef uint64_t remainder         # of the ns so far, in 1/divisor
    cdef uint32_t group, in_group
    cdef uint64_t owed              # units between the last packet and the next
    cdef int64_t latest             # time stamp that the schedule has reached
    cdef bint fresh                 # the next packet's time stamp starts a new count
    cdef bint spins                 # never sleep
    cdef int64_t longest_gap        # ns, or INT64_MAX
    cdef int64_t pending_delay      # ns
    cdef bint begun
    cdef int64_t origin             # when the first packet was due
    cdef int64_t elapsed            # from there to the last one scheduled
    cdef int64_t reached            # from there to the last one sent
    cdef int64_t ends               # ns from `origin`, or INT64_MAX
    cdef bint over
    cdef int64_t turn_ends          # when a play goes back to Python
    cdef int64_t* deadlines         # [room], at the index of a packet's first Frame
    cdef uint32_t room
    cdef readonly Histogram lateness    # of what was sent, in ns

    cdef int reserve(self, uint32_t frames) except -1
    cdef void schedule(self, Burst burst) noexcept nogil
    cdef uint32_t due(self, Burst burst, uint32_t start) noexcept nogil
    cdef void begin_turn(self) noexcept nogil
    cdef bint wait(self, uint32_t start) noexcept nogil
    cdef void record(self, Burst burst, uint32_t start, uint32_t end) noexcept nogil
    cdef void _begin(self) noexcept nogil
