"""Handlers: registers that Python functions answer for."""

from libc.stdint cimport uint8_t, uint32_t

from e1000.device.state cimport REG_WORDS

cdef class Handlers:
    cdef uint8_t replaced[REG_WORDS]        # REPLACES_*
    cdef dict readers, writers              # by offset
    cdef set running                        # (offset, thread): its handler reaches the card's own register
    cdef void set(self, bint write, uint32_t offset, object function)
    cdef void forget(self, uint32_t offset)
    cdef bint read(self, uint32_t offset, uint32_t* value) noexcept nogil
    cdef bint write(self, uint32_t offset, uint32_t value) noexcept nogil
    cdef object call(self, object function, uint32_t offset, tuple arguments)
