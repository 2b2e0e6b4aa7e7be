"""Ring: a lock-free queue of 64-bit items between one producer and one consumer, threads or processes."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from fastring.atomic cimport load_acquire32, store_release32

cdef enum Move:
    PUSH_BULK, PUSH_BURST, POP_BULK, POP_BURST


cdef class Ring:
    cdef uint64_t* slots                    # [capacity]
    cdef uint32_t* write_index              # what the other side sees; in the shared block, each on lines of its own
    cdef uint32_t* read_index
    cdef uint32_t mask                      # of the geometry as copied at creation: the shared header is not read again
    cdef readonly uint32_t capacity
    cdef readonly object arena              # or None: private memory
    cdef readonly uint64_t offset           # of the shared block in the arena
    cdef object _pin                        # keeps the arena from closing
    cdef uint8_t* _private                  # the block, when it is not in an arena
    cdef uint32_t _closed_index             # where both indexes point once closed: empty, and no room
    cdef bint _created
    # Each side's own truth and its last look at the other side, two cache lines apart: the prefetcher fetches pairs.
    cdef uint8_t _line0[128]
    cdef uint32_t _write, read_index_cache              # producer thread
    cdef uint64_t broken_reads                          # impossible read indexes seen
    cdef uint8_t _line1[128]
    cdef uint32_t _read, write_index_cache              # consumer thread
    cdef uint64_t broken_writes                         # impossible write indexes seen
    cdef uint8_t _line2[128]

    cdef void _copy_in(self, const uint64_t* items, uint32_t n) noexcept nogil
    cdef void _copy_out(self, uint64_t* items, uint32_t n) noexcept nogil
    # All n or none; and as many as there is room for. Each returns how many.
    cdef uint32_t enqueue_bulk(self, const uint64_t* items, uint32_t n) noexcept nogil
    cdef uint32_t enqueue_burst(self, const uint64_t* items, uint32_t n) noexcept nogil
    cdef uint32_t dequeue_bulk(self, uint64_t* items, uint32_t n) noexcept nogil
    cdef uint32_t dequeue_burst(self, uint64_t* items, uint32_t n) noexcept nogil
    cdef int _use(self, uint8_t* block, uint32_t capacity) except -1
    cdef int _check_open(self) except -1
    cdef int _raise_broken(self, uint64_t before) except -1
    cdef uint32_t _move(self, object buffer, Move move) except? 0
    cdef uint32_t _item_count(self, Py_buffer* view, Move move) except? 0

    cdef inline uint32_t _look_for_room(self) noexcept nogil:
        """Read the consumer's index; return the free slots, 0 if the index is impossible."""
        cdef uint32_t read = load_acquire32(self.read_index)
        cdef uint32_t used = self._write - read
        if used > self.capacity or used > self._write - self.read_index_cache:      # ahead of us, or back again
            self.broken_reads += 1
            return 0
        self.read_index_cache = read
        return self.capacity - used

    cdef inline uint32_t _look_for_items(self) noexcept nogil:
        """Read the producer's index; return the items there are, 0 if the index is impossible."""
        cdef uint32_t write = load_acquire32(self.write_index)
        cdef uint32_t used = write - self._read
        if used > self.capacity or used < self.write_index_cache - self._read:      # too far ahead, or back again
            self.broken_writes += 1
            return 0
        self.write_index_cache = write
        return used

    cdef inline bint enqueue(self, uint64_t item) noexcept nogil:
        """Append one item; False when full. Producer thread only."""
        cdef uint32_t write = self._write
        if write - self.read_index_cache >= self.capacity and not self._look_for_room():
            return False
        self.slots[write & self.mask] = item
        self._write = write + 1
        store_release32(self.write_index, write + 1)    # the item is out before its index: acquired in _look_for_items
        return True

    cdef inline bint dequeue(self, uint64_t* item) noexcept nogil:
        """Take the oldest item; False when empty. Consumer thread only."""
        cdef uint32_t read = self._read
        if read == self.write_index_cache and not self._look_for_items():
            return False
        item[0] = self.slots[read & self.mask]
        self._read = read + 1
        store_release32(self.read_index, read + 1)      # the slot is read before it is given back: acquired in _look_for_room
        return True
