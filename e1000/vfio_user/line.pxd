"""EventLine: a card's interrupts as eventfds of a vfio-user client."""

from libc.stdint cimport uint32_t, uint64_t

from fastring.file_mapping cimport FileMapping
from fastring.irq cimport IrqLine

cdef enum:                          # VFIO_PCI_*_IRQ_INDEX
    IRQ_INTX = 0
    IRQ_MSI = 1
    IRQ_KINDS = 2


cdef class EventLine(IrqLine):
    cdef int fds[IRQ_KINDS]         # eventfds, -1: none
    cdef bint masked                # INTx: from when it has fired until the client unmasks it
    cdef bint muted                 # INTx: the client masked it
    cdef FileMapping pages          # where that word lies
    cdef uint32_t* rung             # a word that counts INTx, too, for a client that looks there first; NULL: none
    cdef readonly uint64_t signalled
    cdef void fire(self, int kind) noexcept nogil
    cdef void look_again(self) noexcept nogil
    cdef void unmask(self) noexcept nogil
    cpdef void forget(self)
