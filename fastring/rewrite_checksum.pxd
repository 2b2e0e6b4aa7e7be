"""What edits do to checksums: told of each change (RFC 1624) or, where lengths changed or it is asked for, made anew."""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from fastring.checksum cimport fold, sum_words, swap16
from fastring.rewrite_packet cimport (
    IPPROTO_ICMP, IPPROTO_ICMPV6, IPPROTO_TCP, IPPROTO_UDP, Packet, be32, checksum_field, has, load16, set16,
)


cdef inline uint16_t changed_checksum(uint16_t old, uint64_t delta) noexcept nogil:
    """RFC 1624, equation 3: HC' = ~(~HC + ~m + m')."""
    return <uint16_t>~fold((~old & 0xFFFF) + <uint64_t>fold(delta))


cdef inline uint64_t pseudo_sum(const Packet* p) noexcept nogil:
    """The sum of the pseudo-header, of IPv4 (RFC 9293) and of IPv6 (RFC 8200)."""
    cdef uint64_t total
    if p.version == 4:
        total = sum_words(p.data + p.l3 + 12, 8)
    else:
        total = sum_words(p.data + p.l3 + 8, 32)
    return total + be32(p.l4_length) + swap16(p.protocol)


cdef inline bint same_sum(uint64_t one, uint64_t other) noexcept nogil:
    """Whether two sums are the same number: 0 and 0xFFFF are."""
    return fold(one) % 0xFFFF == fold(other) % 0xFFFF


cdef inline bint partial(const Packet* p, uint32_t field) noexcept nogil:
    """Whether the checksum was the pseudo-header's sum, for a card to complete (CHECKSUM_PARTIAL), as a host's own packets have it.

    Of a right one that happens to be that number, the packet's bytes tell, if all are there.
    """
    cdef uint64_t before = pseudo_sum(p) + (0xFFFF - fold(p.pseudo_delta))
    if p.routed or p.fragment or not same_sum(before, load16(p.data + field)):
        return False
    if not has(p, p.l4, p.l4_length):
        return True
    return not same_sum(before + sum_words(p.data + p.l4, p.l4_length) + (0xFFFF - fold(p.port_delta)), 0)


cdef inline void adjust_transport(Packet* p) noexcept nogil:
    """Tell the transport checksum what changed."""
    cdef uint32_t field = checksum_field(p)
    cdef uint16_t old, new
    if field == 0 or p.pseudo_delta + p.port_delta == 0:
        return
    old = load16(p.data + field)
    if p.protocol == IPPROTO_UDP and old == 0:          # there is none
        return
    if partial(p, field):
        new = <uint16_t>fold(<uint64_t>old + fold(p.pseudo_delta))
    else:
        new = changed_checksum(old, p.pseudo_delta + p.port_delta)
        if new == 0 and p.protocol == IPPROTO_UDP:
            new = 0xFFFF
    set16(p, field, new)


cdef inline void renew_transport(Packet* p) noexcept nogil:
    """Make the transport checksum anew, or tell it what changed if that cannot be; a UDP datagram without one is left so."""
    cdef uint32_t field = 0
    cdef uint64_t total = 0
    cdef uint16_t new
    if p.protocol == IPPROTO_ICMP and p.version == 4 and p.l4 and p.l4_length >= 4 and has(p, p.l4, 4):
        field = p.l4 + 2
    elif p.protocol in (IPPROTO_TCP, IPPROTO_UDP, IPPROTO_ICMPV6):
        field = checksum_field(p)
        total = pseudo_sum(p)
    elif p.protocol != IPPROTO_ICMP:
        return
    if p.fragment or p.routed or field == 0 or not has(p, p.l4, p.l4_length):
        p.uncheckable = True
        adjust_transport(p)
        return
    if p.protocol == IPPROTO_UDP and load16(p.data + field) == 0:
        return
    total += sum_words(p.data + p.l4, field - p.l4) + sum_words(p.data + field + 2, p.l4 + p.l4_length - field - 2)
    new = <uint16_t>~fold(total)
    set16(p, field, 0xFFFF if new == 0 and p.protocol == IPPROTO_UDP else new)


cdef inline void settle_checksums(Packet* p, bint fixcsum) noexcept nogil:
    """The last edit of a packet."""
    cdef uint32_t header
    cdef uint16_t old
    if p.version == 4:
        old = load16(p.data + p.l3 + 10)
        if fixcsum:
            header = (p.data[p.l3] & 0xF) * 4
            set16(p, p.l3 + 10, <uint16_t>~fold(sum_words(p.data + p.l3, header) + (0xFFFF - <uint64_t>old)))
        elif p.ip_delta:
            set16(p, p.l3 + 10, changed_checksum(old, p.ip_delta))
    if fixcsum or p.resized:
        renew_transport(p)
    else:
        adjust_transport(p)
