"""BufferPool: equal DMA buffers, handed out and taken back by one owner thread."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

cdef enum:
    OWN = 1                                 # the holder that take_bulk hands out to, where nobody has another number

cdef class BufferPool:
    cdef uint8_t* base                      # buffer i starts at base + i * stride
    cdef uint64_t base_iova
    cdef readonly uint32_t count            # buffers in all
    cdef readonly uint32_t buffer_size      # usable bytes of one
    cdef readonly uint32_t stride           # bytes from one to the next: size + a cache line, so that equal offsets spread over cache sets
    cdef uint32_t* stack                    # free buffers, the last returned on top
    cdef uint32_t free_count
    cdef uint8_t* taken                     # one byte a buffer: 0 while free, else the number of who holds it
    cdef readonly uint64_t double_frees     # refused: the buffer was free already
    cdef readonly uint64_t foreign_frees    # refused: no such buffer, or not with who returned it
    cdef readonly uint64_t alloc_failures   # asked for and not there
    cdef object arena, pin
    cdef uint64_t _offset                   # of base in the arena
    cdef readonly str strategy
    cdef dict _holders                      # number -> name
    cdef uint8_t* lent                      # by holder: 1 for somebody outside, whose buffers return_bulk gives back alone
    cdef set _gone                          # numbers that are others' again once nothing is out under them

    cdef uint32_t take_bulk(self, uint32_t* out, uint32_t n) noexcept nogil
    cdef void give_bulk(self, const uint32_t* buffers, uint32_t n) noexcept nogil
    cdef void give_refused(self, uint32_t buffer) noexcept nogil
    # Buffers with a holder outside. Each returns how many it was.
    cdef uint32_t lend_bulk(self, const uint32_t* buffers, uint32_t n, uint8_t holder) noexcept nogil
    cdef uint32_t return_bulk(self, const uint32_t* buffers, uint32_t n, uint8_t holder) noexcept nogil
    cdef uint32_t reclaim_all(self, uint8_t holder) noexcept nogil
    cdef uint32_t free_now(self) noexcept nogil
    cdef uint8_t _new_holder(self, str name) except 0
    cdef int _check_holder(self, uint8_t holder) except -1
    cdef int _check_open(self) except -1
    cdef str _why_empty(self)
    cdef str _what_is_out(self)

    cdef inline uint8_t* address(self, uint32_t buffer) noexcept nogil:
        return self.base + <uint64_t>buffer * self.stride

    cdef inline void give(self, uint32_t buffer) noexcept nogil:
        """Give one buffer back; what is not out is refused and counted."""
        self.give_bulk(&buffer, 1)

    cdef inline uint64_t iova(self, uint32_t buffer) noexcept nogil:
        return self.base_iova + <uint64_t>buffer * self.stride


cdef class FifoPool(BufferPool):
    cdef uint32_t head                      # of the free buffers, which go on from the end of `stack` at its start
