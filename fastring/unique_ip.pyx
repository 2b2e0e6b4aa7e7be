"""UniqueIpSource: other IP addresses in each pass over a capture, and the same checksums (tcpreplay's --unique-ip).

Of a packet's two addresses the lower one goes down by `shift` and the higher one up by as much, in the last 32 bits: both ways of a
conversation change alike, and the sum of the two stays the same, so every checksum over them does. Where one wraps around 2^32, and the
other does not, the sum has changed by 2^32, which is 1 in ones' complement of 16 bits: one more step makes up for it.

Captures are only read. So a packet becomes two pieces, a copy of its headers and the rest where it lies.
"""

from cython cimport final
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

from fastring.burst cimport FRAME_MORE, NO_IOVA, Burst, BurstSource, Frame

cdef enum:
    ETH_HLEN = 14
    VLAN_HLEN = 4
    ETH_P_IP = 0x0800
    ETH_P_IPV6 = 0x86DD
    ETH_P_8021Q = 0x8100
    ETH_P_8021AD = 0x88A8


cdef inline uint32_t load32(const uint8_t* bytes) noexcept nogil:
    return <uint32_t>bytes[0] << 24 | <uint32_t>bytes[1] << 16 | <uint32_t>bytes[2] << 8 | bytes[3]


cdef inline void store32(uint8_t* bytes, uint32_t value) noexcept nogil:
    bytes[0] = <uint8_t>(value >> 24)
    bytes[1] = <uint8_t>(value >> 16)
    bytes[2] = <uint8_t>(value >> 8)
    bytes[3] = <uint8_t>value


cdef void move_apart(uint8_t* source, uint8_t* destination, uint32_t shift) noexcept nogil:
    """Change two addresses, of which these are the last 32 bits, by `shift`, and no checksum over both."""
    cdef uint32_t a = load32(source), b = load32(destination)
    cdef bint source_down = b > a
    cdef uint32_t low = a if source_down else b, high = b if source_down else a
    cdef bint low_wraps = low < shift, high_wraps = high + shift < high
    low -= shift
    high += shift
    if low_wraps and not high_wraps:
        low -= 1                    # the sum grew by 2^32, that is by 1
    elif high_wraps and not low_wraps:
        high += 1                   # it lost 2^32
    store32(source, low if source_down else high)
    store32(destination, high if source_down else low)


@final
cdef class UniqueIpSource(BurstSource):
    """The packets of `source`, the addresses of IPv4 and IPv6 changed by `shift`, also behind one or two VLAN tags.

    Others are passed on as they are, and counted in `unchanged`. Packets are valid until the next fill.
    """

    def __init__(self, BurstSource source not None, *, uint32_t shift):
        self.source = source
        self.shift = shift

    def __dealloc__(self):
        free(self.heads)

    cdef uint32_t copy_head(self, uint8_t* head, const Frame* frame) noexcept nogil:
        """Copy the headers of an IP packet, changed; return their length, 0 for another packet."""
        cdef const uint8_t* data = frame.data
        cdef uint32_t network = ETH_HLEN, tags = 0, addresses, size
        cdef uint16_t protocol
        if frame.len < ETH_HLEN:
            return 0
        protocol = <uint16_t>(data[12] << 8 | data[13])
        while (protocol == ETH_P_8021Q or protocol == ETH_P_8021AD) and tags < 2 and frame.len >= network + VLAN_HLEN:
            protocol = <uint16_t>(data[network + 2] << 8 | data[network + 3])
            network += VLAN_HLEN
            tags += 1
        if protocol == ETH_P_IP:
            size, addresses = 4, network + 12
        elif protocol == ETH_P_IPV6:
            size, addresses = 16, network + 8
        else:
            return 0
        if frame.len < addresses + 2 * size or data[network] >> 4 != (4 if size == 4 else 6):
            return 0
        memcpy(head, data, addresses + 2 * size)
        move_apart(head + addresses + size - 4, head + addresses + 2 * size - 4, self.shift)
        return addresses + 2 * size

    cdef int fill(self, Burst burst, uint32_t most) noexcept nogil:
        cdef uint32_t i, count = 0, length
        cdef bint begins = True
        cdef Frame* frame
        cdef int got
        if most > burst.capacity:
            most = burst.capacity
        if most < 2:
            self.cramped = True
            return -1
        if self.heads_room < most or self.whole is None:
            with gil:
                if not self._make_room(most):
                    return -1
        got = self.source.fill(self.whole, most // 2)
        if got <= 0:
            burst.count = 0
            return got
        if <void*>burst.keepalive != <void*>self:
            with gil:
                burst.keepalive = self
        for i in range(<uint32_t>got):
            frame = &self.whole.frames[i]
            length = self.copy_head(self.heads + <uint64_t>i * HEAD, frame) if begins else 0
            if begins:
                self.changed += length != 0
                self.unchanged += length == 0
            begins = not frame.flags & FRAME_MORE
            burst.frames[count] = frame[0]
            if length:
                burst.frames[count].data = self.heads + <uint64_t>i * HEAD
                burst.frames[count].iova = NO_IOVA
                burst.frames[count].len = length
                if length < frame.len:
                    burst.frames[count].flags |= FRAME_MORE
                    count += 1
                    burst.frames[count] = frame[0]
                    burst.frames[count].data += length
                    burst.frames[count].len -= length
                    burst.frames[count].wire_len = 0
                    if frame.iova != NO_IOVA:
                        burst.frames[count].iova += length
            count += 1
        burst.count = count
        return <int>count

    cdef bint _make_room(self, uint32_t frames) noexcept:
        free(self.heads)
        self.heads = <uint8_t*>malloc(<uint64_t>frames * HEAD)
        self.heads_room = frames if self.heads != NULL else 0
        try:
            self.whole = Burst(frames)
        except MemoryError:
            self.heads_room = 0
        return self.heads_room > 0

    @property
    def error(self):
        """Why `fill` failed, an exception to raise, or None."""
        if self.cramped:
            return ValueError("packets in two pieces need bursts of at least two frames")
        if self.whole is not None and self.heads_room == 0:
            return MemoryError("no room for the headers of a burst")
        return self.source.error

    def __repr__(self):
        return f"<UniqueIpSource: addresses {self.shift} apart, {self.changed} packets changed, {self.unchanged} without>"
