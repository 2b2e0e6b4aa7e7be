"""DmaMessages: a client's memory that is reached by messages alone."""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from e1000.device.card cimport E1000Device
from e1000.device.state cimport Card
from e1000.vfio_user.channel cimport Channel
from e1000.vfio_user.protocol cimport Header
from fastring.memory cimport AddressSpace

cdef enum:
    MOST_REGIONS = 512
    MOST_NOTED = 4096

ctypedef void (*message_handler)(void* context, Header* message) noexcept nogil

ctypedef struct FarRegion:
    uint64_t start, size
    bint readable, writable

ctypedef struct Noted:              # what the card wrote, and is to be sent
    uint64_t address
    uint32_t at, length             # in `written`

ctypedef struct Window:             # a ring: what the card sees, and what it was read as
    uint64_t address
    uint64_t length                 # 0: none is open
    uint8_t* now
    uint8_t* before


cdef class DmaMessages:
    cdef E1000Device device
    cdef AddressSpace addresses
    cdef Card* card
    cdef Channel channel            # None: no client
    cdef message_handler meanwhile  # what the client asks while we wait
    cdef void* context
    cdef FarRegion regions[MOST_REGIONS]
    cdef readonly uint32_t count    # of them
    cdef uint8_t* room              # copies: rings, what is read, what is written; NULL as long as there is no region
    cdef Window windows[2]          # transmit, receive
    cdef uint8_t* fetched           # what a run of the transmit engine has read
    cdef uint64_t fetched_size
    cdef uint8_t* written
    cdef uint64_t written_size
    cdef Noted noted[MOST_NOTED]
    cdef uint32_t noted_count
    cdef uint8_t* outgoing          # a message in QEMU's layout
    cdef uint32_t most              # bytes of data in a message
    cdef int64_t wait               # ns that an access may take
    cdef bint asked                 # which layout the client's messages have
    cdef bint narrow                # QEMU's
    cdef bint waiting
    cdef public object others       # DmaMessages of all cards that are served by this thread
    cdef uint32_t owed              # STALL_*: engines that were not started
    cdef uint16_t last_id
    cdef readonly uint64_t reads, writes    # messages
    cdef readonly uint64_t failures         # accesses that came to nothing
    cdef uint8_t* reach(self, uint64_t address, uint64_t length, int access) noexcept nogil
    cdef bint allows(self, uint64_t address, uint64_t length, int access) noexcept nogil
    cdef uint64_t piece(self, uint64_t address, uint64_t length, int access, uint8_t** here) noexcept nogil
    cdef uint8_t* note(self, uint64_t address, uint32_t length) noexcept nogil
    cdef uint8_t* fetch(self, uint64_t address, uint64_t length) noexcept nogil
    cdef uint8_t* open_window(self, uint64_t address, uint64_t length, bint again) noexcept nogil
    cdef void write_out(self) noexcept nogil
    cdef void write_window(self, Window* window) noexcept nogil
    cdef bint write(self, uint64_t address, uint64_t length, uint8_t* data) noexcept nogil
    cdef bint move(self, uint64_t address, uint64_t length, uint8_t* data, bint write) noexcept nogil
    cdef bint look_at_layout(self, uint64_t address, int64_t deadline) noexcept nogil
    cdef bint exchange(self, uint16_t command, uint64_t address, uint64_t count, uint8_t* data, int64_t deadline) noexcept nogil
    cdef bint ask(self, Header* request, uint64_t address, uint64_t count, uint8_t* data, int64_t deadline) noexcept nogil
    cdef bint send(self, Header* request, uint64_t address, uint64_t count, const uint8_t* data) noexcept nogil
    cdef void go_on(self) noexcept nogil
    cdef void serve_inside(self, int budget) noexcept nogil
    cdef void serve_others(self)
    cdef bint drain(self, int64_t deadline) noexcept nogil
    cdef Header* await_reply(self, const Header* request, int64_t deadline) noexcept nogil
    cdef bint take(self, const Header* reply, uint64_t address, uint64_t count, uint8_t* data) noexcept nogil
    cdef bint settle(self) noexcept nogil
    cdef void use(self, Channel channel)
