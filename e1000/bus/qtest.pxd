"""QtestBus: registers, memory and interrupt of QEMU's own e1000."""

from libc.stdint cimport int64_t, uint32_t

from e1000.bus.base cimport Bus
from fastring.clock cimport Clock
from fastring.irq cimport IrqLine


cdef class QtestLine(IrqLine):
    cdef QtestBus bus               # a reference cycle: the collector breaks it


cdef class QtestBus(Bus):
    cdef readonly object qemu
    cdef readonly Clock clock
    cdef int64_t seen               # the clock when QEMU's was stepped last
    cdef bint looking
    cdef void _look(self) noexcept
