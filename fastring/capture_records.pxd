"""Decoding of pcap and pcapng records, one at a time, straight out of an mmap: the hot path under scan, index and cursor.

A RecordReader walks one mapped file. Every byte it looks at lies below `window_end`; records that reach past it go through
`more`, which moves the window on, notices a file that shrank, and tells a clean end from a file that breaks off.
"""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

cdef extern from *:
    """
    #include <stdint.h>

    /* Each field is read exactly once: the file may change under the mapping after a check. */
    static inline uint16_t fr_load16(const uint8_t* p, int swapped) {
        uint16_t v;
        __builtin_memcpy(&v, p, sizeof v);
        __asm__("" : "+r"(v));
        return swapped ? __builtin_bswap16(v) : v;
    }
    static inline uint32_t fr_load32(const uint8_t* p, int swapped) {
        uint32_t v;
        __builtin_memcpy(&v, p, sizeof v);
        __asm__("" : "+r"(v));
        return swapped ? __builtin_bswap32(v) : v;
    }
    static inline uint64_t fr_load64(const uint8_t* p, int swapped) {
        uint64_t v;
        __builtin_memcpy(&v, p, sizeof v);
        __asm__("" : "+r"(v));
        return swapped ? __builtin_bswap64(v) : v;
    }

    /* units / divisor * multiplier / 2^shift nanoseconds, plus whole seconds; false if an int64 cannot hold it. */
    static inline int fr_nanoseconds(uint64_t units, uint64_t multiplier, uint64_t divisor, unsigned shift, int64_t seconds,
                                     int64_t* out) {
        __int128 ns;
        if (divisor != 1)
            units /= divisor;
        ns = (__int128)((unsigned __int128)units * multiplier >> shift) + (__int128)seconds * 1000000000;
        *out = (int64_t)ns;
        return *out == ns;
    }
    """
    void prefetch "__builtin_prefetch"(const void* p) nogil
    uint16_t load16 "fr_load16"(const uint8_t* p, bint swapped) nogil
    uint32_t load32 "fr_load32"(const uint8_t* p, bint swapped) nogil
    uint64_t load64 "fr_load64"(const uint8_t* p, bint swapped) nogil
    bint nanoseconds "fr_nanoseconds"(uint64_t units, uint64_t multiplier, uint64_t divisor, unsigned shift, int64_t seconds,
                                      int64_t* out) nogil

cdef enum:
    READ_AHEAD = 1024               # bytes: measured, more is no faster
    CACHE_LINE = 64
    MAXIMUM_SNAPLEN = 262144        # libpcap's: no frame is longer, a bigger captured length is damage
    MAXIMUM_BLOCK = 16 << 20        # libpcap's limit for one pcapng block
    MAXIMUM_INTERFACES = 65536      # of one section: bounds the memory a hostile file can ask for
    MAXIMUM_ZEROES = 64 << 10       # bytes of a pcap's records that are all zero in a row: more was never written
    PCAP_RECORD_HEADER = 16
    PACKET_DATA = 28                # where the bytes of an Enhanced or obsolete Packet Block start
    PACKET_OVERHEAD = 32            # those 28 and the total length repeated
    SIMPLE_DATA = 12                # the same of a Simple Packet Block
    SIMPLE_OVERHEAD = 16

cdef enum:                          # pcapng block types
    BLOCK_INTERFACE = 1
    BLOCK_PACKET = 2                # obsolete
    BLOCK_SIMPLE = 3
    BLOCK_ENHANCED = 6
    BLOCK_SECTION = 0x0A0D0D0A

cdef enum LengthOrder:              # of the two lengths in a pcap record
    CAPTURED_FIRST
    ORIGINAL_FIRST                  # before version 2.3, and DG/UX
    EITHER_FIRST                    # version 2.3: the smaller is the captured one

cdef enum Problem:
    NO_PROBLEM
    BROKEN_OFF                      # the file ends inside a record
    DAMAGED
    NO_MEMORY

cdef enum Outcome:                  # of one step of the reader
    FAILED = -1                     # `problem` says how
    AT_END = 0
    GOT_FRAME = 1
    GOT_EMPTY = 2                   # a record without a byte: nothing a wire could carry

# One pcapng interface: how to read its packets.
ctypedef struct Interface:
    uint64_t multiplier             # nanoseconds = units / divisor * multiplier >> shift, + seconds * 10^9
    uint64_t divisor
    int64_t seconds
    uint32_t shift
    uint32_t snaplen                # 1 to MAXIMUM_SNAPLEN
    uint16_t linktype
    bint refused                    # of a link type the caller does not take

ctypedef struct RecordReader:
    const uint8_t* base             # the mapped file
    uint64_t size
    uint64_t offset                 # of the next record
    uint64_t window_end             # offset <= window_end <= size: so far the file was seen to reach
    uint64_t dropped                # pages below are unmapped from this process again (the page cache keeps them)
    uint64_t prefetched             # bytes below were asked for ahead of use
    uint64_t first_record
    int fd
    const uint32_t* shrunk          # not 0: zeroes stand for bytes that the file lost
    bint swapped                    # pcapng: of the current section
    bint pcapng
    # pcap
    LengthOrder order
    uint32_t unit                   # nanoseconds in one unit of the fraction
    uint32_t snaplen
    uint64_t zeroes_end             # of the last run of records that are all zero
    # pcapng
    Interface* interfaces
    uint32_t interface_count
    uint32_t interface_capacity
    const uint8_t* linktypes        # bitmap of 65536: those the caller takes
    # what went wrong, once something did
    Problem problem
    uint64_t problem_offset
    const char* reason              # str.format() template of the three numbers
    uint64_t detail[3]

ctypedef struct Record:
    const uint8_t* data
    int64_t time                    # ns since 1970; 0 where the file has none (Simple Packet Block)
    uint32_t caplen
    uint32_t wirelen                # >= caplen
    uint32_t interface
    bint timed


cdef int fail(RecordReader* r, Problem problem, uint64_t offset, const char* reason, uint64_t a=*, uint64_t b=*,
              uint64_t c=*) noexcept nogil
cdef int more(RecordReader* r, uint64_t need) noexcept nogil
cdef int empty_record(RecordReader* r, uint64_t offset) noexcept nogil
cdef int begin_section(RecordReader* r) noexcept nogil
cdef int other_block(RecordReader* r, uint32_t block, uint32_t total) noexcept nogil
cdef bint still_whole(RecordReader* r) noexcept nogil
cdef bint unharmed(RecordReader* r) noexcept nogil
cdef void rewind_reader(RecordReader* r) noexcept nogil


cdef inline int next_record(RecordReader* r, Record* out) noexcept nogil:
    """Step over one record and describe it in `out`. Returns an Outcome."""
    if r.pcapng:
        return next_block(r, out)
    return next_pcap(r, out)


cdef inline void step(RecordReader* r, uint32_t length) noexcept nogil:
    """Go to the next record, and fetch every line that comes soon.

    Where a record ends is known only once its header is there, so a cold file would cost one memory latency a record: twice the time.
    """
    r.offset += length
    while r.prefetched < r.offset + READ_AHEAD:
        prefetch(r.base + r.prefetched)
        r.prefetched += CACHE_LINE


cdef inline int next_pcap(RecordReader* r, Record* out) noexcept nogil:
    cdef const uint8_t* p = r.base + r.offset
    cdef uint32_t fraction, caplen, wirelen
    if r.window_end - r.offset < PCAP_RECORD_HEADER and not more(r, PCAP_RECORD_HEADER):
        return AT_END if r.problem == NO_PROBLEM else FAILED
    fraction = load32(p + 4, r.swapped)
    caplen = load32(p + 8, r.swapped)
    wirelen = load32(p + 12, r.swapped)
    if r.order == ORIGINAL_FIRST or (r.order == EITHER_FIRST and caplen > wirelen):
        caplen, wirelen = wirelen, caplen
    if caplen > MAXIMUM_SNAPLEN:
        return fail(r, DAMAGED, r.offset, b"captured length {0}, and no record holds more than {1} bytes", caplen, MAXIMUM_SNAPLEN)
    if fraction >> 31:
        return fail(r, DAMAGED, r.offset, b"negative fraction of a second ({0:#x}), and a time stamp has one from 0 up", fraction)
    if r.window_end - r.offset - PCAP_RECORD_HEADER < caplen and not more(r, PCAP_RECORD_HEADER + caplen):
        return FAILED
    step(r, PCAP_RECORD_HEADER + caplen)
    out.time = <int64_t>load32(p, r.swapped) * 1000000000 + <int64_t>fraction * r.unit
    out.timed = True
    out.data = p + PCAP_RECORD_HEADER
    out.caplen = caplen if caplen <= r.snaplen else r.snaplen       # as libpcap: some writers exceed their own snaplen
    out.wirelen = wirelen if wirelen > caplen else caplen
    out.interface = 0
    return GOT_FRAME if caplen else empty_record(r, p - r.base)


cdef inline int next_block(RecordReader* r, Record* out) noexcept nogil:
    cdef const uint8_t* p
    cdef uint32_t block, total, orig
    while True:
        total = whole_block(r)
        if total == 0:
            return AT_END if r.problem == NO_PROBLEM else FAILED
        p = r.base + r.offset
        block = load32(p, r.swapped)
        if block == BLOCK_ENHANCED and total >= PACKET_OVERHEAD:
            return packet(r, out, total, PACKET_DATA, load32(p + 8, r.swapped), load32(p + 20, r.swapped), load32(p + 24, r.swapped))
        if block == BLOCK_PACKET and total >= PACKET_OVERHEAD:
            return packet(r, out, total, PACKET_DATA, load16(p + 8, r.swapped), load32(p + 20, r.swapped), load32(p + 24, r.swapped))
        if block == BLOCK_SIMPLE and total >= SIMPLE_OVERHEAD:
            # It has no captured length: that is the original one, cut to interface 0's snaplen.
            orig = load32(p + 8, r.swapped)
            return packet(r, out, total, SIMPLE_DATA, 0,
                          orig if r.interface_count == 0 or orig < r.interfaces[0].snaplen else r.interfaces[0].snaplen, orig)
        if not other_block(r, block, total):
            return FAILED


cdef inline uint32_t whole_block(RecordReader* r) noexcept nogil:
    """Check the frame of the block at r.offset: its length, there and repeated, and that it is all there. 0: end or problem."""
    cdef const uint8_t* p = r.base + r.offset
    cdef uint32_t total, trailer
    if r.window_end - r.offset < 12 and not more(r, 12):
        return 0
    if load32(p, False) == BLOCK_SECTION and not begin_section(r):
        return 0
    total = load32(p + 4, r.swapped)
    if total < 12 or total & 3 or total > MAXIMUM_BLOCK:
        fail(r, DAMAGED, r.offset, b"block length {0}, and a block has 12 to {1} bytes, a multiple of 4", total, MAXIMUM_BLOCK)
        return 0
    if r.window_end - r.offset < total and not more(r, total):
        return 0
    trailer = load32(p + total - 4, r.swapped)
    if trailer != total:
        fail(r, DAMAGED, r.offset, b"block length {0} at its start but {1} at its end, and both are the same", total, trailer)
        return 0
    return total


cdef inline int packet(RecordReader* r, Record* out, uint32_t total, uint32_t start, uint32_t number, uint32_t caplen,
                       uint32_t wirelen) noexcept nogil:
    """One packet of interface `number` whose bytes begin `start` into the block of `total` bytes at r.offset."""
    cdef const uint8_t* p = r.base + r.offset
    cdef Interface* interface
    cdef uint64_t units
    if number >= r.interface_count:
        return fail(r, DAMAGED, r.offset, b"a packet of interface {0}, and its section has described {1} so far", number, r.interface_count)
    interface = &r.interfaces[number]
    if interface.refused:
        return fail(r, DAMAGED, r.offset, b"a packet of link type {link}, and only {accepted} is taken here", interface.linktype)
    if caplen > interface.snaplen:
        return fail(r, DAMAGED, r.offset, b"captured length {0}, and interface {1} captures at most {2} bytes", caplen, number,
                    interface.snaplen)
    if caplen > total - start - 4:
        return fail(r, DAMAGED, r.offset, b"captured length {0}, and the block of {1} bytes has room for {2}", caplen, total,
                    total - start - 4)
    out.time = 0
    out.timed = start == PACKET_DATA
    if out.timed:
        units = <uint64_t>load32(p + 12, r.swapped) << 32 | load32(p + 16, r.swapped)
        if not nanoseconds(units, interface.multiplier, interface.divisor, interface.shift, interface.seconds, &out.time):
            return fail(r, DAMAGED, r.offset, b"time stamp {0:#x}, and 64-bit nanoseconds hold times from 1677 to 2262", units)
    step(r, total)
    out.data = p + start
    out.caplen = caplen
    out.wirelen = wirelen if wirelen > caplen else caplen
    out.interface = number
    return GOT_FRAME if caplen else GOT_EMPTY
