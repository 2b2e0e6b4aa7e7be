"""PacketStream: packets made of a template, with fields that vary and checksums that are right."""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

from fastring.checksum cimport fold, sum_words
from fastring.faults cimport splitmix64
from fastring.headers cimport Headers

cdef extern from *:
    """
    #include <stdint.h>
    /* x as a fraction of 2^64, of `range` (0: 2^64): Lemire's multiplication, without its rejection. */
    static inline uint64_t fastring_scale(uint64_t x, uint64_t range)
    {
        return range ? (uint64_t)((unsigned __int128)x * range >> 64) : x;
    }
    static inline uint64_t fastring_be64(uint64_t x) { return __builtin_bswap64(x); }
    static inline uint32_t fastring_be32(uint32_t x) { return __builtin_bswap32(x); }
    static inline uint16_t fastring_be16(uint16_t x) { return __builtin_bswap16(x); }
    """
    uint64_t scale "fastring_scale"(uint64_t x, uint64_t range) noexcept nogil
    uint64_t swap64 "fastring_be64"(uint64_t x) noexcept nogil
    uint32_t swap32 "fastring_be32"(uint32_t x) noexcept nogil
    uint16_t swap16_of "fastring_be16"(uint16_t x) noexcept nogil

cdef enum:                          # how a field gets its next value
    STEP
    CYCLE
    RANDOM

# At the start of the payload: magic (2 bytes), stream (2), sequence number (8), and the low 48 bits of the nanoseconds since 1970 when
# it was sent. 18 bytes: what the shortest Ethernet frame of UDP over IPv4 has room for. All in network order.
cdef enum:
    SIGNATURE = 18
    SIGNATURE_MAGIC = 0xFA57
    SEQUENCE_AT = 4
    STAMP_AT = 12

cdef enum:
    TO_THE_END = 0x7FFFFFFF         # length of a Span of random payload

ctypedef struct Field:
    uint64_t current                # what it is in this packet, from 0 on
    uint64_t position               # STEP: the next value; CYCLE: its index; RANDOM: the generator's state
    uint64_t range                  # values it can have; 0: 2^64
    uint64_t low, step
    const uint64_t* values          # CYCLE
    uint64_t mask                   # its bits among the eight bytes at `offset`, for a field that is no whole 1, 2, 4 or 8 bytes
    uint32_t offset, shift
    uint32_t width                  # bytes written as they are, or 0: by mask
    uint32_t kind
    uint32_t every, left            # packets that have the same value

ctypedef struct Span:               # bytes that vary, an even offset and, but at the packet's end, length
    uint32_t offset, length

ctypedef struct Size:
    uint32_t length                 # of the frame, without its CRC
    uint32_t ip_sum, l4_sum         # what does not vary of them, 16 bits
    uint16_t ip_length, l4_length   # for the headers, in network order

ctypedef struct StreamState:
    const uint8_t* image            # the longest packet, its varying bytes as in the template
    Field* fields
    Size* sizes
    const uint16_t* order           # of sizes, over and over; NULL: drawn
    Span* ip_spans
    Span* l4_spans
    uint32_t n_fields, n_sizes, n_order, n_ip_spans, n_l4_spans
    uint32_t next_size
    uint32_t longest
    uint32_t ip_check, l4_check     # offset of the checksum, 0: there is none
    uint32_t ip_length_at, udp_length_at        # 0: not there, or the same in all packets
    uint32_t random_from            # of this offset the payload is drawn; 0: it is not
    uint32_t signature              # offset; 0: none
    bint udp
    uint64_t size_random, payload_random        # generators' states
    uint64_t sequence               # of the next packet
    uint64_t left                   # packets still to come


cdef inline void next_value(Field* field) noexcept nogil:
    """The field's value in the packets from now on."""
    cdef uint64_t value = field.position
    if field.kind == STEP:
        field.current = field.low + value
        field.position = value + field.step
        if field.range and (field.position >= field.range or field.position < value):
            field.position -= field.range
    elif field.kind == CYCLE:
        field.current = field.values[value]
        field.position = value + 1 if value + 1 < field.range else 0
    else:
        field.current = field.low + scale(splitmix64(&field.position), field.range)
    field.left = field.every


cdef inline void write_field(Field* field, uint8_t* packet) noexcept nogil:
    cdef uint64_t whole
    cdef uint32_t half
    cdef uint16_t word
    field.left -= 1
    if field.left == 0:
        next_value(field)
    packet += field.offset
    if field.width == 4:
        half = swap32(<uint32_t>field.current)
        memcpy(packet, &half, 4)
    elif field.width == 2:
        word = swap16_of(<uint16_t>field.current)
        memcpy(packet, &word, 2)
    elif field.width == 1:
        packet[0] = <uint8_t>field.current
    elif field.width == 8:
        whole = swap64(field.current)
        memcpy(packet, &whole, 8)
    else:
        memcpy(&whole, packet, 8)
        whole = swap64(swap64(whole) & ~field.mask | field.current << field.shift & field.mask)
        memcpy(packet, &whole, 8)


cdef inline uint64_t sum_spans(const Span* spans, uint32_t n, const uint8_t* packet, uint32_t length) noexcept nogil:
    cdef uint64_t total = 0
    cdef uint32_t i, here
    for i in range(n):
        if spans[i].offset < length:
            here = length - spans[i].offset
            total += sum_words(packet + spans[i].offset, spans[i].length if spans[i].length < here else here)
    return total


cdef inline void draw_payload(StreamState* stream, uint8_t* packet, uint32_t length) noexcept nogil:
    """Fill from `random_from` on. As many numbers for every length, so that one packet's does not change the next one's payload."""
    cdef uint64_t state = splitmix64(&stream.payload_random), word
    cdef uint32_t at = stream.random_from
    while at < length:
        word = splitmix64(&state)
        memcpy(packet + at, &word, 8 if length - at > 8 else length - at)
        at += 8


cdef inline uint32_t write_packet(StreamState* stream, uint8_t* packet, uint64_t* l4_sum) noexcept nogil:
    """Make the next packet, all of it but its stamp and what depends on that. Returns its length; `l4_sum`: for `finish_packet`."""
    cdef const Size* size
    cdef uint64_t word, total
    cdef uint32_t i, length
    cdef uint16_t sum
    if stream.order == NULL:
        size = &stream.sizes[scale(splitmix64(&stream.size_random), stream.n_sizes)]
    else:
        size = &stream.sizes[stream.order[stream.next_size]]
        stream.next_size = stream.next_size + 1 if stream.next_size + 1 < stream.n_order else 0
    length = size.length
    memcpy(packet, stream.image, length)
    if stream.random_from:
        draw_payload(stream, packet, length)
    for i in range(stream.n_fields):
        write_field(&stream.fields[i], packet)
    if stream.ip_length_at:
        memcpy(packet + stream.ip_length_at, &size.ip_length, 2)
    if stream.udp_length_at:
        memcpy(packet + stream.udp_length_at, &size.l4_length, 2)
    if stream.signature:
        word = swap64(stream.sequence)
        memcpy(packet + stream.signature + SEQUENCE_AT, &word, 8)
    stream.sequence += 1
    if stream.ip_check:
        total = size.ip_sum + sum_spans(stream.ip_spans, stream.n_ip_spans, packet, length)
        sum = <uint16_t>~fold(total)
        memcpy(packet + stream.ip_check, &sum, 2)
    if stream.l4_check:
        l4_sum[0] = size.l4_sum + sum_spans(stream.l4_spans, stream.n_l4_spans, packet, length)
    return length


cdef inline void finish_packet(const StreamState* stream, uint8_t* packet, uint64_t l4_sum, uint64_t stamp,
                               uint32_t stamp_sum) noexcept nogil:
    """Stamp a packet and close its checksum. `stamp`: in network order, its low six bytes in memory; `stamp_sum`: of their words."""
    cdef uint16_t sum
    if stream.signature:
        memcpy(packet + stream.signature + STAMP_AT, &stamp, 6)
        l4_sum += stamp_sum
    if stream.l4_check:
        sum = <uint16_t>~fold(l4_sum)
        if sum == 0 and stream.udp:
            sum = 0xFFFF                            # zero means none (RFC 768)
        memcpy(packet + stream.l4_check, &sum, 2)


cdef class PacketStream:
    cdef StreamState state
    cdef readonly uint32_t number
    cdef readonly bytes template
    cdef bytearray image
    cdef list kept                  # the values of fields that cycle
    cdef list places                # each field's first bit, and how many
    cdef void* allocated[5]
    cdef int _place_field(self, Field* field, uint32_t bit, uint32_t bits) except -1
    cdef dict _worked_out(self, const Headers* found)
    cdef set _varying(self, dict worked_out)
    cdef int _sum_ip(self, const Headers* found, set vary, bytearray still, uint32_t trailer) except -1
    cdef int _sum_transport(self, const Headers* found, set vary, bytearray still, uint32_t trailer) except -1
    cdef Span* _spans(self, int which, list runs) except NULL
