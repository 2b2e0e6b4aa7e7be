"""BufferPool: equal DMA buffers in an Arena, handed out and taken back by one owner thread.

As a stack ("lifo") the last buffer returned is the first handed out again, while its bytes are still in the cache. As a queue ("fifo")
it is the last: who uses a buffer after it was freed has long been overtaken by then, and all memory is used alike. Buffers lie a cache
line further apart than their size, or every packet's first bytes would fall into the same few cache sets.

One byte a buffer says who holds it, so a double free is found at once and a leak has a name. Threads share a pool by owners of a
SharedPool (fastring.shared_pool). Processes do not share one: the owner lends buffers, their numbers travel through a Ring, and come
back through another one. What was with a peer that died `reclaim` takes back.

Prior art: DPDK's mempool, of which the stack is the per-core cache without the shared part behind it; the kernel's page_pool.
"""

import errno

from cython cimport no_gc_clear
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memset

from fastring.atomic cimport load_relaxed8, store_relaxed8
from fastring.memory cimport Arena
from fastring.sanitize cimport debug_assert, poison, unpoison

cdef enum:
    CACHE_LINE = 64
    CHUNK = 64                              # buffer numbers handled at a time
    NO_SUCH = 0xFFFFFFFF


@no_gc_clear                                # a burst that goes in the same cycle gives its buffers back, into the arena
cdef class BufferPool:
    """`count` buffers of `buffer_size` bytes, allocated from `arena`; their bus addresses start at `arena_iova` + offset.

    take and give are the owner thread's alone. A buffer given back twice, or that is no buffer of this pool, is refused and
    counted. In a forked child the pool is a copy that hands out the same memory: leave it alone there. Raises OSError ENOMEM when
    the arena has no room.
    """

    def __cinit__(self):
        self.strategy = "lifo"
        self._holders = {OWN: ""}
        self._gone = set()

    def __init__(self, Arena arena not None, *, uint32_t count, uint32_t buffer_size, uint64_t arena_iova=0):
        cdef uint32_t i
        if self.taken != NULL:
            raise TypeError(f"{self!r} is made already")
        if not 0 < count <= 1 << 24 or not 0 < buffer_size <= 1 << 24:
            raise ValueError(f"a pool has 1 to 2^24 buffers of 1 to 2^24 bytes, not {count} of {buffer_size}")
        self.stride = (buffer_size + CACHE_LINE - 1) // CACHE_LINE * CACHE_LINE + CACHE_LINE
        self._offset = arena.alloc(<uint64_t>count * self.stride)
        self.arena = arena
        self.pin = memoryview(arena)            # an arena with a pool in it cannot be closed
        self.stack = <uint32_t*>malloc(count * sizeof(uint32_t))
        self.taken = <uint8_t*>calloc(count, 1)
        self.lent = <uint8_t*>calloc(256, 1)
        if self.stack == NULL or self.taken == NULL or self.lent == NULL:
            arena.free(self._offset)
            raise MemoryError()
        self.base = arena.base + self._offset
        self.base_iova = arena_iova + self._offset
        self.count = self.free_count = count
        self.buffer_size = buffer_size
        for i in range(count):
            self.stack[i] = count - 1 - i       # buffer 0 first
            poison(self.address(i), self.stride)

    def __dealloc__(self):
        free(self.stack)
        free(self.taken)
        free(self.lent)

    @staticmethod
    def create(Arena arena not None, *, uint32_t count, uint32_t buffer_size, uint64_t arena_iova=0, strategy="lifo", bint shared=False):
        """A pool of that strategy: "lifo" or "fifo"; `shared`: one whose owners may be several threads, a SharedPool."""
        if strategy not in ("lifo", "fifo"):
            raise ValueError(f"a pool's strategy is 'lifo' or 'fifo', not {strategy!r}")
        if shared:
            from fastring.shared_pool import SharedPool
            return SharedPool(arena, count=count, buffer_size=buffer_size, arena_iova=arena_iova, strategy=strategy)
        kind = FifoPool if strategy == "fifo" else BufferPool
        return kind(arena, count=count, buffer_size=buffer_size, arena_iova=arena_iova)

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
            taken[buffer] = OWN
            unpoison(self.address(buffer), self.buffer_size)
            out[i] = buffer
        self.free_count = top
        return n

    cdef void give_bulk(self, const uint32_t* buffers, uint32_t n) noexcept nogil:
        """Give n buffers back; what is not out, or lent, is refused and counted."""
        cdef uint32_t i, buffer, top = self.free_count, count = self.count
        cdef uint32_t* stack = self.stack
        cdef uint8_t* taken = self.taken
        for i in range(n):
            buffer = buffers[i]
            if buffer >= count or taken[buffer] != OWN:
                self.give_refused(buffer if buffer < count and not taken[buffer] else NO_SUCH)
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

    cdef uint32_t lend_bulk(self, const uint32_t* buffers, uint32_t n, uint8_t holder) noexcept nogil:
        """From now on `holder` has these buffers. Before their numbers are sent; by the thread that has them. Return how many were out."""
        cdef uint32_t i, lent = 0
        debug_assert(holder != 0)
        for i in range(n):
            if buffers[i] < self.count and load_relaxed8(&self.taken[buffers[i]]):
                store_relaxed8(&self.taken[buffers[i]], holder)
                lent += 1
            else:
                self.give_refused(buffers[i])
        return lent

    cdef uint32_t return_bulk(self, const uint32_t* buffers, uint32_t n, uint8_t holder) noexcept nogil:
        """Take n buffers back that `holder` says it had; return how many it did have. Others are refused and counted: it may lie."""
        cdef uint32_t kept[CHUNK]
        cdef uint32_t i, m = 0, returned = 0
        for i in range(n):
            if buffers[i] < self.count and load_relaxed8(&self.taken[buffers[i]]) == holder:
                store_relaxed8(&self.taken[buffers[i]], OWN)        # a number twice in one call
                kept[m] = buffers[i]
                m += 1
            elif buffers[i] < self.count and load_relaxed8(&self.taken[buffers[i]]) == 0:
                self.give_refused(buffers[i])
            else:
                self.give_refused(NO_SUCH)
            if m == CHUNK or i == n - 1:
                self.give_bulk(kept, m)
                returned += m
                m = 0
        return returned

    cdef uint32_t reclaim_all(self, uint8_t holder) noexcept nogil:
        """Take back whatever `holder` still has; return how many that were. O(count)."""
        cdef uint32_t kept[CHUNK]
        cdef uint32_t buffer, m = 0, reclaimed = 0
        for buffer in range(self.count):
            if load_relaxed8(&self.taken[buffer]) == holder:
                store_relaxed8(&self.taken[buffer], OWN)
                kept[m] = buffer
                m += 1
            if m == CHUNK or buffer == self.count - 1:
                self.give_bulk(kept, m)
                reclaimed += m
                m = 0
        return reclaimed

    cdef uint32_t free_now(self) noexcept nogil:
        return self.free_count

    def take(self):
        """Take one buffer; return its number. Raises OSError ENOBUFS when none is left."""
        cdef uint32_t buffer
        self._check_open()
        if not self.take_bulk(&buffer, 1):
            raise OSError(errno.ENOBUFS, self._why_empty())
        return buffer

    cdef str _why_empty(self):
        return f"all {self.count} buffers are out"

    def put(self, uint32_t buffer):
        """Give one buffer back. Raises ValueError if it is free already, lent, or no buffer of this pool (counted, too)."""
        self._check_open()
        if buffer >= self.count:
            self.give_refused(buffer)
            raise ValueError(f"this pool has buffers 0 to {self.count - 1}, not {buffer}")
        if not load_relaxed8(&self.taken[buffer]):
            self.give_refused(buffer)
            raise ValueError(f"buffer {buffer} is free already")
        if self.lent[load_relaxed8(&self.taken[buffer])]:
            self.give_refused(NO_SUCH)
            raise ValueError(f"buffer {buffer} is lent: take_back() gives it back")
        self.give(buffer)

    def view(self, uint32_t buffer):
        """The bytes of a buffer that is out, as a writable memoryview."""
        self._check_open()
        if buffer >= self.count or not load_relaxed8(&self.taken[buffer]):
            raise ValueError(f"buffer {buffer} is not out")
        start = self._offset + <uint64_t>buffer * self.stride
        return memoryview(self.arena)[start:start + self.buffer_size]

    # --- buffers with others

    cdef uint8_t _new_holder(self, str name) except 0:
        cdef bint out[256]
        cdef uint32_t i
        memset(out, 0, sizeof(out))
        for i in range(self.count):
            out[load_relaxed8(&self.taken[i])] = True
        for number in range(OWN + 1, 256):
            if number not in self._holders or (number in self._gone and not out[<uint8_t>number]):
                self._holders[number] = name
                self.lent[<uint8_t>number] = 0
                self._gone.discard(number)
                return number
        raise ValueError("a pool has at most 254 holders")

    cdef int _check_holder(self, uint8_t holder) except -1:
        self._check_open()
        if holder not in self._holders or holder in self._gone:
            raise ValueError(f"this pool has no holder {holder}, only {', '.join(map(str, self.holders))}")
        return 0

    def add_holder(self, str name not None):
        """A number for somebody buffers are lent to: a peer process, by its name. Raises ValueError when all 254 are in use."""
        self._check_open()
        cdef uint8_t number = self._new_holder(name)
        self.lent[number] = 1
        return number

    def remove_holder(self, uint8_t holder):
        """Forget a peer. Raises RuntimeError naming the buffers it still has."""
        self._check_holder(holder)
        if holder == OWN:
            raise ValueError(f"holder {OWN} is the pool itself")
        if out := self.outstanding_of(holder):
            raise RuntimeError(f"{self._holders[holder]} still has {_some(out)}")
        self._gone.add(holder)

    def lend(self, uint32_t buffer, uint8_t holder):
        """From now on `holder` has this buffer: before its number is sent. Raises ValueError if it is not out (counted, too)."""
        self._check_holder(holder)
        if not self.lend_bulk(&buffer, 1, holder):
            raise ValueError(f"buffer {buffer} is not out")

    def take_back(self, uint32_t buffer, uint8_t holder):
        """Give back a buffer that `holder` returned. Raises ValueError if it did not have it (counted, too)."""
        self._check_holder(holder)
        if not self.return_bulk(&buffer, 1, holder):
            raise ValueError(f"{self._holders[holder] or 'the pool'} does not have buffer {buffer}")

    def reclaim(self, uint8_t holder):
        """Take back all that `holder` has, and return the numbers: once it is dead and what it returned has been taken back.

        A number of its that is read afterwards may be anybody's: leave its rings behind. An owner's number is good here when it is
        closed, too.
        """
        self._check_open()
        out = self.outstanding_of(holder)
        if out:
            self.reclaim_all(holder)
        return out

    def outstanding_of(self, uint8_t holder):
        """Numbers of the buffers that `holder` has: what was lent to it, or what an owner took."""
        return [] if holder == 0 else [i for i in range(self.count) if load_relaxed8(&self.taken[i]) == holder]

    @property
    def holders(self):
        """Who may have buffers, by number: the pool itself, owners, and whom `add_holder` named."""
        return {number: name for number, name in self._holders.items() if number not in self._gone}

    @property
    def available(self):
        """Buffers in the pool now."""
        return self.free_now()

    @property
    def outstanding(self):
        """Numbers of the buffers that are out: what a leak looks like."""
        return [i for i in range(self.count) if load_relaxed8(&self.taken[i])]

    cdef str _what_is_out(self):
        """Who has which buffers; those of the pool itself first, without a name."""
        parts = []
        for number, name in sorted(self._holders.items()):
            if out := self.outstanding_of(number):
                parts.append(_some(out) + (f" with {name}" if name else ""))
        return "; ".join(parts)

    cdef int _check_open(self) except -1:
        if self.base == NULL:
            raise ValueError("the pool is closed")
        return 0

    def close(self):
        """Give the memory back to the arena; again is harmless. Raises RuntimeError naming the buffers still out, and closes nothing."""
        if self.base == NULL:
            return
        if self.free_now() != self.count:
            raise RuntimeError(f"{len(self.outstanding)} of {self.count} buffers are still out: {self._what_is_out()}")
        self.pin.release()
        self.arena.free(self._offset)
        self.base = NULL
        self.free_count = 0

    def __repr__(self):
        if self.base == NULL:
            return f"<{type(self).__name__}: closed>"
        return f"<{type(self).__name__}: {self.free_now()} of {self.count} buffers of {self.buffer_size} bytes available>"


def _some(numbers):
    return ", ".join(map(str, numbers[:8])) + (", …" if len(numbers) > 8 else "")


cdef class FifoPool(BufferPool):
    """A BufferPool whose buffers go round: the one returned last is handed out last. `BufferPool.create(strategy="fifo")` makes it."""

    def __cinit__(self):
        self.strategy = "fifo"

    def __init__(self, Arena arena not None, *, uint32_t count, uint32_t buffer_size, uint64_t arena_iova=0):
        cdef uint32_t i
        super().__init__(arena, count=count, buffer_size=buffer_size, arena_iova=arena_iova)
        for i in range(count):
            self.stack[i] = i

    cdef uint32_t take_bulk(self, uint32_t* out, uint32_t n) noexcept nogil:
        """Take up to n buffers; return how many there were. Too few is counted once."""
        cdef uint32_t i, buffer, head = self.head
        if n > self.free_count:
            self.alloc_failures += 1
            n = self.free_count
        for i in range(n):
            buffer = self.stack[head]
            head = head + 1 if head + 1 < self.count else 0
            self.taken[buffer] = OWN
            unpoison(self.address(buffer), self.buffer_size)
            out[i] = buffer
        self.head = head
        self.free_count -= n
        return n

    cdef void give_bulk(self, const uint32_t* buffers, uint32_t n) noexcept nogil:
        """Give n buffers back; what is not out, or lent, is refused and counted."""
        cdef uint32_t i, buffer, given = 0, tail = self.head + self.free_count, count = self.count
        if tail >= count:
            tail -= count
        for i in range(n):
            buffer = buffers[i]
            if buffer >= count or self.taken[buffer] != OWN:
                self.give_refused(buffer if buffer < count and not self.taken[buffer] else NO_SUCH)
                continue
            self.taken[buffer] = 0
            poison(self.address(buffer), self.stride)
            self.stack[tail] = buffer
            tail = tail + 1 if tail + 1 < count else 0
            given += 1
        self.free_count += given
