"""What a ring is in memory, and its strategies' operations in C."""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from fastring.memory cimport Arena
from fastring.ring_geometry cimport Geometry

cdef extern from "fastring/ring_types.h" nogil:
    struct fr_side:
        uint32_t index, other, published, reserved, reserved_at, broken, breaks
    struct fr_ring:
        uint64_t* slots
        uint32_t* write_index
        uint32_t* read_index
        uint32_t* write_head
        uint32_t* read_head
        uint64_t* write_pair
        uint64_t* read_pair
        uint64_t* write_head_pair
        uint64_t* read_head_pair
        uint32_t* lock
        uint32_t capacity, mask, units, stride, batch, looks, distance
        int64_t patience
        fr_side producer, consumer
    struct fr_ring_operations:
        uint32_t (*enqueue_bulk)(fr_ring*, const uint64_t*, uint32_t) noexcept nogil
        uint32_t (*enqueue_burst)(fr_ring*, const uint64_t*, uint32_t) noexcept nogil
        uint32_t (*dequeue_bulk)(fr_ring*, uint64_t*, uint32_t) noexcept nogil
        uint32_t (*dequeue_burst)(fr_ring*, uint64_t*, uint32_t) noexcept nogil
        uint64_t* (*reserve)(fr_ring*, uint32_t) noexcept nogil
        uint32_t (*commit)(fr_ring*, uint32_t) noexcept nogil
        uint64_t* (*peek)(fr_ring*, uint32_t) noexcept nogil
        uint32_t (*release)(fr_ring*, uint32_t) noexcept nogil
    bint is_broken "fr_is_broken"(fr_side* side)
    enum: FR_IMPATIENT

cdef extern from "fastring/ring_spsc.h" nogil:
    bint cached_enqueue_one "fr_cached_enqueue_one"(fr_ring* ring, uint64_t item)
    bint cached_dequeue_one "fr_cached_dequeue_one"(fr_ring* ring, uint64_t* item)
    void batched_flush "fr_batched_flush"(fr_ring* ring)
    void batched_flush_reads "fr_batched_flush_reads"(fr_ring* ring)

cdef extern from "fastring/ring_wait.h" nogil:
    struct fr_bell:
        uint32_t* armed
        int eventfd
    void ring_the_bell "fr_ring_bell"(fr_bell* bell)
    uint32_t ready "fr_ready"(fr_ring* ring, bint items)


cdef enum:
    LESS_ONE = 0xFFFFFFFFu              # added to `inside`


cdef int64_t nanoseconds(str what, double seconds, double most) except -1


cdef class RingMemory:
    cdef fr_ring* ring                      # this process's view; its two sides on cache lines of their own
    cdef fr_ring* inlined                   # the same where enqueue and dequeue are `cached`'s of 8 bytes, else NULL
    cdef const fr_ring_operations* operations
    cdef bint rings_bells                   # somebody may be parked: each publication looks
    cdef fr_bell items_bell, room_bell
    cdef Geometry geometry
    cdef readonly object arena              # or None: private memory
    cdef readonly uint64_t offset           # of the shared block in the arena
    cdef uint8_t* block
    cdef bint records                       # of any length, in units of 8 bytes
    cdef object _pin                        # keeps the arena from closing
    cdef Py_ssize_t _exports                # live views of the slots
    cdef uint32_t inside                    # threads in calls that let the GIL go: the memory must stay
    cdef bint _created

    cdef int _use(self) except -1
    cdef void _point(self) noexcept
    cdef void _clear(self) noexcept
    cdef int _check_open(self) except -1
    cdef uint32_t _ready(self, bint items) noexcept nogil


cdef RingMemory attach_as(object kind, bint records, Arena arena, uint64_t offset, object eventfds, double patience)
