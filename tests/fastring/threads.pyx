"""What runs without the GIL, on two threads for Ring, and on one for bursts: compiled when the tests run."""

from libc.stdint cimport uint32_t, uint64_t

from fastring.burst cimport FRAME_MORE, Burst, BurstSink, BurstSource
from fastring.ring cimport Ring
from patience cimport PATIENCE, wait


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
