"""Several producers and consumers on one Ring without the GIL: compiled when the tests run.

An item's upper half is its producer and its lower half counts; of 16 bytes, the second half is a checksum of the first.
"""

from libc.stdint cimport uint32_t, uint64_t

from fastring.atomic cimport fetch_add64, load_relaxed64
from fastring.ring cimport Ring
from patience cimport PATIENCE, wait

cdef enum:
    MOST = 64
    PRODUCERS = 8

cdef uint64_t _received                 # by all consumers


def begin():
    """Before each set of threads."""
    global _received
    _received = 0


cdef inline uint64_t checksum(uint64_t item) noexcept nogil:
    return (item ^ 0x9E3779B97F4A7C15ULL) * 0xFF51AFD7ED558CCDULL


def push_from(Ring ring, uint32_t producer, uint64_t items, uint32_t burst):
    """Push `items` items of this producer, in bursts; return how many went in before it hung."""
    cdef uint64_t[2 * MOST] batch
    cdef uint64_t sent = 0, idle = 0, item
    cdef uint32_t i, n, done, units = ring.ring.units
    with nogil:
        while sent < items and idle < PATIENCE:
            n = <uint32_t>min(<uint64_t>burst, items - sent)
            for i in range(n):
                item = (<uint64_t>producer << 32) + sent + i
                batch[i * units] = item
                batch[i * units + units - 1] = checksum(item) if units == 2 else item
            done = ring.enqueue_burst(batch, n)
            sent += done
            idle = 0 if done else wait(idle)
        ring.flush_writes()
    return sent


def pop_until(Ring ring, uint64_t items, uint32_t burst):
    """Pop until all consumers have `items` together; return (how many came whole and in each producer's order, what was wrong)."""
    cdef uint64_t[2 * MOST] batch
    cdef uint64_t[PRODUCERS] next_of
    cdef uint64_t got = 0, idle = 0, item
    cdef uint32_t i, done, units = ring.ring.units, producer
    for i in range(PRODUCERS):
        next_of[i] = 0
    error = None
    while error is None and load_relaxed64(&_received) < items and idle < PATIENCE:
        with nogil:
            done = ring.dequeue_burst(batch, burst)
            idle = 0 if done else wait(idle)
            fetch_add64(&_received, done)
        for i in range(done):
            item = batch[i * units]
            producer = item >> 32
            if units == 2 and batch[i * 2 + 1] != checksum(item):
                error = f"torn: {item:#x}"
            elif producer >= PRODUCERS or item & 0xFFFFFFFF < next_of[producer]:
                error = f"again, or out of order: {item:#x}"
            else:
                next_of[producer] = (item & 0xFFFFFFFF) + 1
                got += 1
    ring.flush_reads()
    return got, error
