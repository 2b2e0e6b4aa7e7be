"""Ring: a lock-free queue of 64-bit items between one producer and one consumer, threads or processes.

Indexes are free-running and 32-bit, so that all slots are used, and each has one writer. Either side keeps the other's
index from its last look, and looks again only when that is not enough: between two busy cores the cache line of an index
moves once a ring's length instead of once an operation.

Shared between processes, a ring trusts nobody: the geometry is copied at attach, each side keeps its own index privately,
and the other's is checked before use. An impossible one is counted and yields no items; it never moves an access outside.

Prior art: rigtorp's SPSCQueue (cached indexes, and their names), DPDK's rte_ring (bulk and burst), io_uring (shared layout).

The shared block, in units of two cache lines:

    0    magic "fastring", version, item size, capacity
    128  write index
    256  read index
    384  slots
"""

import sys

from cpython.buffer cimport PyBUF_C_CONTIGUOUS, PyBUF_FORMAT, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from libc.stdlib cimport free
from libc.string cimport memcpy, memset
from posix.stdlib cimport posix_memalign

from fastring.atomic cimport load_acquire64, store_release64
from fastring.memory cimport Arena

cdef enum:
    WRITE_INDEX = 128
    READ_INDEX = 256
    SLOTS = 384
    VERSION = 1
    MOST = 1 << 26                  # slots: half a GiB

UINT64 = {b"Q", b"L", b"@Q", b"=Q", b"<Q" if sys.byteorder == "little" else b">Q"}      # buffer formats
cdef uint64_t MAGIC = int.from_bytes(b"fastring", "little")

ctypedef struct Header:
    uint64_t magic                  # written last
    uint32_t version
    uint32_t item_size
    uint32_t capacity


cdef void _publish(uint8_t* block, uint32_t capacity) noexcept nogil:
    cdef Header* header = <Header*>block
    header.version = VERSION
    header.item_size = sizeof(uint64_t)
    header.capacity = capacity
    store_release64(&header.magic, MAGIC)       # the ring is whole before it can be attached: acquired in attach


class BrokenRing(RuntimeError):
    """The other side published an index that no honest peer can have. What was in the ring is lost; no memory is."""


cdef class Ring:
    """A ring of `capacity` 64-bit items, a power of two. Private to this process, or in an `arena` for a peer to attach.

    One thread pushes and one thread pops. Python's ``push`` and ``pop`` are for tests and control; a data path cimports it.
    Raises OSError ENOMEM when the arena has no room.
    """

    def __cinit__(self, uint32_t capacity, *, Arena arena=None, _attach=None):
        cdef uint64_t size = SLOTS + 8 * <uint64_t>capacity
        cdef uint8_t* block
        self.write_index = self.read_index = &self._closed_index
        if not 0 < capacity <= MOST or capacity & (capacity - 1):
            raise ValueError(f"a ring's capacity is a power of two up to {MOST}, not {capacity}")
        if arena is None:
            if posix_memalign(<void**>&self._private, 128, size):
                raise MemoryError()
            block = self._private
            memset(block, 0, size)
        else:
            if not arena.writable:
                raise ValueError("a ring needs a writable Arena: both sides publish an index")
            self._pin = memoryview(arena)
            self.offset = arena.alloc(size, align=128) if _attach is None else _attach
            block = arena.at(self.offset, size)
        self.arena = arena
        self._created = _attach is None
        self._use(block, capacity)
        if self._created:
            _publish(block, capacity)

    @staticmethod
    def attach(Arena arena not None, uint64_t offset):
        """The ring that a peer made in `arena` at its ``offset``. Take one side: push or pop, whichever the peer does not.

        Raises ValueError when there is no such ring, IndexError when it would end outside the arena.
        """
        if offset % 128:
            raise ValueError(f"a ring starts at a multiple of 128 bytes, not at {offset:#x}")
        cdef Header* header = <Header*>arena.at(offset, SLOTS)
        if load_acquire64(&header.magic) != MAGIC:
            raise ValueError(f"there is no ring at offset {offset:#x} of {arena!r}")
        if header.version != VERSION or header.item_size != sizeof(uint64_t):
            raise ValueError(f"the ring at offset {offset:#x} has version {header.version} and {header.item_size}-byte items; "
                             f"this fastring speaks version {VERSION} with {sizeof(uint64_t)}-byte items")
        return Ring(header.capacity, arena=arena, _attach=offset)

    cdef int _use(self, uint8_t* block, uint32_t capacity) except -1:
        """Take over the block's indexes, checked: from here on the distance between ours is never above the capacity."""
        cdef uint32_t* write_index = <uint32_t*>(block + WRITE_INDEX)
        cdef uint32_t* read_index = <uint32_t*>(block + READ_INDEX)
        cdef uint32_t read = load_acquire32(read_index), write = load_acquire32(write_index), tries = 0
        while write - read > capacity:          # the peer may be moving both; a broken one never agrees
            tries += 1
            if tries > 1000:
                raise BrokenRing(f"the indexes of this ring are impossible: write {write}, read {read}, capacity {capacity}")
            read = load_acquire32(read_index)
            write = load_acquire32(write_index)
        self._write = self.write_index_cache = write
        self._read = self.read_index_cache = read
        self.slots = <uint64_t*>(block + SLOTS)
        self.write_index = write_index
        self.read_index = read_index
        self.mask = capacity - 1
        self.capacity = capacity
        return 0

    # --- producer thread

    cdef void _copy_in(self, const uint64_t* items, uint32_t n) noexcept nogil:
        cdef uint32_t start = self._write & self.mask
        cdef uint32_t first = min(n, self.capacity - start)
        memcpy(self.slots + start, items, first * sizeof(uint64_t))
        if first < n:
            memcpy(self.slots, items + first, (n - first) * sizeof(uint64_t))
        self._write += n
        store_release32(self.write_index, self._write)      # as in enqueue

    cdef uint32_t enqueue_bulk(self, const uint64_t* items, uint32_t n) noexcept nogil:
        """Append all n items and return n, or none and return 0."""
        if self.capacity - (self._write - self.read_index_cache) < n and self._look_for_room() < n:
            return 0
        self._copy_in(items, n)
        return n

    cdef uint32_t enqueue_burst(self, const uint64_t* items, uint32_t n) noexcept nogil:
        """Append as many of n items as there is room for; return how many."""
        cdef uint32_t room = self.capacity - (self._write - self.read_index_cache)
        if room < n:
            room = self._look_for_room()
        n = min(n, room)
        self._copy_in(items, n)
        return n

    # --- consumer thread

    cdef void _copy_out(self, uint64_t* items, uint32_t n) noexcept nogil:
        cdef uint32_t start = self._read & self.mask
        cdef uint32_t first = min(n, self.capacity - start)
        memcpy(items, self.slots + start, first * sizeof(uint64_t))
        if first < n:
            memcpy(items + first, self.slots, (n - first) * sizeof(uint64_t))
        self._read += n
        store_release32(self.read_index, self._read)        # as in dequeue

    cdef uint32_t dequeue_bulk(self, uint64_t* items, uint32_t n) noexcept nogil:
        """Take n items and return n, or none and return 0."""
        if self.write_index_cache - self._read < n and self._look_for_items() < n:
            return 0
        self._copy_out(items, n)
        return n

    cdef uint32_t dequeue_burst(self, uint64_t* items, uint32_t n) noexcept nogil:
        """Take up to n items; return how many."""
        cdef uint32_t there = self.write_index_cache - self._read
        if there < n:
            there = self._look_for_items()
        n = min(n, there)
        self._copy_out(items, n)
        return n

    # --- from Python

    cdef int _check_open(self) except -1:
        if self.capacity == 0:
            raise ValueError("the ring is closed")
        return 0

    cdef int _raise_broken(self, uint64_t before) except -1:
        if self.broken_reads + self.broken_writes != before:
            raise BrokenRing(f"the peer published an impossible index: write {self.write_index[0]}, read {self.read_index[0]}, "
                             f"capacity {self.capacity}")
        return 0

    def push(self, uint64_t item):
        """Append one item; False when full. Raises BrokenRing."""
        self._check_open()
        cdef uint64_t before = self.broken_reads + self.broken_writes
        cdef bint done = self.enqueue(item)
        if not done:
            self._raise_broken(before)
        return done

    def pop(self):
        """Take the oldest item; None when empty. Raises BrokenRing."""
        self._check_open()
        cdef uint64_t item, before = self.broken_reads + self.broken_writes
        if self.dequeue(&item):
            return item
        self._raise_broken(before)
        return None

    def push_bulk(self, items):
        """Append all items of a buffer, or none; whether it did. `items`: a uint64 array, or bytes in native byte order.

        Raises BrokenRing; ValueError for more items than the ring has slots: they never fit.
        """
        return bool(self._move(items, PUSH_BULK))

    def push_burst(self, items):
        """Append as many items of a buffer as there is room for; return how many. Buffer and errors as push_bulk."""
        return self._move(items, PUSH_BURST)

    def pop_bulk(self, out):
        """Fill a writable uint64 buffer whole and return True, or leave it and return False. Errors as push_bulk."""
        return bool(self._move(out, POP_BULK))

    def pop_burst(self, out):
        """Take up to as many items as fit into a writable uint64 buffer; return how many. Errors as push_bulk."""
        return self._move(out, POP_BURST)

    cdef uint32_t _move(self, object buffer, Move move) except? 0:
        cdef uint64_t before = self.broken_reads + self.broken_writes
        cdef uint32_t n, done = 0
        cdef Py_buffer view
        self._check_open()
        PyObject_GetBuffer(buffer, &view, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT | (PyBUF_WRITABLE if move >= POP_BULK else 0))
        try:
            n = self._item_count(&view, move)
            with nogil:
                if move == PUSH_BULK:
                    done = self.enqueue_bulk(<uint64_t*>view.buf, n)
                elif move == PUSH_BURST:
                    done = self.enqueue_burst(<uint64_t*>view.buf, n)
                elif move == POP_BULK:
                    done = self.dequeue_bulk(<uint64_t*>view.buf, n)
                else:
                    done = self.dequeue_burst(<uint64_t*>view.buf, n)
        finally:
            PyBuffer_Release(&view)
        if done == 0:
            self._raise_broken(before)
        return done == n if move in (PUSH_BULK, POP_BULK) else done

    cdef uint32_t _item_count(self, Py_buffer* view, Move move) except? 0:
        format = b"" if view.format == NULL else <bytes>view.format
        if view.len % 8 or not (view.itemsize == 1 or view.itemsize == 8 and format in UINT64):
            raise ValueError(f"a ring's items are uint64, or 8 bytes each: not {view.len} bytes in format {format.decode()!r}")
        cdef uint64_t n = view.len // 8
        if n > self.capacity:
            if move in (PUSH_BULK, POP_BULK):
                raise ValueError(f"{n} items never fit at once into a ring of {self.capacity}")
            n = self.capacity
        return n

    def __len__(self):
        cdef uint32_t read = load_acquire32(self.read_index)
        return min(load_acquire32(self.write_index) - read, self.capacity)

    @property
    def free_count(self):
        """Slots free now."""
        return self.capacity - len(self)

    @property
    def broken(self):
        """Impossible indexes seen from the other side."""
        return self.broken_reads + self.broken_writes

    def close(self):
        """Let go of the memory; again is harmless. The maker gives it back to the arena: after the peer has stopped."""
        if self.capacity == 0:
            return
        self.write_index = self.read_index = &self._closed_index
        self.capacity = self._write = self._read = self.read_index_cache = self.write_index_cache = 0
        self._pin = None
        if self.arena is not None and self._created:
            self.arena.free(self.offset)
        free(self._private)
        self._private = NULL

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    def __dealloc__(self):
        free(self._private)

    def __repr__(self):
        if self.capacity == 0:
            return "<Ring: closed>"
        place = "" if self.arena is None else f", at {self.offset:#x} of Arena {self.arena.name!r}"
        return f"<Ring: {len(self)} of {self.capacity} items{place}>"
