"""TapWire: the wire's other end is a network interface of the kernel's."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from fastring.burst cimport Frame
from fastring.host_wire cimport HostWire
from fastring.virtio_net cimport VnetDrops, VnetPacket

cdef enum:
    MAX_QUEUES = 256                    # the kernel's


cdef class TapWire(HostWire):
    cdef readonly str name
    cdef readonly int queues            # 0: closed
    cdef readonly bint vnet_hdr
    cdef int[MAX_QUEUES] fds
    cdef int epoll                      # of all queues, where there are several; else -1
    cdef uint8_t* arena                 # what was read last: packets, each with its virtio_net_hdr
    cdef uint8_t* headers               # of segments, VNET_HEADERS for each staged Frame
    cdef uint32_t filled                # bytes of the arena in use
    cdef VnetPacket packet              # the one read last, while some of it is left to be staged
    cdef VnetDrops malformed
    cdef int reading, run               # the queue to read from, and how many packets it gave in a row
    cdef int came_from                  # the queue of `packet`
    cdef int full                       # the queue that a send found no room in
    cdef bint watching                  # `epoll` tells of room there
    cdef uint64_t[MAX_QUEUES] rx_queue, tx_queue     # packets
    cdef uint64_t tx_down, tx_refused, tx_no_memory
    cdef void open_epoll(self) except *
    cdef ssize_t read_one(self) noexcept nogil
    cdef bint accept(self, uint32_t size) noexcept nogil
    cdef int write_one(self, Frame* pieces, int n) noexcept nogil
    cdef int not_sent(self, int error, Frame* pieces, int n, int queue) noexcept nogil
    cdef void release(self) noexcept
    cdef void watch_full(self, bint on) noexcept nogil
