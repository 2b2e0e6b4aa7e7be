"""Clock: one source of time for every timer, real or virtual, and the timers themselves.

Whatever waits (interrupt moderation, link, watchdog, a replay's pace) asks one Clock. On a VirtualClock time moves only
when told, and every timer on the way fires at exactly its own time: a run is a function of its input.

Timers are one-shot, in a list sorted by deadline: there are a dozen at most, so a heap would cost more than it saves.
A Clock and its timers belong to one thread.
"""

from cython cimport no_gc_clear

from libc.limits cimport LLONG_MAX, LLONG_MIN
from posix.time cimport CLOCK_MONOTONIC, CLOCK_MONOTONIC_COARSE, CLOCK_REALTIME, clock_gettime, clockid_t, timespec


# Each is called as watcher(event, handle), for "armed", "fired" and "done" of timers in Python: softnet.checks.
timer_watchers = []


cdef inline int64_t _read(clockid_t which) noexcept nogil:
    cdef timespec t
    clock_gettime(which, &t)
    return <int64_t>t.tv_sec * 1_000_000_000 + t.tv_nsec


cdef class Clock:
    """What every clock shares: its timers. Use MonotonicClock or VirtualClock. All times are integers, in nanoseconds."""

    def __cinit__(self):
        self._firing = LLONG_MIN
        self._handles = set()
        if type(self) is Clock:
            raise TypeError("Clock has no time of its own: use MonotonicClock or VirtualClock")

    cdef int64_t now(self) noexcept nogil:
        return 0

    cdef int64_t jiffies(self) noexcept nogil:
        return self.now()

    cdef int64_t realtime(self) noexcept nogil:
        return 0

    cdef void arm(self, Timer* timer, int64_t deadline) noexcept nogil:
        """Fire the timer at `deadline`, behind those due at the same time. An armed one moves, as mod_timer does it.

        From inside a handler the earliest is 1 ns later, so that a timer which arms itself cannot stop time.
        """
        cdef Timer** link = &self.timers
        self.cancel(timer)
        if deadline <= self._firing:
            deadline = self._firing + 1
        while link[0] != NULL and link[0].deadline <= deadline:
            link = &link[0].next
        timer.deadline = deadline
        timer.next = link[0]
        timer.armed = True
        link[0] = timer

    cdef void cancel(self, Timer* timer) noexcept nogil:
        """Disarm; harmless when it is not armed."""
        cdef Timer** link = &self.timers
        if not timer.armed:
            return
        while link[0] != timer:
            link = &link[0].next
        link[0] = timer.next
        timer.next = NULL
        timer.armed = False

    cdef void _fire_first(self, int64_t now) noexcept nogil:
        cdef Timer* timer = self.timers
        cdef int64_t outer = self._firing       # a handler may advance a virtual clock
        self.timers = timer.next
        timer.next = NULL
        timer.armed = False
        self._firing = now
        timer.handler(timer.context)
        self._firing = outer

    cdef int run_timers(self) noexcept nogil:
        """Fire what is due now, in order of deadline; return how many. What a handler arms waits for the next call."""
        cdef int64_t now
        cdef int fired = 0
        if self.timers == NULL:
            return 0
        now = self.now()
        while self.timers != NULL and self.timers.deadline <= now:
            self._fire_first(now)
            fired += 1
        return fired

    cdef int _raise_error(self) except -1:
        error, self.error = self.error, None
        if error is not None:
            raise error
        return 0

    def monotonic_ns(self):
        """The time for intervals and timers: it never goes back."""
        return self.now()

    def time_ns(self):
        """The wall clock: nanoseconds since 1970. It may be set back."""
        return self.realtime()

    def call_at(self, int64_t when, callback):
        """Call `callback()` once when monotonic_ns() reaches `when`; return the TimerHandle. What it raises, the run raises."""
        cdef TimerHandle handle = TimerHandle(self, callback)
        self.arm(&handle.timer, when)
        self._handles.add(handle)
        for watcher in timer_watchers:
            watcher("armed", handle)
        return handle

    def call_later(self, int64_t delay, callback):
        """Call `callback()` once, `delay` nanoseconds from now; return the TimerHandle."""
        cdef int64_t now = self.now()
        if not 0 <= delay <= LLONG_MAX - now:
            raise ValueError(f"a delay is 0 to {LLONG_MAX - now} ns, not {delay}")
        return self.call_at(now + delay, callback)

    def fire_due(self):
        """Fire the timers that are due; return how many. Raises what a callback raised."""
        cdef int fired
        with nogil:
            fired = self.run_timers()
        self._raise_error()
        return fired

    @property
    def destination(self):
        """Where time is going: now, or, while a virtual clock's timers fire on its way, where it will stop.

        Who looks around every few seconds need not do so all through a jump of years.
        """
        return self.now()

    @property
    def next_deadline(self):
        """When the next timer is due, or None."""
        return None if self.timers == NULL else self.timers.deadline

    def __repr__(self):
        due = "no timer" if self.timers == NULL else f"next timer at {self.timers.deadline}"
        return f"<{type(self).__name__}: {self.now()} ns, {due}>"


cdef class MonotonicClock(Clock):
    """The machine's clock: CLOCK_MONOTONIC, and CLOCK_REALTIME for the wall. Timers fire when fire_due is called."""

    cdef int64_t now(self) noexcept nogil:
        return _read(CLOCK_MONOTONIC)

    cdef int64_t jiffies(self) noexcept nogil:
        return _read(CLOCK_MONOTONIC_COARSE)

    cdef int64_t realtime(self) noexcept nogil:
        return _read(CLOCK_REALTIME)


cdef class VirtualClock(Clock):
    """Time that moves only when told: it starts at `start`, with the wall clock at `realtime`. Same input, same run."""

    def __cinit__(self, *, int64_t start=0, int64_t realtime=0):
        if start < 0 or realtime < 0:
            raise ValueError(f"a virtual clock starts at 0 or later, not at {min(start, realtime)}")
        self._now = start
        self._realtime_offset = realtime - start

    cdef int64_t now(self) noexcept nogil:
        return self._now

    @property
    def destination(self):
        """Where time is going: now, or, while timers fire on its way, where it will stop."""
        return max(self._now, self._destination)

    cdef int64_t realtime(self) noexcept nogil:
        if self._realtime_offset > LLONG_MAX - self._now:
            return LLONG_MAX
        return self._now + self._realtime_offset

    cdef void advance_to(self, int64_t when) noexcept nogil:
        """Move on to `when`, firing every timer on the way at its own time. The past is ignored: monotonic never goes back."""
        cdef int64_t outer = self._destination          # a handler may advance too
        self._destination = max(outer, when)
        while self.timers != NULL and self.timers.deadline <= when:
            if self.timers.deadline > self._now:
                self._now = self.timers.deadline
            self._fire_first(self._now)
        self._destination = outer
        if when > self._now:
            self._now = when

    cdef void step_realtime(self, int64_t when) noexcept nogil:
        """Set the wall clock. Forward, time passes and timers fire; backward (an NTP step) only the wall clock changes."""
        cdef int64_t wall = self.realtime()
        if when < 0:
            when = 0                # nothing was captured before 1970
        if when > wall:
            self.advance_to(LLONG_MAX if when - wall > LLONG_MAX - self._now else self._now + (when - wall))
        self._realtime_offset = when - self._now

    def advance(self, int64_t ns):
        """Let `ns` nanoseconds pass, firing every timer on the way at its own time. Raises what a callback raised, afterwards."""
        if not 0 <= ns <= LLONG_MAX - self._now:
            raise ValueError(f"time can advance by 0 to {LLONG_MAX - self._now} ns here, not {ns}")
        with nogil:
            self.advance_to(self._now + ns)
        self._raise_error()

    def set_time(self, int64_t realtime):
        """Set the wall clock, as a capture's next timestamp does: forward, that time passes; backward, monotonic time stays."""
        if realtime < 0:
            raise ValueError(f"the wall clock starts at 0 (1970), not {realtime}")
        with nogil:
            self.step_realtime(realtime)
        self._raise_error()


@no_gc_clear                        # the clock is needed to the end: its list may hold the timer until then
cdef class TimerHandle:
    """A Python callback waiting for its time; made by Clock.call_at and call_later."""

    def __cinit__(self, Clock clock not None, callback):
        if not callable(callback):
            raise TypeError(f"a timer's callback must be callable, not {type(callback).__name__}")
        self.clock = clock
        self.callback = callback
        self.timer.handler = _call_back
        self.timer.context = <void*>self

    def __dealloc__(self):
        if self.timer.armed:        # clock and handles are garbage together, and others that are look through the list yet
            self.clock.cancel(&self.timer)

    def cancel(self):
        """Do not call; harmless when it has been called or cancelled."""
        self.clock.cancel(&self.timer)
        self.clock._handles.discard(self)

    @property
    def function(self):
        """The callback."""
        return self.callback

    @property
    def of_clock(self):
        """The clock it waits for."""
        return self.clock

    @property
    def when(self):
        """The time it was armed for."""
        return self.timer.deadline

    @property
    def armed(self):
        """Whether it still waits."""
        return bool(self.timer.armed)

    def __repr__(self):
        return f"<TimerHandle: {self.callback!r} at {self.timer.deadline}{'' if self.timer.armed else ', not armed'}>"


cdef void _call_back(void* context) noexcept nogil:
    with gil:
        handle = <TimerHandle>context
        clock = handle.clock
        clock._handles.discard(handle)
        try:
            watchers = list(timer_watchers)
            for watcher in watchers:
                watcher("fired", handle)
            try:
                handle.callback()
            finally:
                for watcher in watchers:
                    watcher("done", handle)
        except BaseException as error:      # a handler cannot raise: kept for whoever moves the clock
            clock.error = error
