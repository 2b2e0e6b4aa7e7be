"""Client: the client's side of a vfio-user connection."""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from e1000.vfio_user.channel cimport Channel
from e1000.vfio_user.protocol cimport Header
from fastring.irq cimport IrqLine
from fastring.memory cimport AddressSpace


cdef class Client:
    cdef readonly Channel channel
    cdef readonly AddressSpace addresses    # what the server may reach by messages
    cdef readonly IrqLine line              # is told of the failure that ends it
    cdef readonly str name
    cdef int64_t patience                   # ns
    cdef bint corked                        # by the thread that services the line
    cdef uint8_t held[256]                  # what is not sent yet: whole messages
    cdef uint32_t held_size
    cdef uint32_t busy                      # somebody sends, or waits for a reply: atomic
    cdef uint16_t last_id
    cdef int failed                         # errno, or 0
    cdef const char* why
    cdef readonly uint64_t posted           # messages without a reply
    cdef readonly uint64_t exchanges
    cdef readonly uint64_t strays           # replies to nothing
    cdef readonly uint64_t dma_messages     # DMA_READ and DMA_WRITE
    cdef void take(self) noexcept nogil
    cdef bint message_waits(self) noexcept nogil
    cdef void finish(self) noexcept nogil
    cdef void fail(self, int error, const char* why) noexcept nogil
    cdef bint lost(self) noexcept nogil
    cdef bint drain(self, int64_t deadline) noexcept nogil
    cdef Header* await_message(self, int64_t deadline) noexcept nogil
    cdef Header* await_reply(self, const Header* request, int64_t deadline) noexcept nogil
    cdef bint set_out(self, Header* request, const void* first, uint32_t first_size, const void* rest, uint32_t rest_size,
                      int64_t deadline) noexcept nogil
    cdef bint send_held(self, int64_t deadline) noexcept nogil
    cdef void cork(self) noexcept nogil
    cdef void uncork(self) noexcept nogil
    cdef bint post(self, uint16_t command, const void* first, uint32_t first_size, const void* rest, uint32_t rest_size) noexcept nogil
    cdef uint32_t read_region(self, uint32_t region, uint64_t offset, uint32_t size, uint32_t* error) noexcept nogil
    cdef void write_region(self, uint32_t region, uint64_t offset, uint32_t value, uint32_t size) noexcept nogil
    cdef void handle(self, Header* message) noexcept nogil
    cdef uint32_t dma(self, const Header* message) noexcept nogil
    cdef void look(self) noexcept nogil
    cdef object refusal(self, uint32_t error, str what)
