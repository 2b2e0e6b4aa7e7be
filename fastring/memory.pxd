"""Arena and AddressSpace: the memory both halves share, and the only way a device reaches it."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

cdef class Arena:
    cdef uint8_t* base              # first byte as this process sees it; a guard page before, another after the end
    cdef readonly uint64_t size     # bytes, whole pages
    cdef readonly uint64_t page_size        # bytes of one; of a guard page, too
    cdef readonly str pages         # what pages they are, and why no huge ones where these were asked for
    cdef readonly object numa_node  # which all of it is on, or None: on whichever touches it first
    cdef int fd
    cdef bint writable
    cdef readonly str name
    cdef dict _allocated            # offset -> length
    cdef int _pid                   # who allocates
    cdef list _holes                # [offset, length] sorted by offset
    cdef Py_ssize_t _exports        # live buffer views: the mapping must stay
    cdef uint8_t* at(self, uint64_t offset, uint64_t length) except NULL
    cdef int _map(self) except -1
    cdef void _release(self)


# One mapped range of bus addresses.
ctypedef struct Region:
    uint64_t start
    uint64_t size
    uint8_t* host
    bint writable


cdef enum:                          # what a device wants of memory
    ACCESS_READ = 0
    ACCESS_WRITE = 1                # all of it
    ACCESS_UPDATE = 2               # a ring: it reads, and writes some of it
    ACCESS_STORE = 3                # a ring, some of which it writes as it was when last updated
    ACCESS_LOOK = 4                 # whether it may write there, and no more


ctypedef void (*tap_handler)(void* context, uint64_t iova, uint64_t length, bint write, bint reached) noexcept nogil
ctypedef uint8_t* (*far_handler)(void* context, uint64_t iova, uint64_t length, int access) noexcept nogil
ctypedef void (*far_flush)(void* context) noexcept nogil


# The C half of AddressSpace, for engines that hold no Python object.
ctypedef struct IovaMap:
    Region* region                  # [count], sorted by start, never overlapping
    uint32_t count
    uint32_t capacity
    uint64_t master_aborts          # accesses refused: unmapped, across an end, or a write to read-only memory
    IovaMap* behind                 # a tap: no region of its own, tells each access to `tap` and passes it on to this map
    tap_handler tap
    void* tap_context
    # Asked for what lies in no region, memory that is elsewhere, and gives a copy; or NULL. It is asked for all rings: what a descriptor
    # tells of may lie elsewhere, and has to be there first.
    far_handler far
    far_flush far_write_out         # puts what a device wrote to copies where it belongs
    void* far_context


cdef uint8_t* translate_slow(IovaMap* iovas, uint64_t iova, uint64_t length, int access, uint32_t* hint) noexcept nogil


cdef inline uint8_t* within(const Region* region, uint64_t iova, uint64_t length, int access) noexcept nogil:
    """Pointer to `length` bytes at `iova` if they lie in `region`, else NULL."""
    cdef uint64_t offset = iova - region.start
    if offset < region.size and length <= region.size - offset and (region.writable or not access):
        return region.host + offset
    return NULL


cdef inline Region hinted_region(const IovaMap* iovas, uint32_t hint) noexcept nogil:
    """A copy of region number `hint`, for a loop that asks `within`; empty if there is none. What it refuses, `translate` decides."""
    if hint < iovas.count:
        return iovas.region[hint]
    return Region(0, 0, NULL, False)


cdef inline bint is_ring(int access) noexcept nogil:
    return access == ACCESS_UPDATE or access == ACCESS_STORE


cdef inline uint8_t* translate(IovaMap* iovas, uint64_t iova, uint64_t length, int access, uint32_t* hint) noexcept nogil:
    """Pointer to `length` bytes at `iova` for ACCESS_*, or NULL and a master abort. `hint`: the caller's last region, tried first."""
    cdef uint8_t* host = NULL
    if hint[0] < iovas.count and not (is_ring(access) and iovas.far != NULL):
        host = within(&iovas.region[hint[0]], iova, length, access)
    return host if host != NULL else translate_slow(iovas, iova, length, access, hint)


cdef class AddressSpace:
    cdef IovaMap iovas
    cdef dict _owners               # start -> the object that keeps the memory alive
    cdef uint64_t _next             # where map() without an address looks first
    cdef uint64_t _find_room(self, uint64_t size) except? 0
    cpdef uint64_t map_pointer(self, uint64_t pointer, uint64_t size, object owner, bint writable=*, object iova=*) except? 0
