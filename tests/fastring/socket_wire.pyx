"""The least HostWire there can be, over a datagram socket: compiled when the tests run."""

from libc.errno cimport EAGAIN, ENOBUFS, errno
from libc.stdint cimport uint8_t

from fastring.burst cimport Frame
from fastring.host_wire cimport HostWire

cdef extern from "<sys/socket.h>" nogil:
    int MSG_DONTWAIT, MSG_TRUNC
    ssize_t c_send "send"(int fd, const void* data, size_t size, int flags)
    ssize_t c_recv "recv"(int fd, void* data, size_t size, int flags)


cdef class SocketWire(HostWire):
    cdef public int fd
    cdef public int recycled
    cdef uint8_t room[16][2048]

    def __init__(self, int fd):
        self.fd = fd

    cdef int send(self, Frame* frames, int n) noexcept nogil:
        cdef int i
        for i in range(n):
            if c_send(self.fd, frames[i].data, frames[i].len, MSG_DONTWAIT) < 0:
                return i if errno in (EAGAIN, ENOBUFS) else -errno
        return n

    cdef int pull(self, int most) noexcept nogil:
        cdef int i
        cdef ssize_t size
        for i in range(min(most, 16)):
            size = c_recv(self.fd, self.room[i], 2048, MSG_DONTWAIT)
            if size <= 0:
                return i if i or errno == EAGAIN else -errno
            self.staged[i].data = self.room[i]
            self.staged[i].len = <unsigned int>size
        return min(most, 16)

    cdef void recycle(self) noexcept nogil:
        self.recycled += 1

    def fileno(self):
        return self.fd
