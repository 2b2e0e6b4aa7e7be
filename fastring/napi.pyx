"""Napi and Softirq: the poll contract of NAPI and the budget loop that runs it.

The contract (the kernel's Documentation/networking/napi.rst and net/core/dev.c): an interrupt masks its device and schedules;
the softirq polls with a budget; a poll that finds less work than that completes and, if complete_done says True, unmasks. An
interrupt that comes in between sets MISSED, and complete_done answers False: it is polled again, so no event is lost.
A poll that used up its budget touches nothing and goes to the list's tail.

Threads: one thread runs a Softirq and everything it calls; schedule and complete_done belong to it, too. enable and disable,
add and remove are the control plane's, from any thread with the GIL.
"""

import errno
import threading
import time

from libc.stdlib cimport free, malloc, realloc

from fastring.atomic cimport compare_exchange32, exchange32, fetch_and32, fetch_or32, load_acquire32, store_release32

cdef extern from "<pthread.h>" nogil:
    unsigned long pthread_self()

cdef double WAIT = 50e-6            # seconds between two looks at what another thread holds
cdef double PATIENCE = 1.0          # seconds before that is an error

cdef enum:                          # what an observer is told, in the order of EVENTS
    NAPI_ADDED, NAPI_REMOVED, NAPI_ENABLED, NAPI_DISABLING, NAPI_SCHEDULING, NAPI_POLL, NAPI_POLLED, NAPI_COMPLETING
    IRQ_ADDED, IRQ_REMOVED, IRQ, IRQ_DONE

EVENTS = (
    "napi_added", "napi_removed", "napi_enabled", "napi_disabling", "napi_scheduling", "napi_poll", "napi_polled", "napi_completing",
    "irq_added", "irq_removed", "irq", "irq_done",
)


cdef class Napi:
    """One pollable context. Subclass in Cython and override `poll`, or in Python and override `on_poll`.

    A new one is disabled, as after netif_napi_add: add it to a Softirq, then enable it.
    """

    def __cinit__(self):
        self.state = NAPI_SCHED
        self.disabled = True
        self.weight = 64

    def __init__(self, int weight=64):
        if weight < 1:
            raise ValueError(f"a NAPI weight is at least 1 packet, not {weight}")
        self.weight = weight

    cdef int poll(self, int budget) noexcept nogil:
        """Receive at most `budget` packets and return how many; fewer than budget: call complete_done first. Softirq thread."""
        with gil:
            try:
                return self.on_poll(budget)
            except BaseException as error:      # a poll cannot raise: kept for whoever runs the loop
                self.error = error
        self.complete_done(0)
        return 0

    cdef bint schedule_prep(self) noexcept nogil:
        """Take SCHED, or leave MISSED for its holder; True if this call took it. Refused while disable() waits."""
        cdef uint32_t state = load_acquire32(&self.state)
        while not state & NAPI_DISABLE:
            if compare_exchange32(&self.state, &state, state | (NAPI_MISSED if state & NAPI_SCHED else NAPI_SCHED)):
                return not state & NAPI_SCHED
        return False

    cdef bint schedule(self) noexcept nogil:
        """Have it polled; True if this call scheduled it. Softirq thread: an interrupt handler, or a poll."""
        self._observe(NAPI_SCHEDULING, 0)
        if not self.schedule_prep():
            return False
        self.softirq._append(self)
        return True

    cdef bint complete_done(self, int work) noexcept nogil:
        """End polling. True: unmask interrupts. False: something came in meanwhile, and it will be polled again."""
        cdef uint32_t state
        self._observe(NAPI_COMPLETING, work)
        state = load_acquire32(&self.state)
        if self.disabled or not state & NAPI_SCHED:
            return False            # not scheduled: nothing to complete
        while not compare_exchange32(&self.state, &state,
                                     state & ~<uint32_t>(NAPI_MISSED if state & NAPI_MISSED else NAPI_SCHED)):
            pass
        if state & NAPI_MISSED:
            self.misses += 1
            self.softirq._append(self)
            return False
        self.completions += 1
        return True

    cdef int _poll_weight(self) noexcept nogil:
        """Poll once with the full weight, off the list; back to its tail if that was used up. Returns the packets."""
        cdef int work
        cdef uint32_t state
        self.listed = False
        self._observe(NAPI_POLL, self.weight)
        work = self.poll(self.weight)
        self._observe(NAPI_POLLED, work)
        if work > self.weight or work < 0:
            self.overruns += 1
            work = self.weight if work > 0 else 0
        self.polls += 1
        self.packets += work
        if work == self.weight:
            state = load_acquire32(&self.state)
            if state & NAPI_DISABLE:
                self.complete_done(work)        # somebody waits in disable()
            elif state & NAPI_SCHED:
                self.softirq._append(self)
        return work

    cdef void _observe(self, int event, int value) noexcept nogil:
        if self.softirq is not None and self.softirq.observer is not None:
            self.softirq._tell(event, self, value)

    cdef bint _try_own(self) noexcept nogil:
        cdef uint32_t state = load_acquire32(&self.state)
        while not state & NAPI_SCHED:
            if compare_exchange32(&self.state, &state, state | NAPI_SCHED):
                return True
        return False

    cdef bint _give_up(self) noexcept nogil:
        """End a disable() in vain; the poll looks again, for what was refused meanwhile. False: it has completed, and is owned."""
        cdef uint32_t state = load_acquire32(&self.state)
        while not compare_exchange32(&self.state, &state,
                                     state & ~<uint32_t>NAPI_DISABLE | (NAPI_MISSED if state & NAPI_SCHED else NAPI_SCHED)):
            pass
        return state & NAPI_SCHED != 0

    def on_poll(self, int budget):
        """Called to receive at most `budget` packets, GIL held; returns how many. Fewer: call napi_complete_done first.

        If it raises, polling is completed and Softirq.net_rx_action raises the same.
        """
        raise NotImplementedError(f"{type(self).__name__} overrides neither poll nor on_poll")

    def napi_schedule(self):
        """Have it polled; True if this call scheduled it, False if it was scheduled already (MISSED) or is being disabled."""
        cdef bint held
        if self.softirq is None:
            return False            # never enabled
        held = self.softirq._hold()
        try:
            return self.schedule()
        finally:
            self.softirq._let_go(held)

    def napi_complete_done(self, int work=0):
        """End polling; True if interrupts may be unmasked. From on_poll, with less work than its budget."""
        return self.complete_done(work)

    def enable(self):
        """Let it be scheduled. Raises RuntimeError unless it is disabled (the kernel's BUG_ON) and has a Softirq."""
        if self.softirq is None:
            raise RuntimeError("a NAPI is enabled after Softirq.add")
        if not self.disabled:
            raise RuntimeError("enable() of a NAPI that is not disabled")
        self._observe(NAPI_ENABLED, 0)
        self.disabled = False
        fetch_and32(&self.state, ~<uint32_t>NAPI_SCHED)

    def disable(self, *, double timeout=PATIENCE):
        """Wait until it is not scheduled, then keep it so. On the thread that runs its Softirq, run that meanwhile.

        Raises TimeoutError when the poll does not complete in `timeout` seconds; RuntimeError if it is disabled already;
        OSError EDEADLK from inside a poll, which would wait for itself.
        """
        cdef double deadline = time.monotonic() + timeout
        if self.disabled:
            raise RuntimeError("disable() of a NAPI that is disabled already would wait for ever")
        self._observe(NAPI_DISABLING, 0)
        fetch_or32(&self.state, NAPI_DISABLE)
        try:
            while not self._try_own():
                if self.softirq._inside():
                    raise OSError(errno.EDEADLK, "disable() of a scheduled NAPI from inside the softirq that must finish it")
                if time.monotonic() > deadline:
                    raise TimeoutError(errno.ETIMEDOUT, f"the poll did not complete in {timeout} s: {self!r}")
                if self.softirq._mine():
                    with nogil:
                        self.softirq.run()
                else:
                    time.sleep(WAIT)
        except BaseException as error:
            if self._give_up():
                raise
            self.disabled = True
            if not isinstance(error, TimeoutError):
                raise
        else:
            self.disabled = True
            fetch_and32(&self.state, ~<uint32_t>NAPI_DISABLE)

    @property
    def scheduled(self):
        """Whether it is waiting to be polled, or being polled."""
        return not self.disabled and bool(load_acquire32(&self.state) & NAPI_SCHED)

    def __repr__(self):
        state = "disabled" if self.disabled else "scheduled" if self.scheduled else "idle"
        return f"<{type(self).__name__}: {state}, weight {self.weight}, {self.polls} polls, {self.packets} packets>"


cdef class Softirq:
    """One CPU's NET_RX softirq: interrupt lines, and a FIFO of NAPIs to poll within a budget and a time limit.

    `budget`: packets a run (and polls, so that a run ends on a virtual clock, too); `time_limit_us`: as netdev_budget_usecs.
    `observer(event, source, value)`, if there is one, is told of what happens to its NAPIs and lines, by the names in EVENTS, each
    before it happens but for "napi_added", "irq_added", "irq_removed", "napi_polled" (value: the work) and "irq_done".
    """

    def __cinit__(self, Clock clock not None, *, int budget=300, int64_t time_limit_us=2000):
        if budget < 1 or not 1 <= time_limit_us <= 10**12:
            raise ValueError(f"a softirq needs a budget and a time limit of at least 1, not {budget} and {time_limit_us}")
        self.clock = clock
        self.budget = budget
        self.time_limit = time_limit_us * 1000
        self._napis = []
        self._irqs = []

    def __dealloc__(self):
        free(self.irq_lines)
        free(self.poll_list)

    cdef int run(self) noexcept nogil:
        """One net_rx_action. Returns packets received + interrupts handled; 0 inside another run. Softirq thread only."""
        cdef int handled, packets = 0, polls = 0
        cdef int64_t deadline
        if exchange32(&self.running, 1):
            return 0
        self.thread = pthread_self()
        self.runs += 1
        handled = self._service_irqs()
        if self.poll_head != self.poll_tail:
            deadline = self.clock.jiffies() + self.time_limit
            while True:
                packets += self._poll_first()
                polls += 1
                handled += self._service_irqs()
                if self.poll_head == self.poll_tail:
                    break
                if packets >= self.budget or polls >= self.budget or self.clock.jiffies() >= deadline:
                    self.time_squeezes += 1
                    break
        store_release32(&self.running, 0)
        return packets + handled

    cdef bint pending(self) noexcept nogil:
        """Whether a run would do something. Softirq thread only."""
        cdef int i
        if self.poll_head != self.poll_tail:
            return True
        for i in range(self.irq_count):
            if (<IrqLine>self.irq_lines[i]).handler != NULL and load_acquire32(&(<IrqLine>self.irq_lines[i]).level):
                return True
        return False

    cdef int _service_irqs(self) noexcept nogil:
        cdef int i = 0, handled = 0
        while i < self.irq_count:       # a handler may add and remove lines
            if self.observer is None:
                handled += (<IrqLine>self.irq_lines[i]).service()
            else:
                handled += self._observed_service(<IrqLine>self.irq_lines[i])
            i += 1
        return handled

    cdef bint _observed_service(self, IrqLine line) noexcept nogil:
        cdef bint ran
        line.look()
        if line.handler == NULL or not load_acquire32(&line.level):
            return False
        self._tell(IRQ, line, 0)
        ran = line.service()
        self._tell(IRQ_DONE, line, ran)
        return ran

    cdef void _tell(self, int event, object source, int value) noexcept with gil:
        """Call the observer. What it raises is kept where an error of a poll or a handler is."""
        try:
            if self.observer is not None:
                self.observer(EVENTS[event], source, value)
        except BaseException as error:
            source.error = error

    cdef int _poll_first(self) noexcept nogil:
        """Poll the NAPI at the list's head; return its packets."""
        cdef PyObject* first = self.poll_list[self.poll_head & self.poll_mask]
        self.poll_head += 1
        return (<Napi>first)._poll_weight()

    cdef void _append(self, Napi napi) noexcept nogil:
        if napi.listed:
            return
        napi.listed = True
        self.poll_list[self.poll_tail & self.poll_mask] = <PyObject*>napi
        self.poll_tail += 1

    # --- control plane

    cdef bint _inside(self) noexcept nogil:
        """Whether the calling thread is inside a run."""
        return load_acquire32(&self.running) and self.thread == pthread_self()

    cdef bint _mine(self) except -1:
        """Whether the calling thread may run it: it did last, or nobody has, or that thread has ended."""
        return self.thread in (0, pthread_self()) or self.thread not in {thread.ident for thread in threading.enumerate()}

    cdef bint _hold(self) except -1:
        """Keep other threads from running it until _let_go. False inside a run on this thread: held already."""
        cdef double deadline
        if self._inside():
            return False
        if exchange32(&self.running, 1):
            deadline = time.monotonic() + PATIENCE
            while exchange32(&self.running, 1):
                if time.monotonic() > deadline:
                    raise TimeoutError(errno.ETIMEDOUT, f"another thread's run did not end in {PATIENCE} s: {self!r}")
                time.sleep(WAIT)
        return True

    cdef void _let_go(self, bint held) noexcept nogil:
        if held:
            store_release32(&self.running, 0)

    cdef int _resize_poll_list(self, uint32_t count) except -1:
        """Make the ring hold at least `count`, keeping what is on it."""
        cdef uint32_t size = 4, used = self.poll_tail - self.poll_head, i
        cdef PyObject** ring
        while size < count:
            size *= 2
        ring = <PyObject**>malloc(size * sizeof(PyObject*))
        if ring == NULL:
            raise MemoryError()
        for i in range(used):
            ring[i] = self.poll_list[(self.poll_head + i) & self.poll_mask]
        free(self.poll_list)
        self.poll_list = ring
        self.poll_mask = size - 1
        self.poll_head = 0
        self.poll_tail = used
        return 0

    cdef int _list_irqs(self) except -1:
        """Copy _irqs to the array that a run walks."""
        cdef PyObject** lines = <PyObject**>realloc(self.irq_lines, (len(self._irqs) + 1) * sizeof(PyObject*))
        if lines == NULL:
            raise MemoryError()
        self.irq_lines = lines
        self.irq_count = 0
        for line in self._irqs:
            lines[self.irq_count] = <PyObject*>line
            self.irq_count += 1
        return 0

    def add(self, Napi napi not None):
        """Take on a disabled NAPI (netif_napi_add). Raises ValueError if it belongs to a Softirq already."""
        if napi.softirq is not None:
            raise ValueError("this NAPI belongs to a Softirq already")
        held = self._hold()
        try:
            if len(self._napis) >= self.poll_mask:
                self._resize_poll_list(2 * len(self._napis) + 4)
            self._napis.append(napi)
            napi.softirq = self
        finally:
            self._let_go(held)
        napi._observe(NAPI_ADDED, 0)

    def remove(self, Napi napi not None):
        """Let a disabled NAPI go (netif_napi_del), when no run is using it any more.

        Raises ValueError if it is not one of its own, RuntimeError if it is not disabled, OSError EDEADLK inside a run.
        """
        if napi.softirq is not self:
            raise ValueError("this NAPI does not belong to this Softirq")
        if not napi.disabled or napi.listed:
            raise RuntimeError(f"disable a NAPI before removing it: {napi!r}")
        napi._observe(NAPI_REMOVED, 0)
        if not self._hold():
            raise OSError(errno.EDEADLK, "a NAPI cannot be removed from inside the softirq that may be polling it")
        try:
            self._napis.remove(napi)
            napi.softirq = None
        finally:
            self._let_go(True)

    def add_irq(self, IrqLine line not None):
        """Service this interrupt line from now on. Raises ValueError if it does already."""
        if line in self._irqs:
            raise ValueError("this interrupt line is serviced already")
        held = self._hold()
        try:
            self._irqs.append(line)
            self._list_irqs()
        finally:
            self._let_go(held)
        if self.observer is not None:
            self._tell(IRQ_ADDED, line, 0)

    def remove_irq(self, IrqLine line not None):
        """Stop servicing this line; on return its handler is not running, except for the caller's own (synchronize_irq)."""
        if line not in self._irqs:
            raise ValueError("this interrupt line is not serviced here")
        held = self._hold()
        try:
            self._irqs.remove(line)
            self._list_irqs()
        finally:
            self._let_go(held)
        if self.observer is not None:
            self._tell(IRQ_REMOVED, line, 0)

    def net_rx_action(self):
        """Run once: service the interrupt lines that are up and poll what is scheduled, within the budget and the time limit.

        Returns packets received + interrupts handled. Raises what a Python handler or on_poll raised.
        """
        cdef int done
        with nogil:
            done = self.run()
        self.raise_error()
        return done

    cdef int raise_error(self) except -1:
        """Raise the first error that a handler or a poll left behind; who runs it without the GIL calls this now and then."""
        for source in (*self._napis, *self._irqs):
            if source.error is not None:
                error, source.error = source.error, None
                raise error
        return 0

    @property
    def in_softirq(self):
        """Whether the caller runs inside a run of it, on this thread: a sink, a poll, a handler."""
        return bool(self._inside())

    @property
    def work_pending(self):
        """Whether a run would do something: a line is up, or a NAPI is scheduled."""
        return bool(self.pending())

    def __repr__(self):
        return f"<Softirq: {len(self._napis)} NAPIs, {len(self._irqs)} lines, {self.runs} runs, {self.time_squeezes} time squeezes>"
