"""Edits on bursts, with tcprewrite's meaning."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from fastring.burst cimport Burst, BurstSource, Frame
from fastring.rewrite_packet cimport Packet
from fastring.rewrite_plan cimport AddressMaps, EditPlan


ctypedef struct Block:              # its bytes follow
    Block* next


cdef class Edits:
    cdef EditPlan plan
    cdef EditPlan server            # the same with what servers get: other MAC addresses, the maps of --pnat exchanged
    cdef Block* _blocks             # memory that both lead to; a list would be empty by the end of a reference cycle
    cdef void* _block(self, size_t size) except NULL
    cdef AddressMaps _maps(self, entries) except *


cdef class Stage:
    cdef uint8_t* memory
    cdef uint64_t size, used
    cdef object lent                # what packets that were not copied lie in
    cdef bint make_room(self, uint64_t size) noexcept nogil


cdef class Rewriter(BurstSource):
    cdef readonly BurstSource source
    cdef readonly Edits edits
    cdef const EditPlan* plan
    cdef bint queued                # Frame.queue says whose a packet is
    cdef Burst taken                # what the source gave last
    cdef Stage stage                # of the burst filled last
    cdef bint out_of_memory
    cdef readonly uint64_t packets      # that came from the source
    cdef readonly uint64_t edited       # of these, changed
    cdef readonly uint64_t deleted      # of these, left out by --fixlen=del
    cdef readonly uint64_t malformed    # of these, with headers cut short or wrong: edited as far as they can be
    cdef readonly uint64_t unchecked    # of these, with a checksum to make anew whose bytes are not all there

    cdef bint prepare(self, Burst burst) noexcept nogil
    cdef uint64_t room_for(self, const Frame* frame) noexcept nogil
    cdef uint32_t rewrite(self, Frame* pieces, uint32_t n, Frame* target) noexcept nogil
    cdef void gather(self, Packet* p, const Frame* pieces, uint32_t n) noexcept nogil
