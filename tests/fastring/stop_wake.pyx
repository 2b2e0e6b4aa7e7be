"""Races of TxQueue's stopper against its waker, on two threads without the GIL: compiled when the tests run.

A lost wake-up is a queue that is stopped although there is room, while nobody is left who would wake it. It is looked for
where neither thread is on its way: then what both see is final, and no time-out has to guess.
"""

from libc.stdint cimport int32_t, uint32_t, uint64_t

from fastring.atomic cimport load_acquire32, load_relaxed32, store_release32
from fastring.txq cimport DRV_XOFF, STACK_XOFF, TxQueue
from patience cimport PATIENCE, wait

cdef enum:
    LONGEST_DELAY = 500             # loads before a thread does its part of a round
    PACKET = 100                    # bytes


cdef struct Index:
    uint32_t value
    char line[124]                  # each written by one thread, on cache lines of its own


cdef class Race:
    """A ring of `size` slots and its queue, stopped below `stop` free slots and started again at `start`.

    Counts what the two helpers answered; `lost` says where a wake-up was lost, or is None.
    """

    cdef Index producer, consumer, handled, transmitter, poller
    cdef readonly TxQueue txq
    cdef uint32_t size, stop, start, over
    cdef readonly uint64_t rounds, room, stopped, restarted, false_wakes    # transmitting thread
    cdef char _line[128]
    cdef readonly uint64_t woken, no_need, no_room                          # reclaiming thread
    cdef readonly str lost

    def __cinit__(self, TxQueue txq, uint32_t size, uint32_t stop, uint32_t start):
        self.txq, self.size, self.stop, self.start = txq, size, stop, start

    cdef uint32_t free(self) noexcept nogil:
        return self.size - (load_acquire32(&self.producer.value) - load_acquire32(&self.consumer.value))

    cdef int send(self, uint32_t packets) noexcept nogil:
        """As a driver's xmit: bytes, index, and only then the helper."""
        cdef int answer
        self.txq.sent(PACKET * packets)
        store_release32(&self.producer.value, self.producer.value + packets)
        answer = self.txq.maybe_stop(free_slots, <void*>self, self.stop, self.start)
        self.room += answer == 1
        self.stopped += answer == 0
        self.restarted += answer == -1
        return answer

    cdef int reclaim(self, uint32_t packets) noexcept nogil:
        """As a driver's poll: index, and only then the helper."""
        cdef int answer
        store_release32(&self.consumer.value, self.consumer.value + packets)
        answer = self.txq.completed_wake(packets, PACKET * packets, self.free(), self.start, 0)
        self.woken += answer == 0
        self.no_need += answer == 1
        self.no_room += answer == -1
        return answer

    cdef bint is_lost(self) noexcept nogil:
        """Whether a bit is set that nothing justifies. Both threads have done their part, so nobody will clear it."""
        cdef uint32_t state = load_acquire32(&self.txq.state)
        cdef bint bytes_fit = <int32_t>(load_acquire32(&self.txq.adj_limit) - load_acquire32(&self.txq.num_queued)) >= 0
        return (state & DRV_XOFF and self.free() >= self.start) or (state & STACK_XOFF and bytes_fit)

    cdef int tell(self) except -1:
        cdef uint32_t state = self.txq.state
        bits = " and ".join(name for bit, name in ((DRV_XOFF, "DRV_XOFF"), (STACK_XOFF, "STACK_XOFF")) if state & bit)
        self.lost = (
            f"lost wake-up in round {self.rounds}: {bits} set with {self.free()} of {self.size} slots free (starts at {self.start}) and "
            f"{self.txq.num_queued - self.txq.num_completed} bytes in flight (limit {self.txq.limit}); producer {self.producer.value}, "
            f"consumer {self.consumer.value}; both threads are done: {self.txq!r}"
        )
        return 0

    cdef bint meet(self, Index* mine, Index* theirs) noexcept nogil:
        """Wait until the other thread is here, too; False if it does not come. No fence: it must not do the queue's work."""
        cdef uint64_t idle = 0
        cdef uint32_t turn = mine.value + 1
        store_release32(&mine.value, turn)
        while <int32_t>(load_acquire32(&theirs.value) - turn) < 0:
            if idle == PATIENCE:
                return False
            idle = wait(idle)
        return True

    # --- rounds: a transmission and a completion at the same moment, and a look when both are done

    def transmit_rounds(self, uint64_t rounds):
        """Each round fill the ring while the other thread frees as much. Returns whether all were played, none lost."""
        cdef uint32_t delay = 0, seed = 1
        cdef bint here = True
        with nogil:
            self.send(self.size - self.start)       # so that there is something to reclaim; room for `start` is left
            while here and self.rounds < rounds and not self.over:
                self.rounds += 1
                here = self.meet(&self.transmitter, &self.poller)
                pause(delay, &seed)
                # Aim at where stop and wake meet: whoever was first waits longer next time.
                delay = adapted(delay, self.send(self.start) == 0)
                here = here and self.meet(&self.transmitter, &self.poller)
                self.over = here and self.is_lost()
            if self.over:
                with gil:
                    self.tell()
            self.over = 1
            self.meet(&self.transmitter, &self.poller)
        return here and self.lost is None

    def reclaim_rounds(self):
        """The other thread of transmit_rounds; ends when that does. Returns whether it was never waited for in vain."""
        cdef uint32_t delay = 0, seed = 2
        cdef bint here
        with nogil:
            here = self.meet(&self.poller, &self.transmitter)
            while here and not load_acquire32(&self.over):
                pause(delay, &seed)
                delay = adapted(delay, self.reclaim(self.start) != 0)
                here = self.meet(&self.poller, &self.transmitter) and self.meet(&self.poller, &self.transmitter)
        return here

    # --- freely: each as fast as it can

    def transmit(self, uint32_t packets):
        """Send one packet at a time while the queue is awake; return how many before a wake-up was lost or it hung."""
        cdef uint32_t sent = 0, handled
        cdef uint64_t idle = 0
        with nogil:
            while sent < packets and idle < PATIENCE:
                handled = load_acquire32(&self.handled.value)       # before the state: what that poll did to it is seen
                if self.txq.stopped():
                    if handled == sent:     # polled to the end, and nobody called the helper since: it stays as it is
                        self.rounds = sent
                        with gil:
                            self.tell()
                        break
                    idle = wait(idle)
                elif self.free() == 0:
                    self.false_wakes += 1   # they may happen: a driver answers BUSY, and stops again
                    self.txq.maybe_stop(free_slots, <void*>self, self.stop, self.start)
                else:
                    idle = 0
                    sent += 1
                    self.send(1)
            self.over = sent < packets
        return sent

    def reclaim_all(self, uint32_t packets):
        """Reclaim whatever was sent, and wake; return how many."""
        cdef uint32_t done = 0, there
        cdef uint64_t idle = 0
        with nogil:
            while done < packets and idle < PATIENCE and not load_relaxed32(&self.over):
                there = load_acquire32(&self.producer.value) - done
                if there == 0:
                    idle = wait(idle)
                    continue
                idle = 0
                done += there
                self.reclaim(there)
                store_release32(&self.handled.value, done)          # acquired in transmit
        return done


cdef uint32_t free_slots(void* race) noexcept nogil:
    return (<Race>race).free()


cdef inline void pause(uint32_t delay, uint32_t* seed) noexcept nogil:
    """Some nanoseconds, and a random few on top: a race that is always run the same way shows one outcome only."""
    cdef uint32_t _spin
    seed[0] = seed[0] * 1664525u + 1013904223u
    for _spin in range(delay + (seed[0] >> 28)):
        load_relaxed32(seed)


cdef inline uint32_t adapted(uint32_t delay, bint was_first) noexcept nogil:
    if was_first:
        return min(delay + 1, LONGEST_DELAY)
    return delay - 1 if delay else 0
