"""StreamSource: the packets of streams, interleaved and at their time, in buffers that a card reads where they are."""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from fastring.burst cimport BurstSource, Frame
from fastring.clock cimport Clock
from fastring.memory cimport Arena
from fastring.stream cimport StreamState
from fastring.txq cimport XmitTarget

cdef enum:
    ROOM = 256                      # packets made at once

ctypedef struct Moment:             # on the schedule's own scale: ns since its start, and 2^-32 of them
    uint64_t ns
    uint64_t fraction               # below 2^32

ctypedef struct Phase:
    Moment packet, byte             # time that a packet takes, and each of its bytes
    uint64_t duration               # ns, or 0: it lasts for `packets`
    uint64_t packets                # 0: a pause

ctypedef struct Lane:               # a stream's place in the schedule
    StreamState* stream
    Phase* phases                   # gone through over and over
    uint32_t n_phases, phase
    Moment due                      # when its next packet is
    Moment owed                     # time that the packets of this burst take
    uint64_t phase_end              # ns, or packets left in it
    uint32_t burst, burst_left      # packets sent at once
    uint64_t gap                    # ns after each burst, instead of what its packets take; 0: that

ctypedef struct Mark:               # a burst's buffers are free when the target has completed it
    uint64_t slot                   # the first that is not of it, nor of earlier ones
    uint64_t completion             # what the target said


cdef class StreamSource(BurstSource):
    cdef readonly tuple streams
    cdef Clock clock
    cdef Lane* lanes
    cdef uint32_t n_lanes
    cdef list kept                  # phases
    cdef readonly bint paced
    cdef uint64_t until             # ns
    cdef int64_t started            # ns: the clock's wall time, -1: not yet
    cdef readonly Arena memory      # slots, and behind them room for one burst that is copied
    cdef readonly uint32_t stride, slots
    cdef uint64_t iova              # of the slots
    cdef XmitTarget target
    cdef uint64_t head, tail        # slots filled, and free again; free-running
    cdef uint32_t next_slot         # head modulo slots
    cdef Mark* marks
    cdef uint64_t mark_head, mark_tail
    cdef uint64_t sums[ROOM]
    cdef Lane* made_by[ROOM]
    cdef uint32_t last              # packets in the last burst
    cdef readonly uint64_t packets, bytes, copied
    cdef void reclaim(self) noexcept nogil
    cdef Lane* earliest(self) noexcept nogil
    cdef bint over(self, const Lane* lane) noexcept nogil
    cdef void place(self, Frame* frame, uint32_t n) noexcept nogil
    cdef void stamp_all(self, Frame* frames, uint32_t n) noexcept nogil


cdef inline void add_moment(Moment* moment, const Moment* more, uint64_t times) noexcept nogil:
    """`times`: below 2^31."""
    cdef uint64_t fraction = moment.fraction + more.fraction * times
    moment.ns += more.ns * times + (fraction >> 32)
    moment.fraction = <uint32_t>fraction
