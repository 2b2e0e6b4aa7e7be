"""SharedPool and PoolOwner: one pool for several threads, each with a cache of its own."""

from libc.stdint cimport uint8_t, uint32_t

from fastring.atomic cimport exchange8, load_relaxed8
from fastring.pool cimport BufferPool
from fastring.ticket_lock cimport TicketLock


cdef class SharedPool(BufferPool):
    cdef bint fifo
    cdef uint32_t head                      # fifo: of the free buffers in `stack`
    cdef dict _open                         # number -> name of the owners that are open
    cdef uint8_t _line0[128]
    cdef TicketLock lock                    # of stack, head and free_count
    cdef uint8_t _line1[128]

    # Numbers from and to the shared part, `taken` left as it is.
    cdef uint32_t fetch(self, uint32_t* out, uint32_t n) noexcept nogil
    cdef void store(self, const uint32_t* buffers, uint32_t n) noexcept nogil
    cdef uint32_t take_as(self, uint32_t* out, uint32_t n, uint8_t holder) noexcept nogil
    cdef void give_through(self, BufferPool giver, const uint32_t* buffers, uint32_t n) noexcept nogil

    cdef inline bint untake(self, uint32_t buffer) noexcept nogil:
        """Mark a buffer free; False if it is, or is lent, or there is none. Of two at once one gets it."""
        if buffer >= self.count or self.lent[load_relaxed8(&self.taken[buffer])]:
            return False
        return exchange8(&self.taken[buffer], 0) != 0

    cdef uint32_t shared_now(self) noexcept nogil


cdef class PoolOwner(BufferPool):
    cdef readonly SharedPool pool
    cdef readonly str name
    cdef readonly uint8_t number            # what `taken` says of the buffers it took
    cdef readonly uint32_t cache            # buffers it holds back; half as many again before it gives some to the pool
    cdef uint32_t capacity                  # of its stack
    cdef uint8_t _line[128]                 # another thread's owner may lie behind it

    cdef uint32_t _take_more(self, uint32_t* out, uint32_t n) noexcept nogil
    cdef uint32_t _flush(self, uint32_t top) noexcept nogil
    cdef void _leave(self) noexcept
