"""VfioUserBus: a card behind a vfio-user server as its driver sees it."""

from e1000.bus.base cimport Bus
from e1000.vfio_user.client cimport Client
from fastring.irq cimport IrqLine


cdef class VfioUserLine(IrqLine):
    cdef Client client              # None off the bus
    cdef int event                  # eventfd that INTx fires, or -1
    cdef int epoll                  # of it and the socket: readable when there is something to look at
    cdef bint masks                 # a fired interrupt comes again only after UNMASK
    cdef readonly unsigned long long fired
    cdef void hear(self) noexcept nogil
    cdef void unmask(self) noexcept nogil


cdef class VfioUserBus(Bus):
    cdef Client client
    cdef readonly str path
    cdef object device              # e1000.vfio_user.attach.Device
