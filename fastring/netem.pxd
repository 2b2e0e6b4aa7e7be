"""NetemWire: a bad line, as Linux's netem makes one."""

from libc.stdint cimport int64_t, uint32_t, uint64_t

from fastring.burst cimport Frame
from fastring.clock cimport Clock, Timer
from fastring.stored_packet cimport StoredPacket
from fastring.wrapper cimport WrapperWire

# One direction.
ctypedef struct Lane:
    void* wire                      # its NetemWire
    bint arriving
    bint active                     # anything happens here at all
    bint instant                    # nothing waits, unless the receiver has no room
    bint draining
    bint blocked                    # the receiver refused: it will say when it has room
    bint refused                    # the sender was refused: it is owed that
    StoredPacket* first             # waiting, by the time they are due
    StoredPacket* last
    uint32_t waiting
    uint32_t counter                # packets since the last that was reordered
    uint64_t random
    Timer timer                     # for the first
    uint64_t loss, overrun, duplicate, corrupt, reorder     # packets that it happened to


cdef class NetemWire(WrapperWire):
    cdef readonly Clock clock
    cdef Lane out, back             # from the card, and to it
    cdef uint64_t loss, duplicate, corrupt, reorder     # chances, of 2^32
    cdef int64_t latency, jitter    # ns
    cdef uint64_t rate              # bits a second, 0: any
    cdef uint32_t limit, gap
    cdef int run(self, Lane* lane, Frame* frames, int n, bint may_refuse) noexcept nogil
    cdef int fate(self, Lane* lane, const uint64_t* draws) noexcept nogil
    cdef void befall(self, Lane* lane, const Frame* pieces, int n, const uint64_t* draws, int fate) noexcept nogil
    cdef void enqueue(self, Lane* lane, StoredPacket* packet, const uint64_t* draws) noexcept nogil
    cdef void lose(self, Lane* lane, const Frame* frames, int n, uint64_t* counter, const char* reason) noexcept nogil
    cdef int hand_on(self, Lane* lane, Frame* frames, int n, bint may_refuse) noexcept nogil
    cdef int drain(self, Lane* lane) noexcept nogil
    cdef int drain_some(self, Lane* lane, int64_t now, uint32_t most) noexcept nogil
    cdef bint room_again(self, Lane* lane) noexcept nogil
    cdef _prepare(self, Lane* lane, bint active, bint arriving, uint64_t seed)
    cdef dict _counts(self, Lane* lane)
