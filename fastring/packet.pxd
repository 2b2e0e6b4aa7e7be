"""PacketWire: a network interface of the host, by a packet socket."""

from libc.stdint cimport int64_t, uint8_t, uint64_t

from fastring.burst cimport Frame
from fastring.host_wire cimport HostWire
from fastring.packet_ring cimport PacketRing

cdef extern from *:
    """
    #ifndef _GNU_SOURCE
    #define _GNU_SOURCE
    #endif
    #include <sys/socket.h>
    #include <sys/uio.h>
    """
    ctypedef struct iovec "struct iovec":
        void* iov_base
        size_t iov_len
    ctypedef struct msghdr "struct msghdr":
        iovec* msg_iov
        size_t msg_iovlen
    ctypedef struct mmsghdr "struct mmsghdr":
        msghdr msg_hdr

cdef enum:
    MESSAGES = 64                   # packets of one sendmmsg
    PIECES = 1024                   # and their Frames; the kernel takes no more of one packet (UIO_MAXIOV)

ctypedef struct Batch:              # what one sendmmsg is told
    uint8_t whole[10]               # a virtio_net_hdr that asks for nothing, before each packet where the socket wants one
    mmsghdr messages[MESSAGES]
    iovec pieces[PIECES]
    int ends[MESSAGES]              # Frames up to and with each packet


cdef class PacketWire(HostWire):
    cdef readonly str name
    cdef readonly int ifindex
    cdef object socket
    cdef int fd
    cdef int mtu
    cdef PacketRing ring
    cdef Batch* batch
    cdef int64_t asked              # when `ask_for_errors` did last, ns
    cdef uint64_t too_long, too_short, down, without_carrier, ring_full
    cdef _set_up(self, bint promisc, bint qdisc_bypass, bint vnet_hdr, int ring, int block_timeout)
    cdef _join(self, int group, str mode)
    cdef int gather(self, Frame* frames, int n) noexcept nogil
    cdef int refuse(self, Frame* frames, int n, int error) noexcept nogil
    cdef int ask_for_errors(self) noexcept nogil
