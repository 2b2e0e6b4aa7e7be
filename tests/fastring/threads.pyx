"""What runs without the GIL, on two threads for Ring and TxQueue, and on one for bursts: compiled when the tests run."""

from libc.stdint cimport int64_t, uint32_t, uint64_t

from fastring.atomic cimport cpu_relax, load_acquire32, store_release32
from fastring.burst cimport FRAME_MORE, Burst, BurstSink, BurstSource
from fastring.ring cimport Ring
from fastring.txq cimport TxQueue

cdef extern from "<sched.h>" nogil:
    int sched_yield()

cdef enum:
    PATIENCE = 100_000_000          # spins without progress before a thread calls it a hang: some seconds


cdef inline uint64_t wait(uint64_t idle) noexcept nogil:
    """One more spin; now and then the core goes to whom one waits for, who may have none."""
    if idle % 128 == 127:
        sched_yield()
    else:
        cpu_relax()
    return idle + 1


def push_all(Ring ring, uint64_t items, uint32_t burst):
    """Push 0 … items - 1, singly (burst 1) or in bursts; return how many went in before it hung."""
    cdef uint64_t batch[64]
    cdef uint64_t sent = 0, idle = 0
    cdef uint32_t i, n, done
    with nogil:
        while sent < items and idle < PATIENCE:
            if burst == 1:
                done = ring.enqueue(sent)
            else:
                n = <uint32_t>min(<uint64_t>burst, items - sent)
                for i in range(n):
                    batch[i] = sent + i
                done = ring.enqueue_burst(batch, n)
            sent += done
            idle = 0 if done else wait(idle)
    return sent


def pop_all(Ring ring, uint64_t items, uint32_t burst):
    """Pop that many; return how many came in order before one did not, or it hung."""
    cdef uint64_t batch[64]
    cdef uint64_t got = 0, idle = 0
    cdef uint32_t i, done
    with nogil:
        while got < items and idle < PATIENCE:
            done = ring.dequeue(batch) if burst == 1 else ring.dequeue_burst(batch, burst)
            idle = 0 if done else wait(idle)
            for i in range(done):
                if batch[i] != got:
                    idle = PATIENCE
                    break
                got += 1
    return got


cdef class Card:
    """A descriptor ring as the transmit path and the poll see it: two free-running indexes."""
    cdef uint32_t producer
    cdef char _line[128]
    cdef uint32_t consumer
    cdef uint32_t size
    cdef readonly uint64_t false_wakes

    def __cinit__(self, uint32_t size):
        self.size = size


cdef uint32_t free_slots(void* context) noexcept nogil:
    return (<Card>context).size - (load_acquire32(&(<Card>context).producer) - load_acquire32(&(<Card>context).consumer))


def transmit(Card card, TxQueue txq, uint32_t packets, uint32_t start):
    """Send one slot at a time while the queue is awake; return how many before it stayed stopped for ever."""
    cdef uint32_t sent = 0
    cdef uint64_t idle = 0
    with nogil:
        while sent < packets and idle < PATIENCE:
            if txq.stopped():
                idle = wait(idle)
                continue
            if free_slots(<void*>card) == 0:
                card.false_wakes += 1       # they may happen: a driver answers BUSY, and stops again
                txq.maybe_stop(free_slots, <void*>card, 1, start)
                continue
            idle = 0
            sent += 1
            txq.sent(100)
            store_release32(&card.producer, sent)
            txq.maybe_stop(free_slots, <void*>card, 1, start)
    return sent


def complete(Card card, TxQueue txq, uint32_t packets, uint32_t start):
    """Reclaim whatever was sent, and wake; return how many."""
    cdef uint32_t done = 0, there
    cdef uint64_t idle = 0
    cdef int64_t now = 0
    with nogil:
        while done < packets and idle < PATIENCE:
            there = load_acquire32(&card.producer) - done
            if there == 0:
                idle = wait(idle)
                continue
            idle = 0
            now += 1000
            done += there
            store_release32(&card.consumer, done)
            txq.completed_wake(there, 100 * there, free_slots(<void*>card), start, now)
    return done


def carry(BurstSource source, BurstSink sink, uint32_t most):
    """Bursts of at most `most` Frames from source to sink until the end; return the sink's first error, or 0."""
    cdef Burst burst = Burst(most)
    cdef int error = 0
    with nogil:
        while error == 0 and source.fill(burst, most) > 0:
            error = sink.deliver(burst)
            burst.release()
    return error


def gather(Burst burst, uint32_t frames):
    """Make one packet of the first `frames` Frames; return the burst."""
    cdef uint32_t i
    for i in range(frames - 1):
        burst.frames[i].flags |= FRAME_MORE
    return burst
