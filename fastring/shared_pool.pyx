"""SharedPool and PoolOwner: one pool for several threads, each with a cache of its own.

    pool = BufferPool.create(arena, count=4096, buffer_size=2048, strategy="fifo", shared=True)
    owner = pool.owner("rx", cache=256)         # on each thread its own: a BufferPool to whoever uses it

An owner hands out from its cache, a stack, and gives back to it. Only when that is empty, or half as full again as it should be, does it
turn to the shared part, for a cache's worth at a time. What one owner took any other may give back. A shared pool can be used without
an owner, too, from any thread: it takes its lock each time.

Who holds a buffer is one byte, changed from "out" to "free" by an atomic exchange: of two threads that free the same buffer at the
same moment one is refused. That costs some 5 ns a buffer, and is why a pool of a single thread is a class of its own. The shared part
has a lock and no lock-free ring: it is taken once a cache's worth, a ticket lock is fair, and a stack and a queue are equally simple.

What lies in another owner's cache cannot be taken: have 1.5 caches an owner more buffers than may be out at once.

Prior art: DPDK's rte_mempool (a cache for each lcore, flushed at 1.5 times its size), the kernel's page_pool.
"""

import cython
from libc.stdint cimport uint64_t
from libc.stdlib cimport malloc
from libc.string cimport memmove

from fastring.atomic cimport fetch_add64, load_relaxed8, store_relaxed8
from fastring.memory cimport Arena
from fastring.pool cimport OWN
from fastring.sanitize cimport poison, unpoison
from fastring.ticket_lock cimport acquire, release

cdef enum:
    CHUNK = 64                                  # buffer numbers handled at a time
    APART = 32                                  # more numbers than a cache has: what two owners write lies in lines of their own


@cython.no_gc_clear                             # an owner that goes in the same cycle tells it so
cdef class SharedPool(BufferPool):
    """A BufferPool that any thread may use, best by an `owner` of its own. `strategy`: "lifo" or "fifo", of the part they share.

    Owners are made and closed, holders added and removed, and the pool closed, by one thread at a time. A forked child has a copy
    that hands out the same memory, its lock maybe held by a thread that is not there: leave it alone.
    """

    def __cinit__(self):
        self._open = {}

    def __init__(self, Arena arena not None, *, uint32_t count, uint32_t buffer_size, uint64_t arena_iova=0, strategy="lifo"):
        cdef uint32_t i
        if strategy not in ("lifo", "fifo"):
            raise ValueError(f"a pool's strategy is 'lifo' or 'fifo', not {strategy!r}")
        super().__init__(arena, count=count, buffer_size=buffer_size, arena_iova=arena_iova)
        self.strategy = strategy
        self.fifo = strategy == "fifo"
        if self.fifo:
            for i in range(count):
                self.stack[i] = i

    def owner(self, str name=None, *, uint32_t cache=256):
        """A PoolOwner for one thread, with a cache of so many buffers; 0 for none. Raises ValueError if it could hold the whole pool."""
        return PoolOwner(self, name, cache=cache)

    cdef uint32_t fetch(self, uint32_t* out, uint32_t n) noexcept nogil:
        """Up to n free buffers, in the order they are to be handed out. Any thread."""
        cdef uint32_t i, top, head
        acquire(&self.lock)
        top = self.free_count
        if n > top:
            n = top
        self.free_count = top - n
        if self.fifo:
            head = self.head
            for i in range(n):
                out[i] = self.stack[head]
                head = head + 1 if head + 1 < self.count else 0
            self.head = head
        else:
            for i in range(n):
                top -= 1
                out[i] = self.stack[top]
        release(&self.lock)
        return n

    cdef void store(self, const uint32_t* buffers, uint32_t n) noexcept nogil:
        """n buffers that are free. Any thread."""
        cdef uint32_t i, at
        acquire(&self.lock)
        at = self.free_count
        if self.fifo:
            at += self.head
            if at >= self.count:
                at -= self.count
        for i in range(n):
            self.stack[at] = buffers[i]
            at += 1
            if at == self.count:                # a full stack, too, but then nothing follows
                at = 0
        self.free_count += n
        release(&self.lock)

    cdef uint32_t take_as(self, uint32_t* out, uint32_t n, uint8_t holder) noexcept nogil:
        """take_bulk without a cache. Any thread."""
        cdef uint32_t i, got = self.fetch(out, n)
        if got < n:
            fetch_add64(&self.alloc_failures, 1)
        for i in range(got):
            store_relaxed8(&self.taken[out[i]], holder)
            unpoison(self.address(out[i]), self.buffer_size)
        return got

    cdef uint32_t take_bulk(self, uint32_t* out, uint32_t n) noexcept nogil:
        """Take up to n buffers; return how many there were. Too few is counted once."""
        return self.take_as(out, n, OWN)

    cdef void give_bulk(self, const uint32_t* buffers, uint32_t n) noexcept nogil:
        """Give n buffers back, whoever took them; what is not out is refused and counted."""
        self.give_through(self, buffers, n)

    cdef void give_through(self, BufferPool giver, const uint32_t* buffers, uint32_t n) noexcept nogil:
        """give_bulk without a cache; `giver` counts what is refused. Any thread."""
        cdef uint32_t kept[CHUNK]
        cdef uint32_t i, m = 0, buffer
        for i in range(n):
            buffer = buffers[i]
            if not self.untake(buffer):
                giver.give_refused(buffer)
            else:
                poison(self.address(buffer), self.stride)
                kept[m] = buffer
                m += 1
            if m and (m == CHUNK or i == n - 1):
                self.store(kept, m)
                m = 0

    cdef void give_refused(self, uint32_t buffer) noexcept nogil:
        if buffer < self.count:
            fetch_add64(&self.double_frees, 1)
        else:
            fetch_add64(&self.foreign_frees, 1)

    cdef uint32_t shared_now(self) noexcept nogil:
        """Free buffers in no cache."""
        cdef uint32_t n
        acquire(&self.lock)
        n = self.free_count
        release(&self.lock)
        return n

    cdef uint32_t free_now(self) noexcept nogil:
        """Those in caches are free, too."""
        cdef uint32_t i, n = 0
        for i in range(self.count):
            n += load_relaxed8(&self.taken[i]) == 0
        return n if self.base != NULL else 0

    @property
    def owners(self):
        """The open owners, by their names."""
        return list(self._open.values())

    def remove_holder(self, uint8_t holder):
        """As any pool's; an owner is closed instead. Raises ValueError for an open one."""
        if holder in self._open:
            raise ValueError(f"holder {holder} is an owner, {self._open[holder]}: close it instead")
        super().remove_holder(holder)

    def close(self):
        """As any pool's; its owners have to be closed before. Raises RuntimeError naming them, or the buffers still out."""
        if self._open:
            raise RuntimeError(f"owners of the pool are still open: {', '.join(self._open.values())}")
        super().close()


@cython.no_gc_clear                             # its cache goes back to the pool even out of a reference cycle
cdef class PoolOwner(BufferPool):
    """One thread's access to a SharedPool, by a cache of `cache` free buffers. In the place of any BufferPool.

    Counts what this thread did; the pool counts for all. Closing it gives the cache back; what it took may still be out then, and
    goes back by any other.
    """

    def __init__(self, SharedPool pool not None, str name=None, *, uint32_t cache=256):
        if self.pool is not None:
            raise TypeError(f"{self!r} is made already")
        pool._check_open()
        if <uint64_t>cache + cache // 2 >= pool.count:
            kept = <uint64_t>cache + cache // 2
            raise ValueError(f"an owner with a cache of {cache} may keep {kept} buffers, and the pool has {pool.count}")
        self.stack = <uint32_t*>malloc((cache + cache // 2 + APART) * sizeof(uint32_t))
        if self.stack == NULL:
            raise MemoryError()
        self.capacity = cache + cache // 2
        self.cache = cache
        self.number = pool._new_holder(name or "")
        self.name = pool._holders[self.number] = pool._open[self.number] = name or f"owner {self.number}"
        self._holders, self._gone = pool._holders, pool._gone
        self.strategy, self.arena, self._offset = pool.strategy, pool.arena, pool._offset
        self.base, self.base_iova, self.taken, self.lent = pool.base, pool.base_iova, pool.taken, pool.lent
        self.count, self.buffer_size, self.stride = pool.count, pool.buffer_size, pool.stride
        self.pool = pool

    def __dealloc__(self):
        self.taken = self.lent = NULL           # the pool's
        if self.base != NULL:
            self._leave()

    cdef uint32_t take_bulk(self, uint32_t* out, uint32_t n) noexcept nogil:
        """Take up to n buffers; return how many there were. Too few is counted once."""
        cdef uint32_t i, buffer, top = self.free_count
        cdef const uint32_t* stack = self.stack
        if n > top:
            return self._take_more(out, n)
        for i in range(n):
            top -= 1
            buffer = stack[top]
            store_relaxed8(&self.taken[buffer], self.number)
            unpoison(self.address(buffer), self.buffer_size)
            out[i] = buffer
        self.free_count = top
        return n

    cdef uint32_t _take_more(self, uint32_t* out, uint32_t n) noexcept nogil:
        """take_bulk of more than the cache has: all of that, then what is wanting with a cache's worth, or as it is if that is more."""
        cdef uint32_t i, got = self.free_count, top = 0
        if self.base == NULL:
            return 0
        for i in range(got):
            out[i] = self.stack[got - 1 - i]
        if n - got < self.cache:
            top = self.pool.fetch(self.stack, self.cache)
            while got < n and top:
                top -= 1
                out[got] = self.stack[top]
                got += 1
        else:
            got += self.pool.fetch(out + got, n - got)
        self.free_count = top
        for i in range(got):
            store_relaxed8(&self.taken[out[i]], self.number)
            unpoison(self.address(out[i]), self.buffer_size)
        if got < n:
            self.alloc_failures += 1
            fetch_add64(&self.pool.alloc_failures, 1)
        return got

    cdef void give_bulk(self, const uint32_t* buffers, uint32_t n) noexcept nogil:
        """Give n buffers back, whoever took them; what is not out is refused and counted."""
        cdef uint32_t i, buffer, top = self.free_count
        if self.capacity == 0:
            self.pool.give_through(self, buffers, n)
            return
        for i in range(n):
            buffer = buffers[i]
            if not self.pool.untake(buffer):
                self.give_refused(buffer)
                continue
            poison(self.address(buffer), self.stride)
            if top == self.capacity:
                top = self._flush(top)
            self.stack[top] = buffer
            top += 1
        self.free_count = top

    cdef uint32_t _flush(self, uint32_t top) noexcept nogil:
        """Give the shared part a cache's worth, of what was returned first; return what is left."""
        self.pool.store(self.stack, self.cache)
        memmove(self.stack, self.stack + self.cache, (top - self.cache) * sizeof(uint32_t))
        return top - self.cache

    cdef void give_refused(self, uint32_t buffer) noexcept nogil:
        if buffer < self.count:
            self.double_frees += 1
        else:
            self.foreign_frees += 1
        self.pool.give_refused(buffer)

    cdef uint32_t free_now(self) noexcept nogil:
        """What this owner could take: its cache, and the shared part."""
        return self.free_count + self.pool.shared_now() if self.base != NULL else 0

    cdef str _why_empty(self):
        return (f"none of {self.count} buffers is left for {self.name}: {len(self.pool.outstanding)} are out, "
                f"others in the caches of other owners")

    @property
    def outstanding(self):
        """Numbers of the buffers it took, and nobody gave back."""
        return self.outstanding_of(self.number)

    cdef void _leave(self) noexcept:
        self.pool.store(self.stack, self.free_count)
        self.free_count = self.cache = self.capacity = 0
        self.base = NULL
        self.pool._open.pop(self.number, None)
        self._gone.add(self.number)             # its name stays for what is still out

    def close(self):
        """Give the cache back to the pool; again is harmless. On its thread, or after that has ended."""
        if self.base != NULL:
            self._leave()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    def __repr__(self):
        if self.base == NULL:
            return "<PoolOwner: closed>"
        return f"<PoolOwner {self.name!r}: {self.free_count} buffers in its cache of {self.cache}, {self.pool.shared_now()} in the pool>"
