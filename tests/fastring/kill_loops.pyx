"""What the processes of test_ring_killed.py do without the GIL until they are killed: compiled when the tests run.

Item number k holds k and its checksum. A consumer notes the number of each item before it lets go of it, in memory that outlives it.
"""

from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memcpy

from fastring.atomic cimport load_relaxed64, store_relaxed64
from fastring.ring cimport Ring
from patience cimport wait

cdef enum:
    MOST = 32


cdef inline uint64_t checksum(uint64_t number) noexcept nogil:
    return (number ^ 0x9E3779B97F4A7C15ULL) * 0xFF51AFD7ED558CCDULL


def produce(Ring ring, uint32_t burst):
    """For ever: items in the order of the ring's positions, from where the last producer's were published."""
    cdef uint64_t[2 * MOST] batch
    cdef uint32_t position = ring.ring.producer.index, i, done
    cdef uint64_t idle = 0
    with nogil:
        while True:
            for i in range(burst):
                batch[2 * i] = <uint32_t>(position + i)
                batch[2 * i + 1] = checksum(<uint32_t>(position + i))
            done = ring.enqueue_burst(batch, burst)
            position += done
            idle = 0 if done else wait(idle)


def consume(Ring ring, uint32_t burst, uint64_t notes, uint64_t until=0):
    """Take items; note how many are taken (at address `notes`), and 1 + the position of one that is wrong (8 bytes further).

    Wrong is, too, what does not go on where the last consumer's note ends, but for a burst that it had no time to note. For ever, or until that position. Returns the position it came to.
    """
    cdef uint64_t[2 * MOST] batch
    cdef uint64_t* note = <uint64_t*>notes
    cdef uint32_t position = ring.ring.consumer.index, i, done
    cdef uint64_t idle = 0
    if <uint32_t>(position - <uint32_t>load_relaxed64(note)) > MOST:
        store_relaxed64(note + 1, 1 + <uint64_t>position)
    with nogil:
        while until == 0 or <uint32_t>(<uint32_t>until - position) - 1 < 0x7FFFFFFF:
            done = ring.dequeue_burst(batch, burst)
            for i in range(done):
                if batch[2 * i] != position or batch[2 * i + 1] != checksum(position):
                    store_relaxed64(note + 1, 1 + <uint64_t>position)
                position += 1
            store_relaxed64(note, position)
            idle = 0 if done else wait(idle)
    return position
