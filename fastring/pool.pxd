"""BufferPool: equal DMA buffers, handed out and taken back by one owner thread."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

cdef class BufferPool:
    cdef uint8_t* base                      # buffer i starts at base + i * stride
    cdef uint64_t base_iova
    cdef readonly uint32_t count            # buffers in all
    cdef readonly uint32_t buffer_size      # usable bytes of one
    cdef readonly uint32_t stride           # bytes from one to the next: size + a cache line, so that equal offsets spread over cache sets
    cdef uint32_t* stack                    # free buffers, the last returned on top
    cdef uint32_t free_count
    cdef uint8_t* taken                     # one byte a buffer: 1 while out
    cdef readonly uint64_t double_frees     # refused: the buffer was free already
    cdef readonly uint64_t foreign_frees    # refused: no such buffer
    cdef readonly uint64_t alloc_failures   # asked for and not there
    cdef object arena, pin
    cdef uint64_t _offset                   # of base in the arena

    cdef uint32_t take_bulk(self, uint32_t* out, uint32_t n) noexcept nogil
    cdef void give_bulk(self, const uint32_t* buffers, uint32_t n) noexcept nogil
    cdef void give_refused(self, uint32_t buffer) noexcept nogil

    cdef inline uint8_t* address(self, uint32_t buffer) noexcept nogil:
        return self.base + <uint64_t>buffer * self.stride

    cdef inline void give(self, uint32_t buffer) noexcept nogil:
        """Give one buffer back; what is not out is refused and counted."""
        self.give_bulk(&buffer, 1)

    cdef inline uint64_t iova(self, uint32_t buffer) noexcept nogil:
        return self.base_iova + <uint64_t>buffer * self.stride
