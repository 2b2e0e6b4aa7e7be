"""E1000Device: one card, held together."""

from libc.stdint cimport uint32_t

from e1000.device.faults cimport Faults
from e1000.device.handlers cimport Handlers
from e1000.device.recorder cimport Recorder
from e1000.device.state cimport Card
from e1000.device.strict cimport Strict
from e1000.device.watch cimport Watch
from fastring.clock cimport Clock
from fastring.irq cimport IrqLine
from fastring.memory cimport AddressSpace
from fastring.wire cimport Wire


cdef class E1000Device:
    cdef Card* card
    cdef readonly Wire wire
    cdef bint polls                     # the wire has to be polled
    cdef AddressSpace memory
    cdef IrqLine irq
    cdef readonly Clock clock
    cdef readonly Faults faults
    cdef Watch watch
    cdef Handlers handlers
    cdef Recorder recorder
    cdef Strict strict
    cdef readonly object breaches       # a strict.Breaches, or None
    cdef void look(self)
    cdef uint32_t read32(self, uint32_t offset) noexcept nogil
    cdef void write32(self, uint32_t offset, uint32_t value) noexcept nogil
    cdef void set_wire(self, void* wire)
    cdef int poll_wire(self, int budget) noexcept nogil
    cdef object wire_failed(self)
    cdef void connect(self, AddressSpace memory, IrqLine irq, bint enabled) except *
    cdef uint32_t read_space(self, int space, uint32_t offset, uint32_t size) noexcept nogil
    cdef void write_space(self, int space, uint32_t offset, uint32_t value, uint32_t size) noexcept nogil
    cdef void bus_reset(self) noexcept nogil
