"""Ring: a queue of small items between threads or processes, in several strategies behind one interface."""

from libc.stdint cimport uint32_t, uint64_t

from fastring.ring_memory cimport fr_side, cached_dequeue_one, cached_enqueue_one, ring_the_bell
from fastring.ring_waiting cimport RingWaiting

cdef enum Move:
    PUSH_BULK, PUSH_BURST, POP_BULK, POP_BURST


cdef class Ring(RingWaiting):
    cdef uint32_t _move(self, object buffer, Move move) except? 0
    cdef int _check_span(self, const fr_side* side, uint32_t n, str done, str moved) except -1
    cdef uint32_t _item_count(self, Py_buffer* view, Move move) except? 0

    # Items are `item_size` bytes each. All n or none; or as many as there is room for. Each returns how many.
    # Producers' thread:

    cdef inline uint32_t enqueue_bulk(self, const void* items, uint32_t n) noexcept nogil:
        n = self.operations.enqueue_bulk(self.ring, <const uint64_t*>items, n)
        if self.rings_bells and n > 0:
            ring_the_bell(&self.items_bell)
        return n

    cdef inline uint32_t enqueue_burst(self, const void* items, uint32_t n) noexcept nogil:
        n = self.operations.enqueue_burst(self.ring, <const uint64_t*>items, n)
        if self.rings_bells and n > 0:
            ring_the_bell(&self.items_bell)
        return n

    cdef inline bint enqueue(self, uint64_t item) noexcept nogil:
        """Append one item of 8 bytes (16: the rest is 0); False when full."""
        cdef uint64_t[2] items
        if self.inlined != NULL:
            return cached_enqueue_one(self.inlined, item)
        items[0] = item
        items[1] = 0
        return self.enqueue_bulk(items, 1)

    cdef inline void* reserve_span(self, uint32_t n, uint32_t* got) noexcept nogil:
        """Room for up to n items where they will lie; `got`: for how many (0: none, or not this strategy's). Then commit some or all."""
        cdef void* room = NULL if self.operations.reserve == NULL else self.operations.reserve(self.ring, n)
        got[0] = 0 if room == NULL else self.ring.producer.reserved
        return room

    cdef inline uint32_t commit_span(self, uint32_t n) noexcept nogil:
        """The first n of what was reserved are written; the rest is given up. Returns how many it was for."""
        n = 0 if self.operations.commit == NULL else self.operations.commit(self.ring, n)
        if self.rings_bells and n > 0:
            ring_the_bell(&self.items_bell)
        return n

    # Consumers' thread:

    cdef inline uint32_t dequeue_bulk(self, void* items, uint32_t n) noexcept nogil:
        n = self.operations.dequeue_bulk(self.ring, <uint64_t*>items, n)
        if self.rings_bells and n > 0:
            ring_the_bell(&self.room_bell)
        return n

    cdef inline uint32_t dequeue_burst(self, void* items, uint32_t n) noexcept nogil:
        n = self.operations.dequeue_burst(self.ring, <uint64_t*>items, n)
        if self.rings_bells and n > 0:
            ring_the_bell(&self.room_bell)
        return n

    cdef inline bint dequeue(self, uint64_t* item) noexcept nogil:
        """Take the oldest item, or the first 8 bytes of one of 16; False when empty."""
        cdef uint64_t[2] items
        if self.inlined != NULL:
            return cached_dequeue_one(self.inlined, item)
        if not self.dequeue_bulk(items, 1):
            return False
        item[0] = items[0]
        return True

    cdef inline void* peek_span(self, uint32_t n, uint32_t* got) noexcept nogil:
        """Up to n of the oldest items where they lie; `got`: how many. Then release some or all, oldest first."""
        cdef void* items = NULL if self.operations.peek == NULL else self.operations.peek(self.ring, n)
        got[0] = 0 if items == NULL else self.ring.consumer.reserved
        return items

    cdef inline uint32_t release_span(self, uint32_t n) noexcept nogil:
        """The first n of what was looked at are read; the rest stays. Returns how many it was for."""
        n = 0 if self.operations.release == NULL else self.operations.release(self.ring, n)
        if self.rings_bells and n > 0:
            ring_the_bell(&self.room_bell)
        return n
