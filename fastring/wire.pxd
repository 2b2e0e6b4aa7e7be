"""Wire: where a card's frames go and come from, by bursts."""

from libc.stdint cimport uint64_t

from fastring.burst cimport Frame

# Takes frames off the wire. Returns how many Frames it took, whole packets only. `may_refuse`: it may take fewer when it has
# no room, and then calls back `receiver_has_room`; otherwise it takes all, and counts what it had to drop.
ctypedef int (*receive_handler)(void* context, Frame* frames, int n, bint may_refuse) noexcept nogil
# The wire, once it refused frames, has room again.
ctypedef void (*room_handler)(void* context) noexcept nogil
# Told of packets that the wire loses, n Frames of them, and why: words that live for ever. `arriving`: on their way to the card.
ctypedef void (*drop_handler)(void* context, const Frame* frames, int n, const char* reason, bint arriving) noexcept nogil


cdef class Wire:
    cdef receive_handler receive
    cdef room_handler room
    cdef void* context
    cdef object owner               # keeps context alive
    cdef drop_handler dropped       # the attached wrapper's, or NULL
    cdef public object error        # what a Python wire raised last
    cdef readonly uint64_t lost     # packets that ended here: no card attached, or transmit_burst raised
    # Called by the attached card
    cdef int transmit(self, Frame* frames, int n) noexcept nogil
    cdef int _transmit_python(self, Frame* frames, int n) noexcept
    cdef void receiver_has_room(self) noexcept nogil
    cdef int poll(self, int budget) noexcept nogil
    cdef void attach(self, receive_handler receive, room_handler room, void* context, object owner) except *
    cdef void detach(self) noexcept
    # For wires: hand frames to the attached card, and tell of what is lost
    cdef int deliver(self, Frame* frames, int n, bint may_refuse) noexcept nogil
    cdef void tell_drop(self, const Frame* frames, int n, const char* reason, bint arriving) noexcept nogil


cdef class PairEnd(Wire):
    cdef PairEnd peer               # a reference cycle: the collector breaks it
    cdef readonly bint lossless
