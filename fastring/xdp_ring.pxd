"""XskRing: one of the four rings that an AF_XDP socket shares with the kernel."""

from libc.stdint cimport uint32_t, uint64_t

from fastring.atomic cimport load_acquire32, load_relaxed32, store_release32

cdef enum:
    XDP_RING_NEED_WAKEUP = 1 << 0
    XDP_PKT_CONTD = 1 << 0          # xdp_desc.options: the packet goes on in the next descriptor (Linux 6.6)

ctypedef struct XdpDesc:            # struct xdp_desc
    uint64_t addr
    uint32_t len
    uint32_t options

ctypedef struct XskRing:            # indexes run free; each is written by one side
    uint32_t* producer
    uint32_t* consumer
    uint32_t* flags
    void* entries                   # [mask + 1] XdpDesc (RX, TX), or uint64_t (fill, completion)
    uint32_t mask
    uint32_t next                   # the index that is ours
    void* map
    size_t mapped

cdef int map_ring(XskRing* ring, int fd, uint64_t page_offset, tuple offsets, uint32_t entries, size_t entry) except -1
cdef void unmap_ring(XskRing* ring) noexcept


cdef inline uint32_t arrived(const XskRing* ring) noexcept nogil:
    """Of a ring that the kernel fills: entries that wait. Pairs with its release of the producer index (xskq_prod_submit)."""
    return load_acquire32(ring.producer) - ring.next


cdef inline void consume(XskRing* ring, uint32_t count) noexcept nogil:
    """They may be written to again. Pairs with the kernel's acquire of the consumer index (xskq_prod_nb_free)."""
    ring.next += count
    store_release32(ring.consumer, ring.next)


cdef inline void publish(XskRing* ring, uint32_t count) noexcept nogil:
    """Of a ring that we fill: so many more are there. Pairs with the kernel's acquire of the producer index (__xskq_cons_peek)."""
    ring.next += count
    store_release32(ring.producer, ring.next)


cdef inline uint32_t unread(const XskRing* ring) noexcept nogil:
    """Of a ring that we fill: entries that the kernel has not taken."""
    return ring.next - load_acquire32(ring.consumer)


cdef inline bint needs_wakeup(const XskRing* ring) noexcept nogil:
    return load_relaxed32(ring.flags) & XDP_RING_NEED_WAKEUP != 0
