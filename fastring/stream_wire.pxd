"""StreamWire: frames in a stream, each behind its length."""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from fastring.burst cimport Frame
from fastring.host_wire cimport HostWire
from fastring.socket_calls cimport iovec

cdef enum:
    PREFIX = 4                      # bytes of a length, big-endian
    RX_ROOM = 1 << 18               # what has been read: several of the longest frames
    BATCH = 64                      # frames of one system call
    IOVECS = 256


cdef class StreamWire(HostWire):
    cdef readonly str name
    cdef object listener, connect, close_hook
    cdef object socket              # the connection, or None
    cdef int fd                     # its descriptor, or -1
    cdef int listen_fd              # or -1
    cdef int epoll_fd, timer_fd     # what `fileno` stands for: the connection, the listener, the next attempt to connect
    cdef bint connecting            # under way, not yet known how it ends
    cdef bint broken                # nothing can be sent any more; what the peer sent before it went is read yet
    cdef bint watched_out           # epoll waits for room, too
    cdef int64_t retry              # ns between attempts to connect; 0: none
    cdef uint8_t* rx                # [RX_ROOM]; [rx_start, rx_end) has been read and is not yet staged
    cdef uint32_t rx_start, rx_end
    cdef uint8_t* rest              # [PREFIX + LONGEST]: of a frame that went in part, [rest_start, rest_end) is to go
    cdef uint32_t rest_start, rest_end
    cdef iovec pieces[IOVECS]
    cdef uint32_t prefixes[BATCH]
    cdef uint32_t lengths[BATCH]    # of frames being sent, with their prefix
    cdef int counts[BATCH]          # Frames of each
    cdef readonly uint64_t connections, disconnections, violations
    cdef uint64_t peerless, too_long, cut_off, rx_cut_off, empty
    cdef int gather(self, Frame* frames, int n, int* used) noexcept nogil
    cdef int account(self, Frame* frames, int frame_count, uint64_t sent) noexcept nogil
    cdef void keep_rest(self, Frame* frames, int count, uint32_t prefix, uint32_t gone) noexcept nogil
    cdef bint flush(self) noexcept nogil
    cdef void lose_rest(self) noexcept nogil
    cdef void watch(self) noexcept nogil
    cdef void look_after(self) noexcept nogil
    cdef void finish_connecting(self) noexcept nogil
    cdef int parse(self, int most) noexcept nogil
    cdef int lose(self, int error) noexcept nogil
    cdef int _epoll(self, int what, int fd, int events) noexcept nogil
    cdef void take_connection(self, int fd) noexcept nogil
    cdef void try_again(self) noexcept nogil
    cdef int _use(self, connection) except -1
