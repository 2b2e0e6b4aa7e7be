"""Recorder: a bounded buffer of events; whoever finds it full, when an access ends, hands it to a sink in Python.

So nothing is lost as long as the sink takes it, and what is lost is counted. Engines push without the GIL, from any thread, and call
nobody: the sink may do anything to the card, and an engine has pointers in its hands. For what they push meanwhile the buffer grows.
"""

import threading

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.exc cimport PyErr_SetInterrupt
from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memcpy

from fastring.atomic cimport cpu_relax, exchange32, store_release32
from fastring.clock cimport MonotonicClock

cdef enum:
    GROWTH = 1 << 20                # events that the buffer may have besides its capacity: more than a turn of the longest rings makes


cdef class Recorder:
    """Events of any number of cards, `capacity` of them between two calls of `sink(records)`, each `trace_events.RECORD`."""

    def __cinit__(self, sink, *, Clock clock=None, uint32_t capacity=1 << 14):
        if not 0 < capacity <= 1 << 24:
            raise ValueError(f"a recorder holds 1 to {1 << 24} events, not {capacity}")
        self.events = <Event*>calloc(capacity, sizeof(Event))
        self.spare = <Event*>calloc(capacity, sizeof(Event))
        if self.events == NULL or self.spare == NULL:
            raise MemoryError()
        self.capacity = self.room = self.spare_room = capacity
        self.most = capacity + GROWTH
        self.clock = MonotonicClock() if clock is None else clock
        self.sink = sink
        self.lock = threading.RLock()
        self.flushing = False

    def __dealloc__(self):
        free(self.events)
        free(self.spare)

    cdef void push(self, Event* event) noexcept nogil:
        event.time = self.clock.now()
        if not self.put(event):
            self._lost += 1

    cdef bint put(self, const Event* event) noexcept nogil:
        """Whether there was room."""
        cdef Event* grown
        cdef bint room
        self.acquire()
        if self.count == self.room and self.room < self.most:
            grown = <Event*>realloc(self.events, 2 * <size_t>self.room * sizeof(Event))
            if grown != NULL:
                self.events = grown
                self.room *= 2
        room = self.count < self.room and self.count < self.most
        if room:
            self.events[self.count] = event[0]
            self.count += 1
            self._recorded += 1
        store_release32(&self.held, 0)
        return room

    cdef void acquire(self) noexcept nogil:
        while exchange32(&self.held, 1):
            cpu_relax()

    cdef void deliver(self) noexcept nogil:
        """Hand them over if they are enough. No engine may be in the middle of something; the caller has no lock of the recorder's."""
        if self.count < self.capacity:
            return
        with gil:
            kept = self                     # the sink may end the recording, and nobody else hold the recorder
            try:
                self.flush()
            except KeyboardInterrupt:
                PyErr_SetInterrupt()        # an engine cannot raise it: let whoever runs Python next do so
            except BaseException:
                pass                        # kept in `error`
            del kept

    cdef bytes take(self):
        """The events since the last call, as one string of records."""
        cdef Event* full
        cdef uint32_t count
        self.acquire()
        full, count = self.events, self.count
        self.events, self.spare = self.spare, full
        self.room, self.spare_room = self.spare_room, self.room
        self.count = 0
        store_release32(&self.held, 0)
        cdef bytes records = PyBytes_FromStringAndSize(NULL, count * sizeof(Event))
        memcpy(PyBytes_AS_STRING(records), full, count * sizeof(Event))
        return records

    def flush(self):
        """Hand what is there to the sink. Raises what that raises; from then on events are lost, and counted."""
        with self.lock:
            if self.flushing or self.error is not None:
                return                      # the sink touched a card; or it failed
            self.flushing = True
            try:
                records = self.take()       # once: a sink that uses the card makes more of them each time
                try:
                    if records:
                        self.sink(records)
                except BaseException as error:
                    self._recorded -= len(records) // sizeof(Event)
                    self._lost += len(records) // sizeof(Event)
                    if not isinstance(error, KeyboardInterrupt):
                        self.error = error
                        self.most = self.capacity
                    raise
            finally:
                self.flushing = False

    @property
    def recorded(self):
        """Events taken so far."""
        return self._recorded

    @property
    def lost(self):
        """Events that found no room, or that the sink did not take."""
        return self._lost
