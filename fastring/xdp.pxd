"""XdpWire: a queue of a network interface of the host, by an AF_XDP socket."""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from fastring.burst cimport Frame
from fastring.host_wire cimport STAGED, HostWire
from fastring.memory cimport Arena
from fastring.xdp_ring cimport XskRing

cdef enum:
    CHUNK = 4096                    # bytes of the memory that a descriptor names
    CHUNKS = 2048                   # for each direction; as many as a ring has entries, so that none overflows


cdef class XdpWire(HostWire):
    cdef readonly str name
    cdef readonly int ifindex, queue
    cdef readonly bint zerocopy
    cdef readonly object program    # XdpProgram, or None: it only sends
    cdef object socket, control     # the second to ask about the interface: XDP sockets have no ioctl
    cdef int fd, control_fd
    cdef uint32_t longest           # bytes of a frame
    cdef uint32_t most_chunks       # of a packet
    cdef Arena umem                 # [2 * CHUNKS] chunks: those to receive into, those to send from
    cdef uint8_t* memory
    cdef XskRing rx, tx, fill, completion
    cdef uint8_t with_kernel[2 * CHUNKS]
    cdef uint32_t unused[CHUNKS]    # chunks to send from
    cdef uint32_t unused_count
    cdef uint32_t pulled[STAGED]    # chunk of each Frame staged
    cdef int64_t asked              # when `ask_for_errors` did last, ns
    cdef bint is_down
    cdef uint64_t too_long, too_short, down, without_carrier, driver_dropped, unfinished
    cdef dict counted               # XDP_STATISTICS at the end
    cdef _set_up(self, str mode)
    cdef _bind(self, int flags)
    cdef void _unmap(self) noexcept
    cdef int reap(self) noexcept nogil
    cdef uint32_t copy_in(self, Frame* pieces, int n, uint32_t at) noexcept nogil
    cdef int kick(self) noexcept nogil
    cdef int ask_for_errors(self) noexcept nogil
