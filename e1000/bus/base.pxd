"""Bus: what a driver sees of a card."""

from libc.stdint cimport uint32_t, uint64_t

from fastring.irq cimport IrqLine
from fastring.memory cimport AddressSpace, Arena


cdef class HostMemory:
    cdef readonly Arena arena
    cdef readonly AddressSpace addresses
    cdef readonly uint64_t iova     # bus address of the arena's first byte


cdef class Bus:
    cdef readonly HostMemory memory
    cdef readonly IrqLine irq
    cdef uint32_t read32(self, uint32_t offset) noexcept nogil
    cdef void write32(self, uint32_t offset, uint32_t value) noexcept nogil
