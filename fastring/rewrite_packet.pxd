"""A packet under edit: what its headers are, found without believing them, and its bytes changed in a copy, made when one first changes.

Every offset is held against the bytes that are there. Fields are changed as they lie in memory; what a change does to a checksum
is added up in a delta (RFC 1624) and told to the checksum at the end.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

from fastring.burst cimport copy_frame
from fastring.checksum cimport swap16

cdef extern from "<arpa/inet.h>" nogil:
    uint16_t be16 "ntohs"(uint16_t value)
    uint32_t be32 "ntohl"(uint32_t value)

cdef enum:
    HEADROOM = 8                    # before a copy: a tag is put in without moving what follows it
    ETHERNET_HEADER = 14
    IP6_HEADER = 40

    ETH_P_IP = 0x0800
    ETH_P_ARP = 0x0806
    ETH_P_8021Q = 0x8100
    ETH_P_IPV6 = 0x86DD
    ETH_P_MPLS_UC = 0x8847
    ETH_P_MPLS_MC = 0x8848
    ETH_P_8021AD = 0x88A8
    ETH_P_QINQ1 = 0x9100
    ETH_P_802_3_MIN = 0x0600        # below, the field is a length

    IPPROTO_HOPOPTS = 0
    IPPROTO_ICMP = 1
    IPPROTO_TCP = 6
    IPPROTO_UDP = 17
    IPPROTO_DCCP = 33
    IPPROTO_ROUTING = 43
    IPPROTO_FRAGMENT = 44
    IPPROTO_AH = 51
    IPPROTO_ICMPV6 = 58
    IPPROTO_NONE = 59
    IPPROTO_DSTOPTS = 60
    IPPROTO_UDPLITE = 136

ctypedef struct Packet:
    uint8_t* data                   # where it came from, until it is `copied`
    uint8_t* room                   # where a copy may go; HEADROOM bytes before it
    uint32_t len                    # bytes that are there
    uint32_t wire_len               # bytes it had on its wire
    bint copied
    bint malformed                  # headers cut short, or that contradict themselves
    bint uncheckable                # its transport checksum should be made anew, and the bytes for that are not all there
    uint16_t ethertype              # of what the tags and labels lead to; 0: nothing known
    uint32_t l3                     # offset of that
    uint8_t version                 # 4 or 6: an IP header that is whole; else 0
    uint8_t protocol                # of the transport header
    bint fragment                   # part of a datagram, whose transport checksum is of more than is here
    bint routed                     # the destination is not the last one: a checksum has another in it
    uint32_t l4                     # offset of the transport header; 0: there is none, as in later fragments
    uint32_t l4_length              # of it and its payload, as IP says
    bint resized                    # its transport checksum must be made anew
    uint64_t ip_delta               # what changed, for the IPv4 header's checksum
    uint64_t pseudo_delta           # for the transport's, in its pseudo-header
    uint64_t port_delta             # for the transport's, in its own


cdef inline uint16_t load16(const uint8_t* at) noexcept nogil:
    """16 bits as they lie."""
    cdef uint16_t value
    memcpy(&value, at, 2)
    return value


cdef inline uint32_t load32(const uint8_t* at) noexcept nogil:
    """32 bits as they lie."""
    cdef uint32_t value
    memcpy(&value, at, 4)
    return value


cdef inline void own(Packet* p) noexcept nogil:
    """Copy the packet, before its first change."""
    if not p.copied:
        copy_frame(p.room, p.data, p.len)
        p.data = p.room
        p.copied = True


cdef inline void set8(Packet* p, uint32_t offset, uint8_t value) noexcept nogil:
    if p.data[offset] != value:
        own(p)
        p.data[offset] = value


cdef inline uint64_t set16(Packet* p, uint32_t offset, uint16_t value) noexcept nogil:
    """Set a field, in network order; return what that adds to the sum of its words."""
    cdef uint16_t old = load16(p.data + offset)
    if old == value:
        return 0
    own(p)
    memcpy(p.data + offset, &value, 2)
    return <uint64_t>(~old & 0xFFFF) + value


cdef inline uint64_t set32(Packet* p, uint32_t offset, uint32_t value) noexcept nogil:
    """Set a field, in network order; return what that adds to the sum of its words."""
    cdef uint32_t old = load32(p.data + offset)
    if old == value:
        return 0
    own(p)
    memcpy(p.data + offset, &value, 4)
    return <uint64_t><uint32_t>~old + value


cdef inline bint has(const Packet* p, uint32_t offset, uint32_t length) noexcept nogil:
    """Whether these bytes are there."""
    return offset <= p.len and length <= p.len - offset


cdef inline void find_network(Packet* p) noexcept nogil:
    """Past tags (802.1Q, 802.1ad) and MPLS labels, as get_l2len_protocol of tcpreplay does."""
    cdef uint32_t l3 = ETHERNET_HEADER, label = 0
    cdef uint16_t kind
    if p.len < ETHERNET_HEADER:
        p.malformed = True
        return
    kind = be16(load16(p.data + 12))
    while kind == ETH_P_8021Q or kind == ETH_P_8021AD or kind == ETH_P_QINQ1:
        if not has(p, l3, 4):
            p.malformed = True
            return
        kind = be16(load16(p.data + l3 + 2))
        l3 += 4
    if kind == ETH_P_MPLS_UC or kind == ETH_P_MPLS_MC:
        while not label & 0x100:                    # the bottom of the stack
            if not has(p, l3, 5):                   # and what it leads to
                p.malformed = True
                return
            label = be32(load32(p.data + l3))
            l3 += 4
        kind = ETH_P_IP if p.data[l3] >> 4 == 4 else ETH_P_IPV6 if p.data[l3] >> 4 == 6 else 0
    p.l3 = l3
    p.ethertype = kind if kind >= ETH_P_802_3_MIN else 0


cdef inline void find_ip4_transport(Packet* p) noexcept nogil:
    cdef uint32_t header, total
    cdef uint16_t offset
    if not has(p, p.l3, 20):
        p.malformed = True
        return
    header = (p.data[p.l3] & 0xF) * 4
    total = be16(load16(p.data + p.l3 + 2))
    if p.data[p.l3] >> 4 != 4 or header < 20 or not has(p, p.l3, header) or 0 < total < header:
        p.malformed = True
        return
    if total == 0:                                  # too long for the field, as a card that segments is given it
        total = p.wire_len - p.l3
    offset = be16(load16(p.data + p.l3 + 6))
    p.version = 4
    p.protocol = p.data[p.l3 + 9]
    p.fragment = (offset & 0x3FFF) != 0
    if not offset & 0x1FFF:
        p.l4 = p.l3 + header
        p.l4_length = total - header


cdef inline void find_ip6_transport(Packet* p) noexcept nogil:
    """Past the extension headers, as ipv6_skip_exthdr does; a later fragment and a chain that is cut have no transport header."""
    cdef uint32_t at = p.l3 + IP6_HEADER, length, payload
    cdef uint8_t header
    cdef uint16_t offset
    if not has(p, p.l3, IP6_HEADER) or p.data[p.l3] >> 4 != 6:
        p.malformed = True
        return
    p.version = 6
    header = p.data[p.l3 + 6]
    payload = be16(load16(p.data + p.l3 + 4))
    if payload == 0 and p.wire_len > at and header != IPPROTO_NONE:
        payload = p.wire_len - at                   # too long for the field
    while header in (IPPROTO_HOPOPTS, IPPROTO_ROUTING, IPPROTO_FRAGMENT, IPPROTO_AH, IPPROTO_DSTOPTS):
        if payload < 8 or not has(p, at, 8):
            p.malformed = True
            return
        if header == IPPROTO_FRAGMENT:
            length = 8
            offset = be16(load16(p.data + at + 2))
            p.fragment = p.fragment or (offset & 0xFFF9) != 0
            if offset & 0xFFF8:
                p.protocol = p.data[at]
                return
        else:
            length = (p.data[at + 1] + 2) * 4 if header == IPPROTO_AH else (p.data[at + 1] + 1) * 8
            p.routed = p.routed or (header == IPPROTO_ROUTING and p.data[at + 3] != 0)
        if length > payload:
            p.malformed = True
            return
        header = p.data[at]
        at += length
        payload -= length
    p.protocol = header
    p.l4 = at
    p.l4_length = payload


cdef inline uint32_t checksum_field(const Packet* p) noexcept nogil:
    """Offset of a transport checksum with a pseudo-header in it, or 0 if there is none, or not among the bytes that are there."""
    cdef uint32_t field, header = 8
    if p.l4 == 0:
        return 0
    if p.protocol == IPPROTO_TCP:
        field = 16
        header = 20
    elif p.protocol in (IPPROTO_UDP, IPPROTO_UDPLITE, IPPROTO_DCCP):
        field = 6
    elif p.protocol == IPPROTO_ICMPV6 and p.version == 6:
        field = 2
        header = 4
    else:
        return 0
    return p.l4 + field if header <= p.l4_length and has(p, p.l4, field + 2) else 0
