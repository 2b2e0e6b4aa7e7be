"""Checksums of received packets (§3.2.9): IPv4's header, TCP and UDP verified, and the packet checksum from RXCSUM.PCSS on.

Headers are looked for in a frame's first HEADER bytes and never behind what the frame has; a packet whose lengths do not fit in it is
one the card does not support. The payload is summed once, for both checksums.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from e1000.desc cimport (RXD_CHECKSUM_SHIFT, RXD_ERROR_IPE, RXD_ERROR_TCPE, RXD_STAT_IPCS, RXD_STAT_IXSM, RXD_STAT_TCPCS)
from e1000.device.arrival cimport TAG_LENGTH, TYPE_OFFSET, load_be16
from e1000.device.state cimport Card
from e1000.regs cimport CRC_LENGTH, RXCSUM, RXCSUM_IPOFL, RXCSUM_IPV6OFL, RXCSUM_PCSS, RXCSUM_TUOFL, VET
from fastring.burst cimport Frame
from fastring.checksum cimport Sum, add_sum, fold, sum_frame, sum_words, swap16

cdef enum:
    TYPE_IPV4 = 0x0800
    TYPE_IPV6 = 0x86DD
    LONGEST_802_3 = 1500            # a type field up to this is a length
    SNAP_LENGTH = 8
    IPV4_LENGTH = 20
    IPV4_FRAGMENT = 0x3FFF          # offset, or more fragments
    IPV6_LENGTH = 40
    HOP_BY_HOP = 0
    IPV4_TUNNEL = 4
    TCP = 6
    UDP = 17
    IPV6_TUNNEL = 41
    ROUTING = 43
    DESTINATION_OPTIONS = 60
    LONGEST_EXTENSION = 64          # bytes of an extension header (§3.2.9.4)
    TCP_LENGTH = 20
    UDP_LENGTH = 8
    GOOD = 0xFFFF                   # sum of all that a right checksum covers, and of itself

ctypedef struct Headers:            # what was found in a packet
    const uint8_t* bytes
    uint32_t have                   # bytes of them
    uint32_t offset                 # where parsing has got to
    uint32_t end                    # of the packet, as far as headers are to be believed
    uint32_t ipv4, ipv4_length      # IPv4 header with a checksum; length 0: none
    uint32_t segment, segment_length    # TCP or UDP; length 0: none that can be checked
    uint64_t pseudo                 # sum of its pseudo header


cdef uint64_t checksum_bits(Card* card, const uint8_t* header, uint32_t have, const Frame* pieces, int n, uint32_t length,
                            uint32_t stripped, const uint8_t* crc) noexcept nogil:
    """Status, errors and packet checksum for the descriptor of a frame in n pieces.

    `have`: bytes of its header; 0 for a bad frame, of which nothing is verified. `crc`: what is stored behind the frame, or NULL.
    """
    cdef uint32_t rxcsum = card.regs[RXCSUM >> 2], payload = 0
    cdef uint64_t bits = 0
    cdef Headers found
    cdef Sum segment
    found.ipv4_length = found.segment_length = 0
    if rxcsum & (RXCSUM_IPOFL | RXCSUM_TUOFL) and have:
        found.bytes = header
        found.have = have
        found.end = length
        find_headers(card, &found)
    if found.ipv4_length and rxcsum & RXCSUM_IPOFL:
        bits |= RXD_STAT_IPCS
        if fold(sum_words(header + found.ipv4, found.ipv4_length)) != GOOD:
            bits |= RXD_ERROR_IPE
    if not rxcsum & RXCSUM_TUOFL:
        found.segment_length = 0
    if found.segment_length:
        segment.total = segment.bytes = 0
        sum_frame(&segment, pieces, n, found.segment, found.segment_length)
        payload = fold(segment.total)
        bits |= RXD_STAT_TCPCS
        if fold(payload + found.pseudo) != GOOD:
            bits |= RXD_ERROR_TCPE
    if bits == 0:
        bits = RXD_STAT_IXSM
    return bits | packet_checksum(&found, payload, rxcsum & RXCSUM_PCSS, pieces, n, length, stripped, crc) << RXD_CHECKSUM_SHIFT


cdef uint64_t packet_checksum(const Headers* found, uint32_t payload, uint32_t start, const Frame* pieces, int n, uint32_t length,
                              uint32_t stripped, const uint8_t* crc) noexcept nogil:
    """One's complement of what the host gets from byte `start` on (§13.4.47); complemented, as the card's drivers expect it."""
    cdef Sum sum
    sum.total = sum.bytes = 0
    if stripped:
        if start < TYPE_OFFSET:
            sum_frame(&sum, pieces, n, start, TYPE_OFFSET - start)
            start = TYPE_OFFSET
        start += stripped
    if found.segment_length and start <= found.segment:
        sum_frame(&sum, pieces, n, start, found.segment - start)
        add_sum(&sum, payload, found.segment_length)
        start = found.segment + found.segment_length
    if start < length:
        sum_frame(&sum, pieces, n, start, length - start)
        start = length
    if crc != NULL and start < length + CRC_LENGTH:
        start -= length
        add_sum(&sum, sum_words(crc + start, CRC_LENGTH - start), CRC_LENGTH - start)
    return ~swap16(fold(sum.total)) & 0xFFFF


cdef void find_headers(Card* card, Headers* found) noexcept nogil:
    """Skip Ethernet II, VLAN and SNAP headers to IP (§3.2.9.2)."""
    cdef uint32_t type, vet = card.regs[VET >> 2]
    cdef const uint8_t* snap
    if found.have < TYPE_OFFSET + 2 + TAG_LENGTH + SNAP_LENGTH + IPV4_LENGTH:
        return
    found.offset = TYPE_OFFSET + 2
    type = load_be16(found.bytes + TYPE_OFFSET)
    if type == vet and vet:
        found.offset += TAG_LENGTH
        type = load_be16(found.bytes + found.offset - 2)
    if type <= LONGEST_802_3:
        snap = found.bytes + found.offset
        if load_be16(snap) != 0xAAAA or snap[2] != 3 or snap[3] or snap[4] or snap[5]:
            return
        found.offset += SNAP_LENGTH
        type = load_be16(found.bytes + found.offset - 2)
    if type == TYPE_IPV4:
        find_ipv4(card, found)
    elif type == TYPE_IPV6:
        find_ipv6(card, found)


cdef void find_ipv4(Card* card, Headers* found) noexcept nogil:
    """IPv4 with or without options (§3.2.9.3). Of a fragment only the header can be verified, of IPv4 in IPv4 nothing is."""
    cdef const uint8_t* ip = found.bytes + found.offset
    cdef uint32_t length = (ip[0] & 0xF) * 4, total = load_be16(ip + 2), start = found.offset
    if ip[0] >> 4 != 4 or length < IPV4_LENGTH or start + length > found.have or ip[9] == IPV4_TUNNEL:
        return
    found.ipv4 = start
    found.ipv4_length = length
    if total <= length or start + total > found.end or load_be16(ip + 6) & IPV4_FRAGMENT:
        return
    found.offset = start + length
    found.end = start + total
    if ip[9] == IPV6_TUNNEL:
        find_ipv6(card, found)
    else:
        found.pseudo = sum_words(ip + 12, 8)
        find_segment(found, ip[9], True)


cdef void find_ipv6(Card* card, Headers* found) noexcept nogil:
    """IPv6 with the extension headers the card knows (§3.2.9.4). On its way through a source route it cannot be verified."""
    cdef const uint8_t* ip = found.bytes + found.offset
    cdef const uint8_t* extension
    cdef uint32_t protocol, length
    if not card.regs[RXCSUM >> 2] & RXCSUM_IPV6OFL or found.offset + IPV6_LENGTH > found.have or ip[0] >> 4 != 6:
        return
    length = load_be16(ip + 4)
    found.offset += IPV6_LENGTH
    if length == 0 or found.offset + length > found.end:
        return
    found.end = found.offset + length
    protocol = ip[6]
    while protocol == HOP_BY_HOP or protocol == ROUTING or protocol == DESTINATION_OPTIONS:
        if found.offset + 8 > found.have:
            return
        extension = found.bytes + found.offset
        length = 8 + 8 * extension[1]
        if length > LONGEST_EXTENSION or found.offset + length > found.end or protocol == ROUTING and extension[3]:
            return
        protocol = extension[0]
        found.offset += length
    found.pseudo = sum_words(ip + 8, 32)
    find_segment(found, protocol, False)


cdef void find_segment(Headers* found, uint32_t protocol, bint may_be_zero) noexcept nogil:
    """TCP, or UDP with a checksum (§3.2.9.5), from the offset to the end; completes the sum of the pseudo header."""
    cdef const uint8_t* segment = found.bytes + found.offset
    cdef uint32_t length = found.end - found.offset, most = length
    if found.offset > found.end or found.offset + UDP_LENGTH > found.have:
        return
    if protocol == UDP:
        length = load_be16(segment + 4)
        if length < UDP_LENGTH or length > most or may_be_zero and segment[6] == 0 and segment[7] == 0:
            return
    elif protocol != TCP or length < TCP_LENGTH:
        return
    found.pseudo += swap16(protocol) + swap16(length)
    found.segment = found.offset
    found.segment_length = length
