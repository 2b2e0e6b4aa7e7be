"""Channel: vfio-user messages on a connected UNIX socket."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from e1000.vfio_user.protocol cimport MAX_DATA, MAX_FDS, Header
from fastring.socket_calls cimport iovec, msghdr

cdef enum:
    ROOM = MAX_DATA + 4096          # bytes of one message: its header, the fields before its data, and that


cdef class Channel:
    cdef object socket              # keeps the descriptor open
    cdef int fd
    cdef uint8_t* rx                # [2 * ROOM]
    cdef uint64_t start, end        # of what is in it
    cdef uint64_t base              # the bytes before belong to a message that is being handled while others are; or 0
    cdef uint64_t position          # bytes ever received
    cdef uint64_t skipping          # bytes of a message too long to keep, still to come
    cdef int fds[MAX_FDS]           # received and not taken yet
    cdef uint64_t fd_positions[MAX_FDS]     # of the last byte that each came with
    cdef int fd_count
    cdef bint fds_lost              # more came than MAX_FDS
    cdef uint8_t* tx                # [ROOM]: what the socket had no room for
    cdef uint64_t tx_start, tx_end
    cdef list tx_fds                # that go with its first byte; or None
    cdef readonly int dead          # errno of the failure that ended it, or 0
    cdef readonly uint64_t received, sent   # messages
    cdef uint64_t enter(self) noexcept nogil
    cdef void leave(self, uint64_t start) noexcept nogil
    cdef int receive(self) noexcept nogil
    cdef void keep_fds(self, msghdr* message, uint64_t last) noexcept nogil
    cdef void skip(self) noexcept nogil
    cdef Header* next(self) noexcept nogil
    cdef void consume(self) noexcept nogil
    cdef int fds_of_message(self) noexcept nogil
    cdef void close_fds(self) noexcept nogil
    cdef void drop_fds(self) noexcept nogil
    cdef list take_fds(self)
    cdef bint flush(self) noexcept nogil
    cdef ssize_t send_pieces(self, iovec* pieces, int count) noexcept nogil
    cdef ssize_t send_with_fds(self, iovec* pieces, int count)
    cdef bint send(self, const Header* header, const void* first, uint32_t first_size, const void* rest, uint32_t rest_size) noexcept nogil
    cdef bint reply(self, const Header* to, uint32_t error, const void* first, uint32_t first_size, const void* rest,
                    uint32_t rest_size) noexcept nogil
    cdef void fail(self, int error) noexcept nogil
