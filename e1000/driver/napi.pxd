"""E1000Napi: the interrupt handler and the poll."""

from libc.stdint cimport uint32_t, uint64_t

from e1000.bus.base cimport Bus
from e1000.driver.rxring cimport RxRing
from e1000.driver.txring cimport TxRing
from fastring.napi cimport Napi


cdef class E1000Napi(Napi):
    cdef readonly Bus bus
    cdef public TxRing tx
    cdef public RxRing rx
    cdef readonly uint64_t interrupts   # handled, that were ours
    cdef readonly uint64_t spurious     # the line was up, ICR was empty
    cdef readonly uint32_t link_events
    cdef void interrupt(self) noexcept nogil
