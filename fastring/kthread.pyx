"""Kthread: a kernel thread that sleeps until it is woken, then does its work once: ksoftirqd, a threaded NAPI.

A wake-up is never lost: who wakes it has published what there is to do before, and sets `woken`; the thread clears that before it
looks. So either it sees the work, or it is woken once more. A semaphore keeps a wake-up for a thread that is not asleep yet.
"""

import errno
import threading

from fastring.atomic cimport exchange32, load_acquire32, store_release32

cdef extern from "<semaphore.h>" nogil:
    int sem_init(sem_t* semaphore, int shared, unsigned int value)
    int sem_destroy(sem_t* semaphore)
    int sem_post(sem_t* semaphore)
    int sem_wait(sem_t* semaphore)

cdef extern from "<sys/prctl.h>" nogil:
    int PR_SET_NAME
    int prctl(int option, const char* name)


cdef class Kthread:
    """Thread `name`, from `start` to `stop`: whenever it is woken, one turn of `work`, or of `callback()`."""

    def __cinit__(self):
        sem_init(&self.wakeups, 0, 0)
        sem_init(&self.turns, 0, 0)

    def __init__(self, str name not None, callback=None):
        self.name = name
        self.callback = callback

    def __dealloc__(self):
        sem_destroy(&self.wakeups)
        sem_destroy(&self.turns)

    cdef void work(self) noexcept nogil:
        with gil:
            try:
                self.callback()
            except BaseException as error:      # there is nobody to raise it to
                self.error = error

    cdef void wake(self) noexcept nogil:
        """What it is to do has been published. Pairs with the exchange in `loop`."""
        if not exchange32(&self.woken, 1):
            sem_post(&self.wakeups)

    cdef void run_turn(self) noexcept nogil:
        self.wake()
        while sem_wait(&self.turns) != 0:
            pass                    # EINTR: a signal's handler runs when the caller is back in Python

    cdef bint should_stop(self) noexcept nogil:
        return load_acquire32(&self.stopping)

    cdef void loop(self) noexcept nogil:
        while True:
            if sem_wait(&self.wakeups) != 0:
                continue            # EINTR
            if self.should_stop():
                return
            exchange32(&self.woken, 0)      # before the look at what there is to do
            self.work()

    def _run(self):
        cdef bytes name = self.name.encode()
        prctl(PR_SET_NAME, name)    # as ps and top show it, its first 15 bytes
        with nogil:
            self.loop()

    def start(self):
        """Begin to wait for wake-ups (kthread_run). Raises OSError EAGAIN where there can be no more threads, RuntimeError if it runs."""
        if self.thread is not None:
            raise RuntimeError(f"{self.name} runs already")
        store_release32(&self.stopping, 0)
        thread = threading.Thread(target=self._run, name=self.name, daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            raise OSError(errno.EAGAIN, f"{self.name} cannot be started: {error}") from None
        self.thread = thread

    def stop(self):
        """Have it end and wait until it has (kthread_stop); harmless when it does not run. Raises RuntimeError from the thread itself."""
        if self.thread is None:
            return
        if self.thread is threading.current_thread():
            raise RuntimeError(f"{self.name} cannot wait for its own end")
        store_release32(&self.stopping, 1)
        sem_post(&self.wakeups)
        self.thread.join()
        self.thread = None

    def wake_up(self):
        """Have it do a turn of its work, or another after the one that goes on (wake_up_process). Any thread."""
        self.wake()

    @property
    def running(self):
        """Whether it was started and not stopped."""
        return self.thread is not None

    def __repr__(self):
        return f"<{type(self).__name__} {self.name}: {'runs' if self.running else 'stopped'}>"
