"""AddressTable: where addresses were heard."""

from libc.stdint cimport int64_t, uint32_t, uint64_t

cdef enum:
    NOBODY = -1

# An address that was heard: an entry of the table, in a bucket's chain and in the order of when it was last heard.
ctypedef struct Address:
    uint64_t key                    # the MAC address, and above it the VLAN
    int64_t heard                   # ns
    int port
    int next                        # in its bucket
    int older, younger


cdef class AddressTable:
    cdef Address* entries           # [limit]
    cdef int* buckets               # [mask + 1]
    cdef uint32_t limit, mask
    cdef readonly uint32_t learned
    cdef int64_t ageing             # ns
    cdef uint64_t secret            # so that nobody can fill one bucket
    cdef int oldest, youngest, vacant       # lists of entries
    cdef readonly uint64_t moved, unlearned
    cdef uint32_t bucket(self, uint64_t key) noexcept nogil
    cdef int find(self, uint64_t key) noexcept nogil
    cdef void learn(self, uint64_t key, int port, int64_t now) noexcept nogil
    cdef void forget(self, int entry) noexcept nogil
    cdef void age(self, int64_t now) noexcept nogil
    cdef void leave_order(self, int entry) noexcept nogil
    cdef void join_order(self, int entry) noexcept nogil
    cdef forget_port(self, int port)
    cdef list list_entries(self, int64_t now)
