"""What both sides of a ring must agree on, and where it lies in the shared block."""

from libc.stdint cimport uint32_t, uint64_t

cdef enum:
    WRITE_INDEX = 128
    READ_INDEX = 256
    WRITE_HEAD = 384
    READ_HEAD = 512
    LOCK = 640
    WAITS_FOR_ITEMS = 768
    WAITS_FOR_ROOM = 896
    OWNERS = 1024
    SLOTS = 1152
    VERSION = 2
    MOST = 1 << 26                  # slots: half a GiB of 8 bytes each

cdef enum Strategy:
    LAMPORT = 1
    CACHED
    BATCHED
    SLOTFLAG
    MPMC
    HEADTAIL_MT
    HEADTAIL_RTS
    HEADTAIL_HTS
    LOCKED

cdef enum Wait:
    POLL
    FUTEX
    EVENTFD

cdef uint64_t MAGIC

ctypedef struct Geometry:
    uint32_t strategy
    uint32_t item_size              # bytes; 1: records of any length, in slots of 8
    uint32_t capacity
    uint32_t batch
    uint32_t distance               # headtail, rts: how far a head may be ahead of its tail
    uint32_t wait

# The start of the shared block, read once.
ctypedef struct Header:
    uint64_t magic                  # written last
    uint32_t version
    Geometry geometry

cdef uint32_t units_of(const Geometry* geometry) noexcept
cdef uint32_t stride_of(const Geometry* geometry) noexcept
cdef uint64_t block_size(const Geometry* geometry) noexcept
cdef int check_geometry(const Geometry* geometry, bint records) except -1
