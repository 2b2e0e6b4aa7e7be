"""DatagramWire: a frame a datagram."""

from libc.stdint cimport uint8_t, uint64_t

from fastring.burst cimport Frame
from fastring.host_wire cimport HostWire
from fastring.socket_calls cimport iovec, mmsghdr, socklen_t

cdef enum:
    LONGEST = 4096 + 65536          # bytes of a frame, QEMU's NET_BUFSIZE
    MESSAGES = 64                   # of one system call
    PIECES = 256                    # in all of them
    ADDRESS = 128                   # bytes of a struct sockaddr_storage


cdef class DatagramWire(HostWire):
    cdef readonly str name
    cdef object receiver, sender    # the sockets: the same, unless it is a multicast group
    cdef int receive_fd, send_fd
    cdef uint8_t peer[ADDRESS]      # struct sockaddr_un to connect to again
    cdef socklen_t peer_length      # 0: no such peer
    cdef uint8_t own[ADDRESS]       # whose datagrams a group brings back
    cdef socklen_t own_length       # 0: nothing is brought back
    cdef object close_hook
    cdef mmsghdr* messages          # [MESSAGES]
    cdef iovec* pieces              # [PIECES], or [MESSAGES] for reception
    cdef int* counts                # [MESSAGES]: Frames of each message
    cdef mmsghdr* rx_messages
    cdef iovec* rx_pieces
    cdef uint8_t* rx_addresses      # [MESSAGES][ADDRESS]
    cdef uint8_t* rx_room           # [MESSAGES][LONGEST]
    cdef readonly uint64_t refusals     # reports of a peer that nobody listens at; over UDP the frame they tell of had left
    cdef uint64_t peerless, too_long, unreachable, empty, truncated, overflowed
    cdef int gather(self, Frame* frames, int n, int* used) noexcept nogil
    cdef int after_error(self, Frame* frames, int n, int error) noexcept nogil
    cdef bint find_peer(self) noexcept nogil
    cdef int keep(self, int got) noexcept nogil
