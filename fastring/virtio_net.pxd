"""struct virtio_net_hdr, and packets that the kernel left to be finished, made into frames for a wire."""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from fastring.burst cimport Frame

cdef extern from "<linux/virtio_net.h>":
    ctypedef struct virtio_net_hdr "struct virtio_net_hdr":    # in the machine's byte order, in front of each packet
        uint8_t flags
        uint8_t gso_type
        uint16_t hdr_len
        uint16_t gso_size
        uint16_t csum_start
        uint16_t csum_offset

cpdef enum:
    VIRTIO_NET_HDR_F_NEEDS_CSUM = 1
    VIRTIO_NET_HDR_F_DATA_VALID = 2
    VIRTIO_NET_HDR_GSO_NONE = 0
    VIRTIO_NET_HDR_GSO_TCPV4 = 1
    VIRTIO_NET_HDR_GSO_UDP = 3          # UFO: never asked for, refused
    VIRTIO_NET_HDR_GSO_TCPV6 = 4
    VIRTIO_NET_HDR_GSO_UDP_L4 = 5       # USO
    VIRTIO_NET_HDR_GSO_ECN = 0x80
    VNET_HEADERS = 256                  # bytes of headers a packet to be cut may have: its segments' are written at this distance
    VNET_LONGEST = 65535 + 14 + 2 * 4   # bytes of the longest packet: IP's longest, with two VLAN tags

# One packet with a virtio_net_hdr, finished and being cut: `vnet_frames` gives its segments, in as many calls as it takes.
ctypedef struct VnetPacket:
    uint8_t* data
    uint32_t length
    uint32_t headers                    # bytes of them that each segment repeats; 0: it goes as it is
    uint32_t network, transport         # where their headers begin
    uint32_t offset                     # of the payload that comes next
    uint32_t gso_size                   # payload of a segment
    uint32_t segment                    # number of the next
    uint64_t pseudo                     # sum of the pseudo header, without the length
    bint tcp, ipv6
    bint summed                         # segments have a checksum (in UDP over IPv4 they may not)
    bint left                           # something is still to come

ctypedef struct VnetDrops:              # packets whose header is not true of them
    uint64_t bad_checksum
    uint64_t bad_gso

cdef bint vnet_begin(VnetPacket* packet, const virtio_net_hdr* header, uint8_t* data, uint32_t length, VnetDrops* drops) noexcept nogil
cdef int vnet_frames(VnetPacket* packet, Frame* frames, int n, int most, uint8_t* room) noexcept nogil
cdef dict vnet_drops(const VnetDrops* drops)
