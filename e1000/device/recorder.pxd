"""Recorder: what happens on cards, as events of fixed size, for a trace."""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from fastring.clock cimport Clock

cdef enum EventKind:                # e1000/trace_events.py tells what each one's numbers are
    EVENT_READ
    EVENT_WRITE
    EVENT_DMA_READ
    EVENT_DMA_WRITE
    EVENT_FETCH
    EVENT_WRITE_BACK
    EVENT_LINE
    EVENT_MESSAGE
    EVENT_SENT
    EVENT_ARRIVED
    EVENT_DROPPED
    EVENT_REFUSED
    EVENT_TIMER

cdef enum Space:                    # detail of EVENT_READ and EVENT_WRITE
    SPACE_MMIO
    SPACE_IO
    SPACE_CONFIG

cdef extern from *:
    """
    #include <stdint.h>
    typedef struct {
        int64_t time;
        uint64_t address, value, extra;
        uint32_t length;
        uint16_t detail;
        uint8_t kind, card;
    } fastring_event;
    _Static_assert(sizeof(fastring_event) == 40, "trace_events.RECORD has these fields");
    """
    ctypedef struct Event "fastring_event":
        int64_t time                # ns on the recorder's clock
        uint64_t address, value, extra
        uint32_t length
        uint16_t detail
        uint8_t kind, card

cdef class Recorder:
    cdef Event* events              # [room]: those since the last flush
    cdef Event* spare               # [spare_room]: swapped with them by a flush
    cdef uint32_t capacity, count, room, spare_room
    cdef uint32_t most              # that the buffer may grow to while an engine runs
    cdef uint32_t held              # a spin lock over count and events: cards on several threads push
    cdef uint64_t _recorded, _lost
    cdef Clock clock                # None: CLOCK_MONOTONIC
    cdef object sink, lock, flushing
    cdef readonly object error
    cdef void acquire(self) noexcept nogil
    cdef void push(self, Event* event) noexcept nogil
    cdef bint put(self, const Event* event) noexcept nogil
    cdef void deliver(self) noexcept nogil
    cdef bytes take(self)
