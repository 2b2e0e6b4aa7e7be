"""BufferPool: equal DMA buffers in an Arena, handed out and taken back by one owner thread.

The last buffer returned is the first handed out again, while its bytes are still in the cache. Buffers lie a cache line
further apart than their size, or every packet's first bytes would fall into the same few cache sets.

Prior art: DPDK's mempool, of which this is the per-core cache without the shared part behind it; the kernel's page_pool.
"""

import errno

from libc.stdlib cimport calloc, free, malloc

from fastring.memory cimport Arena
from fastring.sanitize cimport poison, unpoison

cdef enum:
    CACHE_LINE = 64


cdef class BufferPool:
    """`count` buffers of `buffer_size` bytes, allocated from `arena`; their bus addresses start at `arena_iova` + offset.

    take and give are the owner thread's alone. A buffer given back twice, or that is no buffer of this pool, is refused and
    counted. Raises OSError ENOMEM when the arena has no room.
    """

    def __cinit__(self, Arena arena not None, *, uint32_t count, uint32_t buffer_size, uint64_t arena_iova=0):
        cdef uint32_t i
        if not 0 < count <= 1 << 24 or not 0 < buffer_size <= 1 << 24:
            raise ValueError(f"a pool has 1 to 2^24 buffers of 1 to 2^24 bytes, not {count} of {buffer_size}")
        self.count = count
        self.buffer_size = buffer_size
        self.stride = (buffer_size + CACHE_LINE - 1) // CACHE_LINE * CACHE_LINE + CACHE_LINE
        self.stack = <uint32_t*>malloc(count * sizeof(uint32_t))
        self.taken = <uint8_t*>calloc(count, 1)
        if self.stack == NULL or self.taken == NULL:
            raise MemoryError()
        self._offset = arena.alloc(<uint64_t>count * self.stride)
        self.arena = arena
        self.pin = memoryview(arena)            # an arena with a pool in it cannot be closed
        self.base = arena.base + self._offset
        self.base_iova = arena_iova + self._offset
        for i in range(count):
            self.stack[i] = count - 1 - i       # buffer 0 first
            poison(self.address(i), self.stride)
        self.free_count = count

    def __dealloc__(self):
        free(self.stack)
        free(self.taken)

    cdef uint32_t take_bulk(self, uint32_t* out, uint32_t n) noexcept nogil:
        """Take up to n buffers; return how many there were. Too few is counted once."""
        cdef uint32_t i, buffer, top = self.free_count
        cdef const uint32_t* stack = self.stack
        cdef uint8_t* taken = self.taken
        if n > top:
            self.alloc_failures += 1
            n = top
        for i in range(n):
            top -= 1
            buffer = stack[top]
            taken[buffer] = 1
            unpoison(self.address(buffer), self.buffer_size)
            out[i] = buffer
        self.free_count = top
        return n

    cdef void give_bulk(self, const uint32_t* buffers, uint32_t n) noexcept nogil:
        """Give n buffers back; what is not out is refused and counted."""
        cdef uint32_t i, buffer, top = self.free_count, count = self.count
        cdef uint32_t* stack = self.stack
        cdef uint8_t* taken = self.taken
        for i in range(n):
            buffer = buffers[i]
            if buffer >= count or not taken[buffer]:
                self.give_refused(buffer)
                continue
            taken[buffer] = 0
            poison(self.address(buffer), self.stride)
            stack[top] = buffer
            top += 1
        self.free_count = top

    cdef void give_refused(self, uint32_t buffer) noexcept nogil:
        if buffer < self.count:
            self.double_frees += 1
        else:
            self.foreign_frees += 1

    def take(self):
        """Take one buffer; return its number. Raises OSError ENOBUFS when none is left."""
        cdef uint32_t buffer
        self._check_open()
        if not self.take_bulk(&buffer, 1):
            raise OSError(errno.ENOBUFS, f"all {self.count} buffers are out")
        return buffer

    def put(self, uint32_t buffer):
        """Give one buffer back. Raises ValueError if it is free already or no buffer of this pool (counted, too)."""
        self._check_open()
        if buffer >= self.count:
            self.foreign_frees += 1
            raise ValueError(f"this pool has buffers 0 to {self.count - 1}, not {buffer}")
        if not self.taken[buffer]:
            self.double_frees += 1
            raise ValueError(f"buffer {buffer} is free already")
        self.give(buffer)

    def view(self, uint32_t buffer):
        """The bytes of a buffer that is out, as a writable memoryview."""
        self._check_open()
        if buffer >= self.count or not self.taken[buffer]:
            raise ValueError(f"buffer {buffer} is not out")
        start = self._offset + <uint64_t>buffer * self.stride
        return memoryview(self.arena)[start:start + self.buffer_size]

    @property
    def available(self):
        """Buffers in the pool now."""
        return self.free_count

    @property
    def outstanding(self):
        """Numbers of the buffers that are out: what a leak looks like."""
        return [i for i in range(self.count) if self.taken[i]]

    def _check_open(self):
        if self.base == NULL:
            raise ValueError("the pool is closed")

    def close(self):
        """Give the memory back to the arena; again is harmless. Raises RuntimeError naming the buffers still out, and closes nothing."""
        if self.base == NULL:
            return
        if self.free_count != self.count:
            out = self.outstanding
            some = ", ".join(map(str, out[:8])) + (", …" if len(out) > 8 else "")
            raise RuntimeError(f"{len(out)} of {self.count} buffers are still out: {some}")
        self.pin.release()
        self.arena.free(self._offset)
        self.base = NULL
        self.free_count = 0

    def __repr__(self):
        if self.base == NULL:
            return "<BufferPool: closed>"
        return f"<BufferPool: {self.free_count} of {self.count} buffers of {self.buffer_size} bytes available>"
