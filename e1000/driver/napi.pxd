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
    cdef public object link_changed     # called without arguments when the card says so
    cdef public uint32_t itr_setting    # rx-usecs' meaning: 0 off, 1 and 3 dynamic, 4 simple, else a fixed rate
    cdef public uint32_t itr            # interrupts a second now
    cdef public bint gigabit            # the link's speed
    cdef readonly int tx_latency, rx_latency
    cdef uint64_t seen[4]               # packets and bytes, sent and received, that set_itr has accounted for
    cdef void interrupt(self) noexcept nogil
    cdef void tell_link_changed(self) noexcept nogil
    cdef void take_error(self) noexcept nogil
    cdef void set_itr(self) noexcept nogil
