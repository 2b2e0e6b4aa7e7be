"""Napi: the poll contract of NAPI, its state bits, GRO's flush and the interrupts that are put off.

The contract (the kernel's Documentation/networking/napi.rst and net/core/dev.c): an interrupt masks its device and schedules;
whoever polls does so with a budget; a poll that finds less work than that completes and, if complete_done says True, unmasks. An
interrupt that comes in between sets MISSED, and complete_done answers False: it is polled again, so no event is lost.
A poll that used up its budget touches nothing and is polled again.

SCHED says that somebody polls it, or will, and there is only one: the softirq, its own thread (THREADED), a busy poller
(IN_BUSY_POLL), or disable(), which lets nobody (NPSVC). Where `gro_flush_timeout` and `napi_defer_hard_irqs` are set a completion
may arm a timer instead of unmasking: that schedules it again, and so what GRO held goes up in a poll.

Threads: schedule and complete_done belong to who holds the softirq's CPU: its run, a poll. enable and disable, threaded mode and
busy polling are the control plane's, from any thread with the GIL.
"""

import errno
import time

from cython cimport no_gc_clear

from fastring.atomic cimport compare_exchange32, fetch_and32, fetch_or32, load_acquire32

cdef double WAIT = 50e-6            # seconds between two looks at what another thread holds
cdef double PATIENCE = 1.0          # seconds before that is an error
cdef int64_t MAX_TIMEOUT = 1 << 62


EVENTS = (
    "napi_added", "napi_removed", "napi_enabled", "napi_disabling", "napi_scheduling", "napi_poll", "napi_polled", "napi_completing",
    "irq_added", "irq_removed", "irq", "irq_done",
)


cdef class NapiScheduler:
    """What polls NAPIs: Softirq.

    `observer(event, source, value)`, if there is one, is told of what happens to its NAPIs and lines, by the names in EVENTS, each
    before it happens but for "napi_added", "irq_added", "irq_removed", "napi_polled" (value: the work) and "irq_done".
    """

    cdef void tell(self, int event, object source, int value) noexcept with gil:
        """Call the observer. What it raises is kept where an error of a poll or a handler is."""
        try:
            if self.observer is not None:
                self.observer(EVENTS[event], source, value)
        except BaseException as error:
            source.error = error

    cdef void enqueue(self, Napi napi) noexcept nogil:
        pass

    cdef int run(self) noexcept nogil:
        return 0

    cdef void start_timer(self, Napi napi, int64_t deadline) noexcept nogil:
        pass

    cdef bint inside(self) noexcept nogil:
        return False

    cdef bint take_cpu(self) noexcept nogil:
        return False

    cdef bint hold(self) except -1:
        return False

    cdef void let_go(self, bint held) noexcept nogil:
        pass

    cdef bint mine(self) except -1:
        return False

    cdef Kthread make_thread(self, Napi napi, str name):
        raise NotImplementedError()


@no_gc_clear                        # its timer is the clock's until the very end
cdef class Napi:
    """One pollable context. Subclass in Cython and override `poll`, or in Python and override `on_poll`.

    A new one is disabled, as after netif_napi_add: add it to a Softirq, then enable it.
    """

    def __cinit__(self):
        self.state = NAPI_SCHED | NAPI_NPSVC
        self.disabled = True
        self.weight = 64
        self.timer.handler = _watchdog
        self.timer.context = <void*>self
        self.timer_wanted = -1

    def __init__(self, int weight=64):
        if weight < 1:
            raise ValueError(f"a NAPI weight is at least 1 packet, not {weight}")
        self.weight = weight

    def __dealloc__(self):
        if self.timer.armed:
            self.clock.cancel(&self.timer)

    # --- the contract

    cdef int poll(self, int budget) noexcept nogil:
        """Receive at most `budget` packets and return how many; fewer than budget: call complete_done first. Holding the CPU."""
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
        """Have it polled; True if this call scheduled it. Holding the CPU: an interrupt handler, or a poll."""
        self.observe(NAPI_SCHEDULING, 0)
        if not self.schedule_prep():
            return False
        self.softirq.enqueue(self)
        return True

    cdef bint complete_done(self, int work) noexcept nogil:
        """End polling. True: unmask interrupts. False: it will be polled again; it is another's to end; or its timer unmasks later."""
        cdef uint32_t state, then
        cdef int64_t timeout = 0
        cdef bint unmask = True
        self.observe(NAPI_COMPLETING, work)
        state = load_acquire32(&self.state)
        if not state & NAPI_SCHED or state & (NAPI_NPSVC | NAPI_IN_BUSY_POLL):
            return False            # not scheduled, or who owns it ends that itself
        if self.gro_context is not None or self.deferrals or self.deferrals_left:
            self._flush_and_defer(work, &timeout, &unmask)
            state = load_acquire32(&self.state)
        while True:
            then = state & ~<uint32_t>(NAPI_MISSED | NAPI_SCHED | NAPI_SCHED_THREADED | NAPI_PREFER_BUSY_POLL)
            if state & NAPI_MISSED:
                then |= NAPI_SCHED
            if compare_exchange32(&self.state, &state, then):
                break
        if state & NAPI_MISSED:
            self.misses += 1
            self.softirq.enqueue(self)
            return False
        self.completions += 1
        if timeout:
            self.softirq.start_timer(self, self.clock.now() + timeout)
        return unmask

    cdef void _flush_and_defer(self, int work, int64_t* timeout, bint* unmask) noexcept nogil:
        """napi_complete_done's first half: GRO goes up, or waits for the timer; so may the interrupts, a number of times in a row."""
        cdef bint held = self.gro_context is not None and self.gro_context.held
        if work:
            if held:
                timeout[0] = self.flush_timeout
            self.deferrals_left = self.deferrals
        if self.deferrals_left > 0:
            self.deferrals_left -= 1
            timeout[0] = self.flush_timeout
            if timeout[0]:
                unmask[0] = False
        if held:
            self.gro_context.flush_held(timeout[0] != 0)

    cdef int poll_clamped(self, int budget) noexcept nogil:
        """Poll, and count it. Returns the packets, 0 to budget."""
        cdef int work
        self.observe(NAPI_POLL, budget)
        work = self.poll(budget)
        self.observe(NAPI_POLLED, work)
        if work > budget or work < 0:
            self.overruns += 1
            work = budget if work > 0 else 0
        self.polls += 1
        self.packets += work
        return work

    cdef void observe(self, int event, int value) noexcept nogil:
        if self.softirq is not None and self.softirq.observer is not None:
            self.softirq.tell(event, self, value)

    cdef bint poll_once(self, int* work) noexcept nogil:
        """Poll with the full weight (__napi_poll); returns whether all of that was used up, and it must be polled again."""
        cdef uint32_t state
        work[0] = self.poll_clamped(self.weight)
        if work[0] < self.weight:
            return False
        state = load_acquire32(&self.state)
        if not state & NAPI_SCHED or self.listed:
            return False                        # it completed all the same, against the contract
        if state & NAPI_DISABLE:
            self.complete_done(work[0])         # somebody waits in disable()
            return False
        if state & NAPI_PREFER_BUSY_POLL:
            if self.complete_done(work[0]):     # without a timer nobody would come back
                self.schedule()
            return False
        if self.gro_context is not None and self.gro_context.held:
            self.gro_context.flush_held(True)
        return True

    cdef void _watchdog_fired(self) noexcept nogil:
        """napi_watchdog: have it polled, unless somebody does. No MISSED: no device has anything new. Clock's thread."""
        cdef bint held = self.softirq.take_cpu()
        cdef uint32_t state = load_acquire32(&self.state)
        while not state & (NAPI_DISABLE | NAPI_SCHED):
            if compare_exchange32(&self.state, &state, (state | NAPI_SCHED) & ~<uint32_t>NAPI_PREFER_BUSY_POLL):
                self.softirq.enqueue(self)
                break
        self.softirq.let_go(held)

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
        held = self.softirq.hold()
        try:
            return self.schedule()
        finally:
            self.softirq.let_go(held)

    def napi_complete_done(self, int work=0):
        """End polling; True if interrupts may be unmasked. From on_poll, with less work than its budget."""
        return self.complete_done(work)

    # --- enable and disable

    cdef bint _try_own(self) noexcept nogil:
        """Take it for disable(), if nobody has it."""
        cdef uint32_t state = load_acquire32(&self.state)
        while not state & (NAPI_SCHED | NAPI_NPSVC):
            if compare_exchange32(&self.state, &state, (state | NAPI_SCHED | NAPI_NPSVC)
                                  & ~<uint32_t>(NAPI_THREADED | NAPI_PREFER_BUSY_POLL)):
                return True
        return False

    cdef bint _give_up(self) noexcept nogil:
        """End a disable() in vain; the poll looks again, for what was refused meanwhile. False: it has completed, and is owned."""
        cdef uint32_t state = load_acquire32(&self.state)
        while not compare_exchange32(&self.state, &state, state & ~<uint32_t>NAPI_DISABLE
                                     | (NAPI_MISSED if state & NAPI_SCHED else NAPI_SCHED | NAPI_NPSVC)):
            pass
        return state & NAPI_SCHED != 0

    def enable(self):
        """Let it be scheduled. Raises RuntimeError unless it is disabled (the kernel's BUG_ON) and has a Softirq.

        Threaded mode: OSError EAGAIN if its thread cannot be started; it stays disabled.
        """
        if self.softirq is None:
            raise RuntimeError("a NAPI is enabled after Softirq.add")
        if not self.disabled:
            raise RuntimeError("enable() of a NAPI that is not disabled")
        self.observe(NAPI_ENABLED, 0)
        if self.thread_name is not None:
            self._start_thread()
            fetch_or32(&self.state, NAPI_THREADED)
        self.disabled = False
        fetch_and32(&self.state, ~<uint32_t>(NAPI_SCHED | NAPI_NPSVC))

    def disable(self, *, double timeout=PATIENCE):
        """Wait until it is not scheduled, then keep it so; its timer and its thread end. On the thread that runs its Softirq, run that
        meanwhile.

        Raises TimeoutError when the poll does not complete in `timeout` seconds; RuntimeError if it is disabled already;
        OSError EDEADLK from inside a poll, which would wait for itself.
        """
        cdef double deadline = time.monotonic() + timeout
        cdef int done
        if self.disabled:
            raise RuntimeError("disable() of a NAPI that is disabled already would wait for ever")
        self.observe(NAPI_DISABLING, 0)
        fetch_or32(&self.state, NAPI_DISABLE)
        try:
            while not self._try_own():
                if self.softirq.inside():
                    raise OSError(errno.EDEADLK, "disable() of a scheduled NAPI from inside the softirq that must finish it")
                if time.monotonic() > deadline:
                    raise TimeoutError(errno.ETIMEDOUT, f"the poll did not complete in {timeout} s: {self!r}")
                done = 0
                if self.softirq.mine():
                    with nogil:
                        done = self.softirq.run()
                if not done:
                    time.sleep(WAIT)
        except BaseException as error:
            if self._give_up():
                raise
            self._is_disabled()
            if not isinstance(error, TimeoutError):
                raise
        else:
            self._is_disabled()
            fetch_and32(&self.state, ~<uint32_t>NAPI_DISABLE)

    def _is_disabled(self):
        self.disabled = True
        fetch_and32(&self.state, ~<uint32_t>(NAPI_THREADED | NAPI_PREFER_BUSY_POLL))
        self.timer_wanted = -1
        self.clock.cancel(&self.timer)
        kthread, self.kthread = self.kthread, None
        if kthread is not None:
            kthread.stop()

    # --- threaded mode

    def set_threaded(self, str name):
        """Have it polled by a thread of its own, called `name`, or by the softirq again: None (dev_set_threaded).

        At once, or as soon as the poll that goes on has completed. The thread is there while the NAPI is enabled. Raises OSError
        EAGAIN if it cannot be started.
        """
        if name is None:
            fetch_and32(&self.state, ~<uint32_t>NAPI_THREADED)
            self.thread_name = None
            return
        self.thread_name = name
        if not self.disabled:
            try:
                self._start_thread()
            except BaseException:
                self.thread_name = None
                raise
            fetch_or32(&self.state, NAPI_THREADED)          # after the thread is there

    def _start_thread(self):
        if self.kthread is None:
            kthread = self.softirq.make_thread(self, self.thread_name)
            kthread.start()
            self.kthread = kthread

    # --- what can be seen and set

    @property
    def threaded(self):
        """Whether it has, or will have when it is enabled, a thread of its own."""
        return self.thread_name is not None

    @property
    def thread(self):
        """That Kthread, while it is enabled."""
        return self.kthread

    @property
    def gro(self):
        """What it holds back of what it received: flushed when polling completes. Set while it is disabled."""
        return self.gro_context

    @gro.setter
    def gro(self, GroContext value):
        if not self.disabled:
            raise RuntimeError("the GRO context of a NAPI is set while it is disabled")
        self.gro_context = value

    @property
    def gro_flush_timeout(self):
        """Nanoseconds that a completion may wait with what GRO holds, or with unmasking; 0: it does not."""
        return self.flush_timeout

    @gro_flush_timeout.setter
    def gro_flush_timeout(self, int64_t value):
        if not 0 <= value <= MAX_TIMEOUT:
            raise ValueError(f"gro_flush_timeout is 0 to {MAX_TIMEOUT} ns, not {value}")
        self.flush_timeout = value

    @property
    def defer_hard_irqs(self):
        """How many polls in a row may find nothing before interrupts are unmasked; needs gro_flush_timeout."""
        return self.deferrals

    @defer_hard_irqs.setter
    def defer_hard_irqs(self, int value):
        if value < 0:
            raise ValueError(f"napi_defer_hard_irqs is 0 or more, not {value}")
        self.deferrals = value

    @property
    def scheduled(self):
        """Whether it is waiting to be polled, or being polled."""
        return not self.disabled and bool(load_acquire32(&self.state) & NAPI_SCHED)

    def __repr__(self):
        state = "disabled" if self.disabled else "scheduled" if self.scheduled else "idle"
        return f"<{type(self).__name__}: {state}, weight {self.weight}, {self.polls} polls, {self.packets} packets>"


cdef void _watchdog(void* context) noexcept nogil:
    (<Napi>context)._watchdog_fired()
