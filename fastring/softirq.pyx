"""Softirq: one CPU's NET_RX softirq: the budget loop that polls NAPIs, and the threads that do.

A run (net_rx_action) services the interrupt lines that are up and polls what is scheduled, first come first served, until that is done
or its budget or time is over; what is left is run again: by the next run, or by ksoftirqd, where there is one.

Only one thread at a time is on this CPU: whoever runs it, polls, or changes its lists has taken it, and others wait or go without. A
threaded NAPI is polled by its own thread. Without `preempt` that gets the CPU in its turn, inside a run, as kernel threads do on one CPU
that is never taken from anybody: all is as deterministic as without threads, and the run ends when they are done. With `preempt` it polls
as soon as it is woken, and the CPU is free.

Threads: one runs it, fires its clock's timers and is the interrupt handlers'. With `preempt`, polls and handlers run beside it, so what
they touch must bear that: cards on a DeviceThread or in another process, rings with two ends. Timers that they want are armed by the next
run. Others, with the GIL: add and remove, and what Napi says.
"""

import errno
import threading
import time

from libc.stdlib cimport free, malloc, realloc

from fastring.atomic cimport cpu_relax, exchange32, fetch_or32, load_acquire32, store_release32
from fastring.clock cimport Clock
from fastring.napi cimport (
    IRQ, IRQ_ADDED, IRQ_DONE, IRQ_REMOVED, NAPI_ADDED, NAPI_REMOVED, NAPI_SCHED_THREADED, NAPI_THREADED,
)

cdef extern from "<pthread.h>" nogil:
    unsigned long pthread_self()

cdef extern from "<unistd.h>" nogil:
    int usleep(unsigned int microseconds)

cdef extern from "<semaphore.h>" nogil:
    int sem_post(void* semaphore)

cdef enum:
    SPINS = 200                     # looks at a CPU that is taken, before sleeping between two
    FIRST_NAPI_ID = 8193            # MIN_NAPI_ID of a kernel for 8192 CPUs

cdef double WAIT = 50e-6            # seconds between two looks at what another thread holds
cdef double PATIENCE = 1.0          # seconds before that is an error


cdef inline void wait(uint32_t* rounds) noexcept nogil:
    """A moment longer each time, up to WAIT."""
    rounds[0] += 1
    if rounds[0] < SPINS:
        cpu_relax()
    else:
        usleep(50)


cdef bint failed(list napis, list irqs):
    """Whether a handler or a poll left an error behind. Takes none in its hands: without the GIL another thread may just put one there."""
    for napi in napis:
        if (<Napi>napi).error is not None or ((<Napi>napi).gro_context is not None and (<Napi>napi).gro_context.error is not None):
            return True
    for line in irqs:
        if (<IrqLine>line).error is not None:
            return True
    return False


cdef class Softirq(NapiScheduler):
    """One CPU's NET_RX softirq: interrupt lines, and a FIFO of NAPIs to poll within a budget and a time limit.

    `budget`: packets a run (and polls, so that a run ends on a virtual clock, too); `time_limit_us`: as netdev_budget_usecs.
    `preempt`: NAPIs' own threads poll beside whoever runs it.
    """

    def __cinit__(self, Clock clock not None, *, int budget=300, int64_t time_limit_us=2000, bint preempt=False):
        if budget < 1 or not 1 <= time_limit_us <= 10**12:
            raise ValueError(f"a softirq needs a budget and a time limit of at least 1, not {budget} and {time_limit_us}")
        self.clock = clock
        self.budget = budget
        self.time_limit = time_limit_us * 1000
        self.preempt = preempt
        self._next_napi_id = FIRST_NAPI_ID
        self._napis = []
        self._irqs = []

    def __dealloc__(self):
        free(self.irq_lines)
        free(self.poll_list)

    cdef int run(self) noexcept nogil:
        """One net_rx_action. Returns packets received + interrupts handled; 0 if the CPU is taken. Softirq thread only."""
        cdef int done
        if not self._try_take_cpu():
            return 0
        self.thread = pthread_self()
        if self.preempt:
            self._start_wanted_timers()
        done = self._net_rx_action()
        self.let_go(True)
        return done

    cdef int _net_rx_action(self) noexcept nogil:
        cdef int handled, packets = 0, polls = 0
        cdef int64_t deadline
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
        self.tell(IRQ, line, 0)
        ran = line.service()
        self.tell(IRQ_DONE, line, ran)
        return ran

    cdef int _poll_first(self) noexcept nogil:
        """Poll the NAPI at the list's head; return its packets."""
        cdef PyObject* first = self.poll_list[self.poll_head & self.poll_mask]
        self.poll_head += 1
        return self._poll_listed(<Napi>first)

    cdef int _poll_listed(self, Napi napi) noexcept nogil:
        """Poll one that was taken off the list, or let its thread do so and wait; back to the tail if it must be polled again."""
        cdef int work
        cdef bint again
        napi.listed = False
        if load_acquire32(&napi.state) & NAPI_SCHED_THREADED and napi.kthread is not None:
            napi.kthread.run_turn()
            work = (<NapiThread>napi.kthread).packets
            again = (<NapiThread>napi.kthread).again
        else:
            again = napi.poll_once(&work)
        if again:
            self._append(napi)
        return work

    cdef void enqueue(self, Napi napi) noexcept nogil:
        """____napi_schedule: to its thread, or to the list's tail. Who has taken the CPU."""
        if load_acquire32(&napi.state) & NAPI_THREADED and napi.kthread is not None:
            fetch_or32(&napi.state, NAPI_SCHED_THREADED)
            if self.preempt:
                napi.kthread.wake()
                return
        self._append(napi)

    cdef void _append(self, Napi napi) noexcept nogil:
        if napi.listed:
            return
        napi.listed = True
        self.poll_list[self.poll_tail & self.poll_mask] = <PyObject*>napi
        self.poll_tail += 1

    cdef void _poll_threaded(self, Napi napi, Kthread kthread) noexcept nogil:
        """napi_threaded_poll: poll until it completes, others on the CPU in between. Its own thread, with `preempt`."""
        cdef uint32_t rounds
        cdef bint again = True
        cdef int work
        while again:
            rounds = 0
            while not self._try_take_cpu():
                if kthread.should_stop():
                    return
                wait(&rounds)
            # Looked at with the CPU taken: disable() may have polled it to its end.
            again = load_acquire32(&napi.state) & NAPI_SCHED_THREADED and napi.poll_once(&work)
            self.let_go(True)

    cdef void start_timer(self, Napi napi, int64_t deadline) noexcept nogil:
        """Arm its timer, or have the clock's thread do so. Who has taken the CPU."""
        if self.preempt and self.thread != pthread_self():
            napi.timer_wanted = deadline
            store_release32(&self.timers_wanted, 1)
        else:
            self.clock.arm(&napi.timer, deadline)

    cdef void _start_wanted_timers(self) noexcept nogil:
        if load_acquire32(&self.timers_wanted) and exchange32(&self.timers_wanted, 0):
            with gil:
                for napi in self._napis:
                    if (<Napi>napi).timer_wanted >= 0:
                        self.clock.arm(&(<Napi>napi).timer, (<Napi>napi).timer_wanted)
                        (<Napi>napi).timer_wanted = -1

    # --- whose the CPU is

    cdef bint _try_take_cpu(self) noexcept nogil:
        if exchange32(&self.running, 1):
            return False
        self.holder = pthread_self()
        return True

    cdef bint take_cpu(self) noexcept nogil:
        """Wait until nobody else is on it, and stay until let_go. False inside a run or a poll on this thread: it is taken."""
        cdef uint32_t rounds = 0
        if self.inside():
            return False
        while not self._try_take_cpu():
            wait(&rounds)
        return True

    cdef bint hold(self) except -1:
        """The same with the GIL, which who is on it may want; Raises TimeoutError after a second."""
        cdef double deadline
        if self.inside():
            return False
        if not self._try_take_cpu():
            deadline = time.monotonic() + PATIENCE
            while not self._try_take_cpu():
                if time.monotonic() > deadline:
                    raise TimeoutError(errno.ETIMEDOUT, f"another thread's run did not end in {PATIENCE} s: {self!r}")
                time.sleep(WAIT)
        return True

    cdef void let_go(self, bint held) noexcept nogil:
        if held:
            self.holder = 0         # before another may take it: only who is inside finds itself here
            store_release32(&self.running, 0)

    cdef bint inside(self) noexcept nogil:
        """Whether the calling thread is inside a run or a poll."""
        return load_acquire32(&self.running) and self.holder == pthread_self()

    cdef bint mine(self) except -1:
        """Whether the calling thread may run it: it did last, or nobody has, or that thread has ended."""
        return self.thread in (0, pthread_self()) or self.thread not in {thread.ident for thread in threading.enumerate()}

    # --- control plane

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
        held = self.hold()
        try:
            if len(self._napis) >= self.poll_mask:
                self._resize_poll_list(2 * len(self._napis) + 4)
            self._napis.append(napi)
            napi.softirq = self
            napi.clock = self.clock
            napi.napi_id = self._next_napi_id
            self._next_napi_id += 1
        finally:
            self.let_go(held)
        napi.observe(NAPI_ADDED, 0)

    def remove(self, Napi napi not None):
        """Let a disabled NAPI go (netif_napi_del), when no run is using it any more.

        Raises ValueError if it is not one of its own, RuntimeError if it is not disabled, OSError EDEADLK inside a run.
        """
        if napi.softirq is not self:
            raise ValueError("this NAPI does not belong to this Softirq")
        if not napi.disabled or napi.listed:
            raise RuntimeError(f"disable a NAPI before removing it: {napi!r}")
        napi.observe(NAPI_REMOVED, 0)
        if not self.hold():
            raise OSError(errno.EDEADLK, "a NAPI cannot be removed from inside the softirq that may be polling it")
        try:
            self._napis.remove(napi)
            napi.softirq = None
            napi.napi_id = 0
        finally:
            self.let_go(True)

    def add_irq(self, IrqLine line not None):
        """Service this interrupt line from now on. Raises ValueError if it does already."""
        if line in self._irqs:
            raise ValueError("this interrupt line is serviced already")
        held = self.hold()
        try:
            self._irqs.append(line)
            self._list_irqs()
        finally:
            self.let_go(held)
        if self.observer is not None:
            self.tell(IRQ_ADDED, line, 0)

    def remove_irq(self, IrqLine line not None):
        """Stop servicing this line; on return its handler is not running, except for the caller's own (synchronize_irq)."""
        if line not in self._irqs:
            raise ValueError("this interrupt line is not serviced here")
        held = self.hold()
        try:
            self._irqs.remove(line)
            self._list_irqs()
        finally:
            self.let_go(held)
        if self.observer is not None:
            self.tell(IRQ_REMOVED, line, 0)

    def net_rx_action(self):
        """Run once: service the interrupt lines that are up and poll what is scheduled, within the budget and the time limit.

        Returns packets received + interrupts handled. Raises what a Python handler or on_poll raised.
        """
        cdef int done
        with nogil:
            done = self.run()
        self.raise_error()
        return done

    def run_ksoftirqd(self):
        """The same from ksoftirqd's thread, when the CPU is free; what was raised stays for net_rx_action to raise."""
        cdef int done
        cdef bint held
        with nogil:
            held = self.take_cpu()
            done = self._net_rx_action() if held else 0
            self.let_go(held)
        return done

    def napi_by_id(self, uint32_t napi_id):
        """The NAPI of that number, or None."""
        return next((napi for napi in self._napis if napi.napi_id == napi_id), None)

    cdef Kthread make_thread(self, Napi napi, str name):
        return NapiThread(name, self, napi)

    cdef int raise_error(self) except -1:
        """Raise the first error that a handler or a poll left behind; who runs it without the GIL calls this now and then."""
        cdef bint held
        if not failed(self._napis, self._irqs):
            return 0
        held = self.hold()              # polls leave them there
        try:
            for source in (*self._napis, *(napi.gro for napi in self._napis), *self._irqs):
                if source is not None and source.error is not None:
                    error, source.error = source.error, None
                    raise error
        finally:
            self.let_go(held)
        return 0

    @property
    def in_softirq(self):
        """Whether the caller runs inside a run of it, on this thread: a sink, a poll, a handler."""
        return bool(self.inside())

    @property
    def polled_wires(self):
        """The wires from outside the process that its runs look at: wait for their `fileno`."""
        return [line.wire for line in self._irqs if line.wire is not None]

    @property
    def work_pending(self):
        """Whether a run would do something: a line is up, or a NAPI is scheduled."""
        return bool(self.pending())

    def __repr__(self):
        return f"<Softirq: {len(self._napis)} NAPIs, {len(self._irqs)} lines, {self.runs} runs, {self.time_squeezes} time squeezes>"


cdef class NapiThread(Kthread):
    """The thread of one NAPI, napi/eth0-N."""

    def __init__(self, str name not None, Softirq softirq not None, Napi napi not None):
        super().__init__(name)
        self.softirq = softirq
        self.napi = napi

    cdef void work(self) noexcept nogil:
        cdef unsigned long runner
        if self.softirq.preempt:
            self.softirq._poll_threaded(self.napi, self)
            return
        runner, self.softirq.holder = self.softirq.holder, pthread_self()       # who waits in run_turn
        self.again = self.napi.poll_once(&self.packets)
        self.softirq.holder = runner
        sem_post(&self.turns)
