"""VfioUserBus: a card behind a vfio-user server as its driver sees it."""

from libc.stdint cimport int64_t, uint32_t, uint64_t

from e1000.bus.base cimport Bus
from e1000.vfio_user.client cimport Client
from fastring.file_mapping cimport FileMapping
from fastring.irq cimport IrqLine


cdef class VfioUserLine(IrqLine):
    cdef Client client              # None off the bus
    cdef int event                  # eventfd that INTx fires, or -1
    cdef int epoll                  # of it and the socket: readable when there is something to look at
    cdef bint masks                 # a fired interrupt comes again only after UNMASK
    cdef FileMapping pages          # where the next lies
    cdef const uint32_t* rung       # a word that counts its events, too, to look at first; NULL: none
    cdef uint32_t seen              # of that word
    cdef uint32_t unheard           # looks since the descriptors were asked
    cdef readonly unsigned long long fired
    cdef void rise(self, uint64_t times) noexcept nogil
    cdef void hear(self) noexcept nogil
    cdef void unmask(self) noexcept nogil


cdef class VfioUserBus(Bus):
    cdef Client client
    cdef readonly str path
    cdef list parts                 # of its memory, as `parts_of` has them
    cdef object device              # e1000.vfio_user.attach.Device
    cdef FileMapping doorbells      # what the server lets be mapped of BAR0, if both tails are in it; else None
    cdef int64_t start              # where in BAR0 it begins
    cdef uint32_t* rdt
    cdef uint32_t* tdt
    cdef uint32_t* wakeup           # not 0: the server sleeps, and has to be told of a store; NULL: it does not say
    cdef uint64_t ordered           # messages sent that a store must not overtake: atomic
    cdef uint64_t settled           # of them, those that an exchange came after
    cdef readonly uint64_t stores   # doorbells without a message
    cdef uint32_t* word(self, int64_t offset)
    cdef bint store(self, uint32_t* tail, uint32_t value) noexcept nogil
