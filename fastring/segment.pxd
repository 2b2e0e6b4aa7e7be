"""Segment: an Arena that processes share by name, and who uses it."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from fastring.memory cimport Arena

cdef enum:
    PARTICIPANTS = 32
    ENTRIES = 96
    NAME = 40                       # bytes of a name, the last 0


ctypedef struct Participant:        # a cache line each
    uint32_t taken                  # 0: free; else its ticket: which use of this place it is, and the place
    uint32_t pid
    uint64_t started                # clock ticks after boot: tells a process from a later one with the same number
    uint64_t heartbeat              # CLOCK_MONOTONIC, ns
    uint32_t last                   # the ticket before, or this one
    uint32_t _pad
    uint64_t[4] _rest


ctypedef struct Entry:
    char[NAME] name
    uint32_t kind
    uint32_t _rest
    uint64_t offset


ctypedef struct SegmentHeader:
    uint64_t magic                  # written last
    uint32_t version
    uint32_t closed
    uint64_t size
    uint32_t maker                  # ticket
    uint32_t entry_count            # written after the entry
    uint64_t[12] _rest
    Participant[PARTICIPANTS] participants
    Entry[ENTRIES] entries


cdef class Segment:
    cdef readonly Arena arena
    cdef readonly str name
    cdef SegmentHeader* header
    cdef uint32_t ticket            # our own
    cdef readonly bint is_maker
    cdef int _pid                   # who made this object: a forked child has only a copy
    cdef object _pin
    cdef dict _eventfds             # ring's name -> its two
    cdef dict _made                 # name -> what we made, which holds its memory

    cdef int _join(self) except -1
    cdef int _check_open(self) except -1
    cdef int _add(self, str name, uint32_t kind, uint64_t offset) except -1
    cdef Entry _entry(self, str name) except *
    cdef uint32_t* _owner(self, uint64_t offset, bint producer) except NULL
