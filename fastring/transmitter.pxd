"""Transmitter: bursts from a source through a transmit queue, with flow control, without the GIL."""

from cython cimport final
from libc.stdint cimport int64_t, uint32_t, uint64_t

from fastring.burst cimport Burst, BurstSource, Frame
from fastring.clock cimport Clock, VirtualClock
from fastring.pacer cimport Pacer
from fastring.softirq cimport Softirq
from fastring.txq cimport TxQueue, XmitTarget

ctypedef struct Tally:
    uint64_t packets, bytes


@final
cdef class Transmitter:
    cdef XmitTarget target
    cdef TxQueue queue
    cdef Softirq softirq
    cdef Clock clock
    cdef VirtualClock stepped       # the same clock when a replay must set its time, else None
    cdef readonly Pacer pacer       # when `play` sends what, or None: at once
    cdef readonly Transmitter second    # sends what has another Frame.queue than 0, or None
    cdef uint32_t max_frame
    cdef Burst burst                # play's own
    cdef uint32_t position          # in it
    cdef readonly uint64_t packets, bytes       # accepted by the driver
    cdef readonly uint64_t oversize             # too long for the MTU: dropped here
    cdef list taps, more_taps       # not empty: `tap` is shown what was sent
    cdef object tap, tap_error
    cdef int refusal                # errno of a target that takes nothing more

    cdef uint32_t sendable(self, Burst burst, uint32_t start, uint32_t most, Tally* tally) noexcept nogil
    cdef uint32_t skip_oversize(self, Burst burst, uint32_t start) noexcept nogil
    cdef int push(self, Burst burst, uint32_t* position) noexcept nogil
    cdef int offer(self, Burst burst, uint32_t* position, uint32_t most) noexcept nogil
    cdef uint64_t total(self) noexcept nogil
    cdef void show(self, const Frame* frames, int n) noexcept with gil
    cdef int play_rounds(self, BurstSource source, uint32_t rounds) noexcept nogil
