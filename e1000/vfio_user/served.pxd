"""ServedCard: a card behind a vfio-user connection."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from e1000.device.card cimport E1000Device
from e1000.device.standstill cimport Standstill
from e1000.vfio_user.channel cimport Channel
from e1000.vfio_user.dma_messages cimport DmaMessages
from e1000.vfio_user.doorbells cimport DoorbellPages
from e1000.vfio_user.line cimport EventLine
from e1000.vfio_user.protocol cimport Header, IrqSet, MultiWrite, RegionAccess
from fastring.memory cimport AddressSpace


cdef class ServedCard:
    cdef readonly E1000Device device
    cdef readonly AddressSpace addresses        # the client's memory, as far as it may be reached
    cdef readonly DmaMessages messages          # what of it is not mapped here
    cdef readonly EventLine line
    cdef readonly Channel channel               # None: no client
    cdef readonly bint maps_doorbells
    cdef readonly DoorbellPages doorbells       # of this client, if it is to map them; else None
    cdef public bint negotiated                 # the client and we agreed on a version
    cdef public object control                  # called with (command, payload, fds) for whatever is not a register access
    cdef readonly uint64_t reads, writes        # accesses to regions
    cdef readonly uint64_t refused              # messages that got an error
    cdef readonly uint64_t strays               # replies to nothing
    cdef Standstill still
    cdef readonly bint stopped                  # by a migration
    cdef uint8_t* data                          # [BAR0_SIZE]: what a read found; behind it the same for one in the midst of another message
    cdef int serve(self, Channel channel, int budget) noexcept nogil
    cdef bint has_error(self) noexcept nogil
    cdef int poll_wire(self, int budget) noexcept nogil
    cdef int make_doorbells(self) except -1
    cdef bint take_doorbells(self, bint idle) noexcept nogil
    cdef void handle(self, Header* message) noexcept nogil
    cdef void show_doorbells(self) noexcept nogil
    cdef void handle_inside(self, Header* message) noexcept nogil
    cdef uint32_t read_region(self, const Header* message, const RegionAccess* access, uint32_t size) noexcept nogil
    cdef uint32_t write_region(self, const Header* message, const RegionAccess* access, uint32_t size) noexcept nogil
    cdef void write_bytes(self, uint32_t region, uint32_t offset, const uint8_t* data, uint32_t count) noexcept nogil
    cdef uint32_t write_multi(self, const Header* message, const uint8_t* payload, uint32_t size) noexcept nogil
    cdef bint unmasks(self, const Header* message, const IrqSet* request, uint32_t size) noexcept nogil
    cdef void refuse(self, const Header* message, uint32_t error) noexcept nogil
    cdef void ask_control(self, const Header* message)
