"""PacketRing: the receive ring that an AF_PACKET socket shares with the kernel, TPACKET_V3.

A ring of blocks. The kernel fills one with packets, one after another, and hands it over when it is full or old enough; it is given
back as a whole. See Documentation/networking/packet_mmap.rst; libpcap's pcap_handle_packet_mmap is the model for what is put right here.
"""

import errno
import os
import struct

from libc.errno cimport EPROTO, errno as c_errno
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memmove, memset

from fastring.atomic cimport load_acquire32, store_release32
from fastring.burst cimport Frame, packets_in
from fastring.host_wire cimport STAGED
from fastring.virtio_net cimport (
    VIRTIO_NET_HDR_F_NEEDS_CSUM, VIRTIO_NET_HDR_GSO_NONE, VNET_HEADERS, VNET_LONGEST, virtio_net_hdr, vnet_begin, vnet_frames,
)

cdef extern from *:
    """
    #include <sys/mman.h>
    #include <sys/socket.h>
    #include <linux/if_packet.h>
    """
    const int SOL_PACKET, PACKET_VERSION, PACKET_RX_RING, PACKET_RESERVE, PACKET_VNET_HDR, TPACKET_V3, TPACKET_ALIGNMENT
    const uint32_t TP_STATUS_KERNEL, TP_STATUS_USER, TP_STATUS_VLAN_VALID, TP_STATUS_VLAN_TPID_VALID
    const uint32_t PACKET_OUTGOING
    const int PROT_READ, PROT_WRITE, MAP_SHARED, MAP_POPULATE
    void* const MAP_FAILED
    void* mmap(void* address, size_t length, int protection, int flags, int fd, long offset)
    int munmap(void* address, size_t length)
    int setsockopt(int fd, int level, int option, const void* value, uint32_t length)
    const size_t LINK_ADDRESS "TPACKET_ALIGN(sizeof(struct tpacket3_hdr))"      # where in a packet's header its sockaddr_ll is
    ctypedef struct tpacket_hdr_v1:
        uint32_t block_status, num_pkts, offset_to_first_pkt
    ctypedef union tpacket_bd_header_u "union tpacket_bd_header_u":
        tpacket_hdr_v1 bh1
    ctypedef struct Block "struct tpacket_block_desc":
        tpacket_bd_header_u hdr
    ctypedef struct tpacket_hdr_variant1:
        uint32_t tp_vlan_tci
        uint32_t tp_vlan_tpid
    ctypedef struct Header "struct tpacket3_hdr":
        uint32_t tp_next_offset, tp_sec, tp_nsec, tp_snaplen, tp_len, tp_status
        uint32_t tp_mac
        tpacket_hdr_variant1 hv1
    ctypedef struct sockaddr_ll "struct sockaddr_ll":
        unsigned char sll_pkttype

cdef enum:
    ETH_ALEN = 6
    ETH_P_8021Q = 0x8100
    VLAN_HLEN = 4
    VNET_HLEN = sizeof(virtio_net_hdr)
    FRAME_SIZE = 2048                   # means nothing to TPACKET_V3, but it has to divide the block


cdef inline bint set_option(int fd, int option, const void* value, size_t size) noexcept:
    return setsockopt(fd, SOL_PACKET, option, value, <uint32_t>size) == 0


cdef int map_ring(PacketRing* ring, int fd, uint32_t blocks, bint vnet, uint32_t block_timeout) except -1:
    """Make the ring and map it. Before the socket is bound: what arrives earlier would stay in its ordinary queue. Raises OSError."""
    cdef int version = TPACKET_V3, with_vnet = vnet
    cdef int reserve = TPACKET_ALIGNMENT            # before each packet, for a VLAN tag
    cdef bytes request = struct.pack("7I", BLOCK, blocks, FRAME_SIZE, BLOCK // FRAME_SIZE * blocks, block_timeout, 0, 0)
    cdef void* mapped = MAP_FAILED
    memset(ring, 0, sizeof(PacketRing))
    ring.headers = <uint8_t*>malloc(STAGED * VNET_HEADERS)
    if ring.headers == NULL:
        raise MemoryError()
    if set_option(fd, PACKET_VERSION, &version, sizeof(version)) and set_option(fd, PACKET_RESERVE, &reserve, sizeof(reserve)) \
            and set_option(fd, PACKET_VNET_HDR, &with_vnet, sizeof(with_vnet)) \
            and set_option(fd, PACKET_RX_RING, <const char*>request, len(request)):
        mapped = mmap(NULL, <size_t>blocks * BLOCK, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0)
    if mapped == MAP_FAILED:
        error = c_errno
        asked = f"a receive ring of {blocks * BLOCK >> 20} MiB"
        if error == errno.ENOMEM:
            raise OSError(error, f"the kernel has no memory for {asked}: ask for a smaller one (ring=MIB)")
        raise OSError(error, f"{asked} (TPACKET_V3): {os.strerror(error)}")
    ring.map = <uint8_t*>mapped
    ring.blocks = blocks
    ring.vnet = vnet
    return 0


cdef void unmap_ring(PacketRing* ring) noexcept:
    """Unmap it; the socket's last close frees it. Again is harmless."""
    if ring.map != NULL:
        munmap(ring.map, <size_t>ring.blocks * BLOCK)
        ring.map = NULL
        ring.held = ring.packet.left = False
    free(ring.headers)
    ring.headers = NULL


cdef inline Block* block_of(const PacketRing* ring) noexcept nogil:
    return <Block*>(ring.map + <size_t>ring.block * BLOCK)


cdef inline uint8_t* put_tag_back(Header* header, uint8_t* data) noexcept nogil:
    """Insert the VLAN tag that the kernel took out of a packet; return where this begins now."""
    cdef uint32_t tpid = header.hv1.tp_vlan_tpid if header.tp_status & TP_STATUS_VLAN_TPID_VALID else ETH_P_8021Q
    data -= VLAN_HLEN
    memmove(data, data + VLAN_HLEN, 2 * ETH_ALEN)
    data[12] = <uint8_t>(tpid >> 8)
    data[13] = <uint8_t>tpid
    data[14] = <uint8_t>(header.hv1.tp_vlan_tci >> 8)
    data[15] = <uint8_t>header.hv1.tp_vlan_tci
    return data


cdef int stage(PacketRing* ring, Frame* frame) noexcept nogil:
    """Point `frame` at the next packet of the block, made whole again. Return how many Frames that took, 1 or 0, or -EPROTO.

    0: nothing that arrived here, or it is in `ring.packet` now, which says how it goes on.
    """
    cdef Header* header = <Header*>(<uint8_t*>block_of(ring) + ring.offset)
    cdef uint8_t* data
    cdef uint32_t length, tag = 0, room = BLOCK - ring.offset
    cdef virtio_net_hdr vnet
    if ring.offset > BLOCK - sizeof(Header) or header.tp_mac < sizeof(Header) + VNET_HLEN + VLAN_HLEN \
            or header.tp_mac > room or header.tp_snaplen > room - header.tp_mac:
        return -EPROTO
    data = <uint8_t*>header + header.tp_mac
    length = header.tp_snaplen
    ring.left -= 1
    ring.offset += header.tp_next_offset
    # What this host sent, where the kernel knows no PACKET_IGNORE_OUTGOING (before 4.20).
    if (<sockaddr_ll*>(<uint8_t*>header + LINK_ADDRESS)).sll_pkttype == PACKET_OUTGOING:
        return 0
    if ring.vnet:
        memcpy(&vnet, data - VNET_HLEN, VNET_HLEN)
    if header.tp_status & TP_STATUS_VLAN_VALID and length >= 2 * ETH_ALEN:
        data = put_tag_back(header, data)
        tag = VLAN_HLEN
    frame.time = ring.time = <int64_t>header.tp_sec * 1000000000 + header.tp_nsec
    if ring.vnet and (vnet.gso_type != VIRTIO_NET_HDR_GSO_NONE or vnet.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) \
            and length == header.tp_len and length + tag <= VNET_LONGEST:
        vnet.csum_start += <uint16_t>tag
        vnet_begin(&ring.packet, &vnet, data, length + tag, &ring.drops)
        return 0
    frame.data = data
    frame.len = length + tag
    frame.wire_len = header.tp_len + tag
    frame.flags = frame.queue = 0
    return 1


cdef int take_packets(PacketRing* ring, Frame* staged, int n, int most) noexcept nogil:
    """Point at most n Frames at the packets of the next block, at most `most`; return how many Frames, 0 if there are none, or -EPROTO.

    Valid until `give_back`. A block that holds nothing that arrived is given back at once.
    """
    cdef int used = 0, packets = 0, got, i
    while used == 0:
        if not ring.held:
            # Pairs with the kernel's barrier between a block's packets and its status (prb_close_block).
            if not load_acquire32(&block_of(ring).hdr.bh1.block_status) & TP_STATUS_USER:
                break
            ring.held = True
            ring.left = block_of(ring).hdr.bh1.num_pkts
            ring.offset = block_of(ring).hdr.bh1.offset_to_first_pkt
        while packets < most and used + 2 <= n:
            if ring.packet.left:
                got = vnet_frames(&ring.packet, &staged[used], n - used, most - packets, ring.headers + used * VNET_HEADERS)
                packets += packets_in(&staged[used], got)
                for i in range(used, used + got):
                    staged[i].time = ring.time
                    staged[i].queue = 0
            elif ring.left == 0:
                break
            else:
                got = stage(ring, &staged[used])
                if got < 0:
                    return got
                packets += got
            used += got
        if used == 0:
            give_back(ring)
    return used


cdef void give_back(PacketRing* ring) noexcept nogil:
    """What was taken is done with: if that was the last of its block, this is the kernel's again."""
    if ring.held and ring.left == 0 and not ring.packet.left:
        ring.held = False
        # Pairs with the kernel's look at the status before it writes to the block.
        store_release32(&block_of(ring).hdr.bh1.block_status, TP_STATUS_KERNEL)
        ring.block = ring.block + 1 if ring.block + 1 < ring.blocks else 0
