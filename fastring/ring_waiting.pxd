"""A ring's watermarks, and waiting for the other side."""

from libc.stdint cimport uint32_t

from fastring.ring_memory cimport RingMemory, batched_flush, batched_flush_reads, fr_side, ring_the_bell


cdef class RingWaiting(RingMemory):
    cdef uint32_t _low, _high               # watermarks
    cdef bint _congested

    cdef int _raise_broken(self, bint producer) except -1
    cdef str _why_broken(self, const fr_side* side)
    cdef bint _wait(self, bint items, uint32_t n, object timeout, double spin) except -1

    cdef inline void flush_writes(self) noexcept nogil:
        """Tell what `batched` has kept to itself on the producer's side."""
        if self.ring.batch > 0:
            batched_flush(self.ring)
            if self.rings_bells:
                ring_the_bell(&self.items_bell)

    cdef inline void flush_reads(self) noexcept nogil:
        """Give back the slots that `batched` has kept to itself on the consumer's side."""
        if self.ring.batch > 0:
            batched_flush_reads(self.ring)
            if self.rings_bells:
                ring_the_bell(&self.room_bell)
