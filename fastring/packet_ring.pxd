"""PacketRing: the receive ring that an AF_PACKET socket shares with the kernel, TPACKET_V3."""

from libc.stdint cimport int64_t, uint8_t, uint32_t

from fastring.burst cimport Frame
from fastring.virtio_net cimport VnetDrops, VnetPacket

cdef enum:
    BLOCK = 1 << 17                 # bytes of a block: the longest packet of a local sender (64 KiB, GSO) fits

ctypedef struct PacketRing:
    uint8_t* map                    # [blocks * BLOCK], shared with the kernel
    uint32_t blocks
    uint32_t block                  # whose turn it is
    bint held                       # it is ours, and what follows is about it:
    uint32_t left                   # packets of it still to be taken
    uint32_t offset                 # where the next one's header is
    # Before each packet is a virtio_net_hdr (PACKET_VNET_HDR):
    bint vnet
    VnetPacket packet               # one that is being cut
    int64_t time                    # and when it arrived
    uint8_t* headers                # of its segments, VNET_HEADERS bytes for every Frame staged
    VnetDrops drops

cdef int map_ring(PacketRing* ring, int fd, uint32_t blocks, bint vnet, uint32_t block_timeout) except -1
cdef void unmap_ring(PacketRing* ring) noexcept
cdef int take_packets(PacketRing* ring, Frame* staged, int n, int most) noexcept nogil
cdef void give_back(PacketRing* ring) noexcept nogil
