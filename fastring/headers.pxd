"""Where the headers of an Ethernet frame lie: VLAN tags, IPv4 or IPv6, and what is above."""

from libc.stdint cimport uint8_t, uint16_t, uint32_t

cdef enum:
    ETH_HLEN = 14
    MAX_VLANS = 2                   # tags that are told apart; more are gone past
    IPPROTO_ICMP = 1
    IPPROTO_TCP = 6
    IPPROTO_UDP = 17
    IPPROTO_ICMPV6 = 58

ctypedef struct Headers:            # offsets from the frame's first byte; 0: there is none
    uint32_t vlans                  # tags, MAX_VLANS at most
    uint32_t vlan[MAX_VLANS]        # each tag's TCI
    uint32_t l3                     # the IP header
    uint32_t l4                     # the header above it, if this is a whole packet of TCP, UDP, ICMP or ICMPv6
    uint32_t end                    # where IP's length says the packet ends, never beyond the frame
    uint32_t payload                # first byte above all headers that are known
    uint16_t ethertype
    uint8_t version                 # 4, 6 or 0
    uint8_t protocol                # of l4, or 0

cdef void find_headers(const uint8_t* data, uint32_t length, Headers* found) noexcept nogil


cdef inline uint32_t be16(const uint8_t* data) noexcept nogil:
    return data[0] << 8 | data[1]
