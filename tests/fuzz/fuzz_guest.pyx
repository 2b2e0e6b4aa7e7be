"""Guest memory with gaps, a read-only and an odd-sized zone, and the packets and values that scripts ask for."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport malloc
from libc.string cimport memcmp, memcpy, memset

from fuzz_script cimport Script, u16, u32, u64, u8

cdef uint8_t UNTOUCHED[4096]


cdef object map_zones(object addresses):
    """Allocate and map all zones; once."""
    for i, (address, size, writable) in enumerate((
            (0x10000, 4096, True),
            (0x20000, 4096, True),
            (0x100000, 0x24000, True),                      # holds the longest packet, in pieces
            (0x200000, 4096, False),
            (0x300000, 100, True),
            (0x11000, 4096, True),                          # behind the first zone, but no part of it
            (0xFFFFFFFFFFFFF000, 4095, True))):
        zones[i] = Zone(address, size, <uint8_t*>malloc(size), writable)
        if zones[i].host == NULL:
            raise MemoryError()
        addresses.map_pointer(<uint64_t>zones[i].host, size, None, writable, address)
    for i in range(4096):
        UNTOUCHED[i] = (i * 7 ^ i >> 8) & 0xFF


cdef void clear_zones() noexcept nogil:
    cdef int i
    for i in range(ZONES):
        memset(zones[i].host, 0, zones[i].size)
    memcpy(zones[READ_ONLY].host, UNTOUCHED, 4096)


cdef bint read_only_intact() noexcept nogil:
    return memcmp(zones[READ_ONLY].host, UNTOUCHED, 4096) == 0


cdef uint8_t* guest(uint64_t address, uint32_t length) noexcept nogil:
    """Where the guest's own processor finds `length` bytes, or NULL."""
    cdef int i
    cdef uint64_t offset
    for i in range(ZONES):
        offset = address - zones[i].address
        if offset < zones[i].size and length <= zones[i].size - offset and i != READ_ONLY:
            return zones[i].host + offset
    return NULL


cdef void guest_write(uint64_t address, const void* content, uint32_t length) noexcept nogil:
    cdef uint8_t* target = guest(address, length)
    if target != NULL:
        memcpy(target, content, length)


cdef uint64_t take_address(Script* script) noexcept nogil:
    """In a zone, near its end, or anywhere."""
    cdef uint32_t how = u8(script), zone = how & 7
    if zone == 7:
        return u64(script) if how & 0x80 else BUFFERS_ADDRESS + 16 * u16(script)
    if how >> 6 == 3:
        return zones[zone].address + zones[zone].size - u8(script)
    if how >> 6 == 2:
        return zones[zone].address + u16(script) % zones[zone].size
    return zones[zone].address + (<uint32_t>u8(script) << 6) % zones[zone].size


cdef uint64_t BUFFERS_ADDRESS = 0x100000

cdef uint32_t VALUES[32]
VALUES[:] = [0, 1, 2, 4, 7, 8, 15, 16, 60, 64, 127, 128, 255, 256, 1024, 1500, 2048, 4096, 0x8000, 0xFFFF, 0x10000, 0x20000, 0x100000,
             0x200000, 0x300000, 0x11000, 0x80000000, 0xFFFFFFFF, 0xFFFFFFF0, 0x7FFFFFFF, 0x00FF00FF, 0x8100]


cdef uint32_t take_value(Script* script) noexcept nogil:
    """Telling values are cheap; all others possible."""
    cdef uint32_t how = u8(script)
    if how < 0x60:
        return VALUES[how & 31]
    if how < 0x90:
        return u8(script)
    if how < 0xC0:
        return u16(script)
    return u32(script)


# --- packets ---

cdef uint8_t STATIONS[8][6]
for _i, _address in enumerate(("525400123456", "FFFFFFFFFFFF", "01005E000001", "333300000001", "0180C2000001", "525400000002",
                               "020000000001", "0180C2000000")):
    for _j in range(6):
        STATIONS[_i][_j] = bytes.fromhex(_address)[_j]


cdef inline void put16(uint8_t* at, uint32_t value) noexcept nogil:
    at[0] = <uint8_t>(value >> 8)
    at[1] = <uint8_t>value


cdef uint32_t ones_sum(const uint8_t* data, uint32_t length, uint32_t start) noexcept nogil:
    cdef uint32_t i
    for i in range(0, length & ~1u, 2):
        start += <uint32_t>data[i] << 8 | data[i + 1]
    if length & 1:
        start += <uint32_t>data[length - 1] << 8
    while start >> 16:
        start = (start & 0xFFFF) + (start >> 16)
    return start


cdef uint32_t take_packet(Script* script, uint8_t* packet) noexcept nogil:
    """Make a packet of at most LONGEST bytes; returns how long it is.

    Layers from one byte: station, tag, IPv4 or IPv6, TCP or UDP, right checksums or wrong ones; then its length, and noise.
    """
    cdef uint32_t layers = u8(script), more = u8(script), length = u16(script) % LONGEST, seed = u8(script), at = 12, i, left
    memcpy(packet, STATIONS[layers & 7], 6)
    memcpy(packet + 6, STATIONS[6], 6)
    for i in range(12, LONGEST):
        packet[i] = <uint8_t>(i * seed)
    if layers & 8:
        put16(packet + at, 0x8100)
        put16(packet + at + 2, u16(script))
        at += 4
    i = layers >> 4 & 7
    if i == 0:
        put16(packet + at, 0x0806)
    elif i == 1:                                            # flow control
        put16(packet + at, 0x8808)
        put16(packet + at + 2, u8(script) & 3)
        put16(packet + at + 4, u16(script))
    elif i == 2:                                            # a magic packet
        for left in range(at + 2, at + 8):
            packet[left] = 0xFF
        for left in range(16):
            memcpy(packet + at + 8 + 6 * left, STATIONS[0], 6)
    elif i == 3:                                            # anything
        put16(packet + at, u16(script))
        for left in range(u8(script)):
            packet[at + 2 + left] = <uint8_t>u8(script)
    else:
        ip_packet(packet + at, length - at if length > at else 0, i & 1, more)
    return length if length else 1


cdef void ip_packet(uint8_t* at, uint32_t room, bint six, uint32_t how) noexcept nogil:
    """An IP packet with its ethertype in front. `how`: bit 0 UDP, 1 options, 2 fragment, 3 other protocol, 4 wrong IP checksum,
    5 wrong transport checksum, 6 length beyond the frame, 7 no UDP checksum.
    """
    cdef uint32_t header = 40 if six else 20, options = 8 if how & 2 else 0, length, protocol = 17 if how & 1 else 6, start, total
    cdef uint8_t* ip = at + 2
    cdef uint8_t* transport
    if how & 8:
        protocol = how & 0x7F
    put16(at, 0x86DD if six else 0x0800)
    length = room - 2 if room > 2 + header + options else header + options
    transport = ip + header + options
    total = length - header - options                       # transport header and payload
    if six:
        memset(ip, 0, 8)
        ip[0] = 0x60
        put16(ip + 4, length - header + (100 if how & 0x40 else 0))
        ip[6] = 0 if options else <uint8_t>protocol
        ip[7] = 64
        if options:
            memset(ip + 40, 0, 8)
            ip[40] = <uint8_t>(44 if how & 4 else protocol)
    else:
        memset(ip, 0, 12)
        ip[0] = 0x45 + options // 4
        put16(ip + 2, length + (100 if how & 0x40 else 0))
        put16(ip + 6, 0x2001 if how & 4 else 0x4000)
        ip[8], ip[9] = 64, <uint8_t>protocol
        put16(ip + 10, ~ones_sum(ip, header + options, how >> 4 & 1) & 0xFFFF)
    start = ones_sum(ip + (8 if six else 12), 32 if six else 8, protocol + total + (how >> 5 & 1))
    if protocol == 6:
        transport[12] = 0x50
        put16(transport + 16, 0)
        put16(transport + 16, ~ones_sum(transport, total, start) & 0xFFFF)
    elif protocol == 17:
        put16(transport + 4, total)
        put16(transport + 6, 0)
        if not how & 0x80:
            put16(transport + 6, ~ones_sum(transport, total, start) & 0xFFFF)


cdef uint32_t headers_length(const uint8_t* packet) noexcept nogil:
    """Up to where a segmenting card copies: the headers of what take_packet made with IP and TCP or UDP."""
    cdef uint32_t at = 14
    if packet[12] == 0x81:
        at += 4
    if packet[at - 2] == 0x86:
        return at + 40 + (20 if packet[at + 6] == 6 else 8)
    return at + 4 * (packet[at] & 15) + (20 if packet[at + 9] == 6 else 8)
