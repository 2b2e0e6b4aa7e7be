"""RecordRing: records of any length in a ring, between two threads or processes."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from fastring.ring_memory cimport fr_ring, ring_the_bell
from fastring.ring_waiting cimport RingWaiting

cdef extern from "fastring/ring_records.h" nogil:
    uint64_t longest_record "fr_longest_record"(uint32_t capacity)
    uint8_t* record_reserve "fr_record_reserve"(fr_ring* ring, uint32_t length)
    void record_put "fr_record_put"(fr_ring* ring, uint32_t length)
    void records_publish "fr_records_publish"(fr_ring* ring)
    uint8_t* record_peek "fr_record_peek"(fr_ring* ring, uint32_t* length)
    void record_take "fr_record_take"(fr_ring* ring)
    void records_give_back "fr_records_give_back"(fr_ring* ring)


cdef class RecordRing(RingWaiting):
    cdef uint32_t _reserved                 # bytes of the record that was reserved from Python

    # Records lie one after the other, `stride` bytes apart or, with 0, as close as their lengths. Each returns how many went.
    cdef uint32_t enqueue_records(self, const uint8_t* data, uint64_t stride, const uint32_t* lengths, uint32_t n) noexcept nogil
    cdef uint32_t dequeue_records(self, uint8_t* data, uint64_t size, uint64_t stride, uint32_t* lengths, uint32_t n) noexcept nogil
    cdef uint64_t _row(self, Py_buffer* view) except? 0
    cdef int _check_lengths(self, const uint32_t[::1] sizes, uint64_t size, uint64_t stride) except -1
    cdef int _check_length(self, uint64_t length) except -1

    # Producer's thread: room for one record of up to `length` bytes, or NULL; then publish it, of no more.
    cdef inline uint8_t* reserve_record(self, uint32_t length) noexcept nogil:
        return NULL if self.block == NULL else record_reserve(self.ring, length)

    cdef inline void commit_record(self, uint32_t length) noexcept nogil:
        record_put(self.ring, length)
        records_publish(self.ring)
        if self.rings_bells:
            ring_the_bell(&self.items_bell)

    # Consumer's thread: the oldest record where it lies, or NULL; then release it.
    cdef inline const uint8_t* peek_record(self, uint32_t* length) noexcept nogil:
        return NULL if self.block == NULL else record_peek(self.ring, length)

    cdef inline void release_record(self) noexcept nogil:
        record_take(self.ring)
        records_give_back(self.ring)
        if self.rings_bells:
            ring_the_bell(&self.room_bell)
