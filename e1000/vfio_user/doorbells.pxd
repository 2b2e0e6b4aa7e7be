"""DoorbellPages: the pages of BAR0 with the rings' registers, as memory that a client maps."""

from libc.stdint cimport uint32_t, uint64_t

from e1000.device.card cimport E1000Device
from fastring.file_mapping cimport FileMapping

cdef enum:
    PAGES_START = 0x2000            # of BAR0: both rings' registers, none of which a read changes
    PAGES_SIZE = 0x2000
    INTERRUPTS = 0x3FF8             # no register, nor is the next: how often INTx was signalled
    WAKEUP = 0x3FFC                 # not 0 while the server sleeps, and has to be woken after a store
    MOST_SHOWN = 64


cdef class DoorbellPages:
    cdef readonly E1000Device device
    cdef readonly FileMapping mapping
    cdef uint32_t* pages
    cdef uint32_t offsets[MOST_SHOWN]   # of the registers in them; the tails last, which count on the others
    cdef uint32_t shown[MOST_SHOWN]     # what the card put there last: what differs from it the client stored
    cdef uint32_t count
    cdef int fd
    cdef readonly uint64_t stores       # of the client's that were found
    cdef uint32_t* slot(self, uint32_t offset) noexcept nogil
    cdef bint tails_moved(self) noexcept nogil
    cdef bint stored(self) noexcept nogil
    cdef bint take_stores(self) noexcept nogil
    cdef void put(self, uint32_t i, uint32_t there) noexcept nogil
    cdef void show(self) noexcept nogil
    cdef void show_heads(self) noexcept nogil
