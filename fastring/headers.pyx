"""Where the headers of an Ethernet frame lie: VLAN tags, IPv4 or IPv6, and what is above (the kernel's skb_flow_dissect, in small).

Nothing is believed that does not fit the bytes there are. Of a fragment, or behind a header that is not known, nothing above IP is found:
its checksum cannot be worked out from this frame alone.
"""

from typing import NamedTuple

from libc.string cimport memset


class FrameHeaders(NamedTuple):
    """Offsets from a frame's first byte, None where there is no such header. `vlans`: of each tag's TCI. `protocol`: what is at `l4`."""

    vlans: tuple
    ethertype: int
    version: object
    l3: object
    l4: object
    protocol: object
    payload: int
    end: object


cdef void find_transport(const uint8_t* data, uint32_t protocol, uint32_t at, Headers* found) noexcept nogil:
    """What is above IP, from `at` to `found.end`."""
    cdef uint32_t size = 8
    if protocol == IPPROTO_TCP:
        size = (data[at + 12] >> 4) * 4 if found.end - at >= 20 else 0
        if size < 20:
            return
    elif protocol != IPPROTO_UDP and protocol != IPPROTO_ICMP and protocol != IPPROTO_ICMPV6:
        return
    if found.end - at < size:
        return
    found.l4 = at
    found.protocol = protocol
    found.payload = at + size


cdef void find_ipv4(const uint8_t* data, uint32_t length, uint32_t at, Headers* found) noexcept nogil:
    cdef uint32_t size, total
    if length - at < 20 or data[at] >> 4 != 4:
        return
    size = (data[at] & 15) * 4
    total = be16(data + at + 2)
    if size < 20 or size > length - at:
        return
    found.l3 = at
    found.version = 4
    found.end = at + total if size <= total <= length - at else length
    found.payload = at + size
    if not be16(data + at + 6) & 0x3FFF:            # MF and the offset: a fragment has no whole packet above it
        find_transport(data, data[at + 9], at + size, found)


cdef void find_ipv6(const uint8_t* data, uint32_t length, uint32_t at, Headers* found) noexcept nogil:
    cdef uint32_t total, next_header, here = at + 40, size
    if length - at < 40 or data[at] >> 4 != 6:
        return
    total = be16(data + at + 4)
    next_header = data[at + 6]
    found.l3 = at
    found.version = 6
    found.end = here + total if total <= length - here else length
    for _ in range(8):
        if next_header != 0 and next_header != 60:  # hop-by-hop and destination options
            break
        if found.end - here < 8:
            break
        size = (data[here + 1] + 1) * 8
        if size > found.end - here:
            break
        next_header = data[here]
        here += size
    found.payload = here
    find_transport(data, next_header, here, found)


cdef void find_headers(const uint8_t* data, uint32_t length, Headers* found) noexcept nogil:
    """Find them in the frame's first `length` bytes."""
    cdef uint32_t at = ETH_HLEN
    memset(found, 0, sizeof(Headers))
    if length < ETH_HLEN:
        found.payload = length
        return
    found.ethertype = be16(data + 12)
    while (found.ethertype == 0x8100 or found.ethertype == 0x88A8) and length - at >= 4:
        if found.vlans < MAX_VLANS:
            found.vlan[found.vlans] = at
            found.vlans += 1
        found.ethertype = be16(data + at + 2)
        at += 4
    found.payload = at
    if found.ethertype == 0x0800:
        find_ipv4(data, length, at, found)
    elif found.ethertype == 0x86DD:
        find_ipv6(data, length, at, found)


def frame_headers(const uint8_t[::1] frame not None):
    """Where the headers of `frame` lie, from Python: a FrameHeaders."""
    cdef Headers found
    cdef uint32_t length = <uint32_t>min(frame.shape[0], 0xFFFFFFFF)
    find_headers(&frame[0] if length else NULL, length, &found)
    return FrameHeaders(tuple(found.vlan[i] for i in range(found.vlans)), found.ethertype, found.version or None, found.l3 or None,
                        found.l4 or None, found.protocol or None, found.payload, found.end or None)
