"""Packets as TAPs and packet sockets give them with a virtio_net_hdr, made whole: a card on a wire gets frames that a wire could carry.

The kernel leaves work to whoever said that he does it (TUNSETOFFLOAD, PACKET_VNET_HDR): checksums of which only the pseudo header's
part is there (skb_checksum_help does the rest), and packets of up to 64 KB that are to be cut into segments (tcp_gso_segment,
__udp_gso_segment). Headers are not believed: what they say is checked against the packet, and what does not fit is counted, not sent.

A segment is two Frames: headers of its own, and its payload where it lies.
"""

from libc.string cimport memcpy, memset

from fastring.burst cimport FRAME_MORE
from fastring.checksum cimport fold, sum_words, swap16

cdef enum:
    ETH_HLEN = 14
    VLAN_HLEN = 4
    ETH_P_IP = 0x0800
    ETH_P_IPV6 = 0x86DD
    ETH_P_8021Q = 0x8100
    ETH_P_8021AD = 0x88A8
    IPPROTO_HOPOPTS = 0
    IPPROTO_TCP = 6
    IPPROTO_UDP = 17
    IPPROTO_ROUTING = 43
    IPPROTO_DSTOPTS = 60
    IP_FRAGMENT = 0x3FFF                # MF and the offset
    TCP_FIN = 0x01
    TCP_PSH = 0x08
    TCP_CWR = 0x80
    CSUM_MANGLED_0 = 0xFFFF             # in UDP 0 says that there is no checksum


cdef inline uint32_t get16(const uint8_t* at) noexcept nogil:
    return <uint32_t>at[0] << 8 | at[1]


cdef inline void put16(uint8_t* at, uint32_t value) noexcept nogil:
    at[0] = <uint8_t>(value >> 8)
    at[1] = <uint8_t>value


cdef inline uint32_t length_sum(uint32_t length) noexcept nogil:
    """The 32-bit length in a pseudo header, as a sum."""
    return swap16(length & 0xFFFF) + swap16(length >> 16)


cdef inline void put_checksum(uint8_t* at, uint64_t total, uint16_t if_zero) noexcept nogil:
    """csum_fold, stored as the sum lies in memory."""
    cdef uint16_t value = <uint16_t>~fold(total)
    if value == 0:
        value = if_zero
    memcpy(at, &value, 2)


cdef bint complete_checksum(const virtio_net_hdr* header, uint8_t* data, uint32_t length) noexcept nogil:
    """skb_checksum_help. Returns whether the header made sense."""
    cdef uint32_t start = header.csum_start, field = start + header.csum_offset
    if field + 2 > length:
        return False
    put_checksum(data + field, sum_words(data + start, length - start), CSUM_MANGLED_0)
    return True


cdef bint find_headers(VnetPacket* packet, uint32_t protocol) noexcept nogil:
    """Find where IP begins, and behind it TCP or UDP. Returns whether they are there, unfragmented."""
    cdef uint8_t* data = packet.data
    cdef uint32_t at = ETH_HLEN, length = packet.length, type, next
    cdef int tags = 0
    if length < ETH_HLEN:
        return False
    type = get16(data + 12)
    while tags < 2 and (type == ETH_P_8021Q or type == ETH_P_8021AD) and at + VLAN_HLEN <= length:
        type = get16(data + at + 2)
        at += VLAN_HLEN
        tags += 1
    packet.network = at
    if type == ETH_P_IP:
        packet.ipv6 = False
        if at + 20 > length or data[at] >> 4 != 4 or (data[at] & 15) < 5 or get16(data + at + 6) & IP_FRAGMENT:
            return False
        packet.transport = at + 4 * (data[at] & 15)
        return data[at + 9] == protocol
    if type != ETH_P_IPV6 or at + 40 > length or data[at] >> 4 != 6:
        return False
    packet.ipv6 = True
    next = data[at + 6]
    at += 40
    while (next == IPPROTO_HOPOPTS or next == IPPROTO_ROUTING or next == IPPROTO_DSTOPTS) and at + 8 <= length:
        next = data[at]
        at += 8 * (<uint32_t>data[at + 1] + 1)
    packet.transport = at
    return next == protocol


cdef bint begin_cutting(VnetPacket* packet, const virtio_net_hdr* header) noexcept nogil:
    """Set a packet up to be cut. Returns whether it can be: it is what gso_type says, and its headers are whole."""
    cdef uint8_t* data = packet.data
    cdef uint32_t type = header.gso_type & ~VIRTIO_NET_HDR_GSO_ECN, field, addresses
    cdef bint udp = type == VIRTIO_NET_HDR_GSO_UDP_L4
    if not (type == VIRTIO_NET_HDR_GSO_TCPV4 or type == VIRTIO_NET_HDR_GSO_TCPV6 or udp) or header.gso_size == 0:
        return False
    if not find_headers(packet, IPPROTO_UDP if udp else IPPROTO_TCP) or packet.transport + (8 if udp else 20) > packet.length:
        return False
    if not udp and packet.ipv6 != (type == VIRTIO_NET_HDR_GSO_TCPV6):
        return False
    packet.tcp = not udp
    packet.headers = packet.transport + (8 if udp else 4 * (data[packet.transport + 12] >> 4))
    field = packet.transport + (6 if udp else 16)
    if packet.headers < packet.transport + (8 if udp else 20) or packet.headers > min(packet.length, <uint32_t>VNET_HEADERS):
        return False
    packet.gso_size = header.gso_size
    packet.offset = packet.headers
    if header.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM:      # the field has the pseudo header's sum, with the whole packet's length
        if header.csum_start != packet.transport or header.csum_start + header.csum_offset != field:
            return False
        packet.summed = True
        packet.pseudo = swap16(get16(data + field)) + (0xFFFF ^ fold(length_sum(packet.length - packet.transport)))
    else:
        packet.summed = packet.tcp or get16(data + field) != 0
        addresses = packet.network + (8 if packet.ipv6 else 12)
        packet.pseudo = sum_words(data + addresses, 32 if packet.ipv6 else 8) + swap16(IPPROTO_UDP if udp else IPPROTO_TCP)
    return True


cdef bint vnet_begin(VnetPacket* packet, const virtio_net_hdr* header, uint8_t* data, uint32_t length, VnetDrops* drops) noexcept nogil:
    """Take a packet on: its bytes are written to, and stay the caller's. Returns whether `vnet_frames` has something to give.

    If not, it was malformed, which is counted in `drops`.
    """
    memset(packet, 0, sizeof(VnetPacket))
    packet.data = data
    packet.length = length
    if header.gso_type != VIRTIO_NET_HDR_GSO_NONE:
        if not begin_cutting(packet, header):
            drops.bad_gso += 1
            return False
    elif header.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM and not complete_checksum(header, data, length):
        drops.bad_checksum += 1
        return False
    packet.left = True
    return True


cdef void write_headers(VnetPacket* packet, uint8_t* headers, uint32_t payload) noexcept nogil:
    """The headers of the next segment, with `payload` bytes behind them."""
    cdef uint32_t length = packet.headers - packet.transport + payload, sequence
    cdef uint64_t total
    cdef uint8_t* ip = headers + packet.network
    cdef uint8_t* l4 = headers + packet.transport
    cdef uint8_t* field = l4 + (16 if packet.tcp else 6)
    memcpy(headers, packet.data, packet.headers)
    if packet.ipv6:                                     # ipv6_gso_segment
        put16(ip + 4, packet.transport - packet.network - 40 + length)
    else:                                               # inet_gso_segment
        put16(ip + 2, packet.transport - packet.network + length)
        put16(ip + 4, get16(ip + 4) + packet.segment)
        put16(ip + 10, 0)
        put_checksum(ip + 10, sum_words(ip, packet.transport - packet.network), 0)
    if packet.tcp:
        sequence = (get16(l4 + 4) << 16 | get16(l4 + 6)) + packet.offset - packet.headers
        put16(l4 + 4, sequence >> 16)
        put16(l4 + 6, sequence)
        if packet.offset + payload < packet.length:
            l4[13] &= <uint8_t>~(TCP_FIN | TCP_PSH)     # the last segment's
        if packet.segment:
            l4[13] &= <uint8_t>~TCP_CWR                 # the first one's
    else:
        put16(l4 + 4, length)
    if packet.summed:
        put16(field, 0)
        total = packet.pseudo + length_sum(length) + sum_words(l4, packet.headers - packet.transport)
        put_checksum(field, total + fold(sum_words(packet.data + packet.offset, payload)), CSUM_MANGLED_0)


cdef int vnet_frames(VnetPacket* packet, Frame* frames, int n, int most, uint8_t* room) noexcept nogil:
    """Describe what is left of a packet by at most n Frames, at most `most` packets; returns how many Frames. `packet.left`: there is more.

    `room`: for their headers, VNET_HEADERS bytes for every two Frames. That and the packet's bytes stay until the Frames are used.
    """
    cdef int used = 0
    cdef uint32_t payload
    if packet.headers == 0 and n > 0 and most > 0:
        frames[0].data = packet.data
        frames[0].len = packet.length
        frames[0].wire_len = frames[0].flags = 0
        packet.left = False
        return 1
    while packet.left and used + 2 <= n and most > 0:
        payload = min(packet.length - packet.offset, packet.gso_size)
        write_headers(packet, room, payload)
        frames[used].data = room
        frames[used].len = packet.headers
        frames[used].wire_len = frames[used].flags = 0
        used += 1
        if payload:
            frames[used - 1].flags = FRAME_MORE
            frames[used].data = packet.data + packet.offset
            frames[used].len = payload
            frames[used].wire_len = frames[used].flags = 0
            used += 1
        packet.offset += payload
        packet.segment += 1
        packet.left = packet.offset < packet.length
        room += VNET_HEADERS
        most -= 1
    return used


cdef dict vnet_drops(const VnetDrops* drops):
    """Those that there are, by reason."""
    counts = {"vnet_bad_checksum": drops.bad_checksum, "vnet_bad_gso": drops.bad_gso}
    return {reason: count for reason, count in counts.items() if count}


def finish(bytes header not None, bytes packet not None, *, int batch=256):
    """The frames that a packet with this virtio_net_hdr becomes on a wire, a list of bytes: what the wires do, one packet at a time.

    `batch`: Frames made at once. Raises ValueError for a header that is not true of the packet.
    """
    cdef virtio_net_hdr vnet
    cdef VnetPacket state
    cdef VnetDrops drops = [0, 0]
    cdef Frame made[256]
    cdef uint8_t room[128 * VNET_HEADERS]
    cdef int count, i
    if len(header) != sizeof(vnet) or not 2 <= batch <= 256 or len(packet) > VNET_LONGEST:
        raise ValueError(f"a header of {sizeof(vnet)} bytes, a packet of at most {VNET_LONGEST} and a batch of 2 to 256 are needed")
    memcpy(&vnet, <const char*>header, sizeof(vnet))
    own = bytearray(packet)
    cdef uint8_t* data = own
    if not vnet_begin(&state, &vnet, data, <uint32_t>len(own), &drops):
        raise ValueError(f"not a packet as its header says: {', '.join(vnet_drops(&drops))}")
    frames, pieces = [], []
    while state.left:
        count = vnet_frames(&state, made, batch, batch, room)
        for i in range(count):
            pieces.append(made[i].data[:made[i].len])
            if not made[i].flags & FRAME_MORE:
                frames.append(b"".join(pieces))
                pieces.clear()
    return frames
