"""DeviceThread: the engines of some cards on a thread of their own, as silicon runs beside its CPU.

Doorbells are then plain stores that this thread watches; any other register access takes the lock that the thread holds while
it works. One lock serves all its cards, since a wire between two of them takes one into the other's engine.
"""

import os
import queue
import threading

from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport calloc, free

from e1000.device.card cimport E1000Device
from e1000.device.lock cimport acquire, release
from e1000.device.moderation cimport expire_waits, moderation_resume, waits
from e1000.device.rx cimport rx_tail_moved
from e1000.device.state cimport Card, DeviceLock
from e1000.device.timers cimport cancel_timer
from e1000.device.tx cimport tx_run
from e1000.device.watch cimport saw
from fastring.atomic cimport cpu_relax, load_acquire32, load_relaxed32, store_release32

cdef enum:
    MOST_CARDS = 16
    PAUSE = 16                      # idle rounds of relaxing between two looks at the tails


cdef class DeviceThread:
    """Run the engines of `devices` on one thread, pinned to `cpu` if given, from `start` (or ``with``) to `stop`."""

    cdef list devices
    cdef Card* cards[MOST_CARDS]
    cdef uint32_t count
    cdef DeviceLock* lock           # a cache line of its own
    cdef uint32_t stopping
    cdef object cpu
    cdef object thread

    def __cinit__(self, devices, *, cpu=None):
        self.devices = list(devices)
        if not 0 < len(self.devices) <= MOST_CARDS:
            raise ValueError(f"a DeviceThread runs 1 to {MOST_CARDS} devices, not {len(self.devices)}")
        self.lock = <DeviceLock*>calloc(1, 128)
        if self.lock == NULL:
            raise MemoryError()
        for i, device in enumerate(self.devices):
            self.cards[i] = (<E1000Device?>device).card
        self.count = len(self.devices)
        self.cpu = cpu

    def __dealloc__(self):
        free(self.lock)

    def start(self):
        """Take the engines over. Raises RuntimeError if another DeviceThread has one of the cards, OSError if there is no such CPU."""
        cdef uint32_t i
        if self.thread is not None:
            raise RuntimeError("this DeviceThread runs already")
        for i in range(self.count):
            if self.cards[i].threaded:
                raise RuntimeError(f"{self.devices[i]!r} has a DeviceThread already")
        for i in range(self.count):
            cancel_timer(self.cards[i], &self.cards[i].wait_timer)
            self.cards[i].lock = self.lock
            self.cards[i].threaded = True
        store_release32(&self.stopping, 0)
        pinned = queue.SimpleQueue()
        self.thread = threading.Thread(target=self._run, args=(pinned,), name="e1000-device", daemon=True)
        self.thread.start()
        error = pinned.get()
        if error is not None:
            self.stop()
            raise error

    def stop(self):
        """Give the engines back to the threads that access the registers; harmless when not running."""
        cdef uint32_t i
        if self.thread is None:
            return
        store_release32(&self.stopping, 1)
        self.thread.join()
        self.thread = None
        for i in range(self.count):
            self.cards[i].threaded = False
            self.cards[i].lock = NULL
            moderation_resume(self.cards[i])

    def _run(self, pinned):
        """Pin this thread, tell `start` how that went, and run the engines."""
        try:
            if self.cpu is not None:
                os.sched_setaffinity(0, {self.cpu})
        except Exception as error:
            pinned.put(error)
            return
        pinned.put(None)
        with nogil:
            self.loop()

    cdef void loop(self) noexcept nogil:
        cdef uint32_t i, _round, stopping = 0
        cdef uint64_t before
        while not stopping:
            stopping = load_acquire32(&self.stopping)   # and one round more: for doorbells rung before stop was called
            before = self.heads()
            acquire(self.lock)
            for i in range(self.count):
                rx_tail_moved(self.cards[i])
                tx_run(self.cards[i])
                if waits(self.cards[i]):
                    expire_waits(self.cards[i])
                saw(self.cards[i])
            release(self.lock)
            if self.heads() == before:
                for _round in range(PAUSE):      # idle: leave the lock and the memory bus to the others
                    cpu_relax()

    cdef uint64_t heads(self) noexcept nogil:
        """Sum of all heads: unchanged when a round did nothing."""
        cdef uint64_t total = 0
        cdef uint32_t i
        for i in range(self.count):
            total += load_relaxed32(&self.cards[i].tdh) + load_relaxed32(&self.cards[i].rdh)
        return total

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *exc):
        self.stop()

    def __repr__(self):
        return f"<DeviceThread of {self.count} cards: {'stopped' if self.thread is None else 'running'}>"
