"""XskRing: one of the four rings that an AF_XDP socket shares with the kernel (Documentation/networking/af_xdp.rst)."""

import os

from libc.errno cimport errno as c_errno
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memset

cdef extern from "<sys/mman.h>":
    const int PROT_READ, PROT_WRITE, MAP_SHARED, MAP_POPULATE
    void* const MAP_FAILED
    void* mmap(void* address, size_t length, int protection, int flags, int fd, long offset)
    int munmap(void* address, size_t length)


cdef int map_ring(XskRing* ring, int fd, uint64_t page_offset, tuple offsets, uint32_t entries, size_t entry) except -1:
    """Map a ring of `entries`, a power of two, of `entry` bytes each. `offsets`: struct xdp_ring_offset. Raises OSError."""
    producer, consumer, desc, flags = offsets
    cdef size_t size = desc + entries * entry
    cdef char* base
    memset(ring, 0, sizeof(XskRing))
    ring.map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, <long>page_offset)
    if ring.map == MAP_FAILED:
        ring.map = NULL
        raise OSError(c_errno, f"mapping a ring of an XDP socket: {os.strerror(c_errno)}")
    ring.mapped = size
    base = <char*>ring.map
    ring.producer = <uint32_t*>(base + <size_t>producer)
    ring.consumer = <uint32_t*>(base + <size_t>consumer)
    ring.flags = <uint32_t*>(base + <size_t>flags)
    ring.entries = base + <size_t>desc
    ring.mask = entries - 1
    return 0


cdef void unmap_ring(XskRing* ring) noexcept:
    """Again is harmless."""
    if ring.map != NULL:
        munmap(ring.map, ring.mapped)
        ring.map = NULL
