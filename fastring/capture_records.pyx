"""Decoding of pcap and pcapng records: what is not needed for every record.

Formats: draft-ietf-opsawg-pcap and draft-ietf-opsawg-pcapng; where they leave a reader free, this one does as libpcap does
(sf-pcap.c, sf-pcapng.c), so that both give the same records.
"""

from libc.stdlib cimport realloc

from fastring.atomic cimport fence_full, load_relaxed32

cdef extern from "<sys/mman.h>" nogil:
    int madvise(void* start, size_t length, int advice)
    int MADV_DONTNEED

cdef extern from "<sys/stat.h>" nogil:
    struct stat_t "stat":
        long st_size
    int fstat(int fd, stat_t* buf)

cdef enum:
    WINDOW = 4 << 20                # how far the reader goes on before it looks at the file's size again
    KEEP = 16 << 20                 # mapped pages kept behind it: packets still in flight, and short captures replayed in a loop

cdef enum:                          # options of an Interface Description Block
    OPT_END = 0
    OPT_TSRESOL = 9
    OPT_TSOFFSET = 14

cdef enum:
    BYTE_ORDER_MAGIC = 0x1A2B3C4D
    BYTE_ORDER_SWAPPED = 0x4D3C2B1A


cdef int fail(RecordReader* r, Problem problem, uint64_t offset, const char* reason, uint64_t a=0, uint64_t b=0,
              uint64_t c=0) noexcept nogil:
    """Note what is wrong and where; return FAILED."""
    r.problem = problem
    r.problem_offset = offset
    r.reason = reason
    r.detail[0] = a
    r.detail[1] = b
    r.detail[2] = c
    return FAILED


cdef bint still_whole(RecordReader* r) noexcept nogil:
    """False, and a problem noted, if the file is shorter now than when it was mapped, or was since."""
    cdef stat_t now
    now.st_size = 0
    fence_full()                    # the flag is read after what the reader read: a fault there has set it
    if fstat(r.fd, &now) == 0 and <uint64_t>now.st_size >= r.size and load_relaxed32(r.shrunk) == 0:
        return True
    fail(r, DAMAGED, r.offset, b"the file shrank while it was read ({0} bytes then, {1} now): frames read last may hold zeroes, "
                               b"and a capture being read must be left alone", r.size, now.st_size)
    return False


cdef bint unharmed(RecordReader* r) noexcept nogil:
    """`still_whole` without a system call, for what was just read: False only if zeroes may have stood for it."""
    fence_full()                    # as in still_whole
    return load_relaxed32(r.shrunk) == 0 or still_whole(r)


cdef int more(RecordReader* r, uint64_t need) noexcept nogil:
    """Move the window on until it holds `need` bytes at r.offset: 1; 0 at the end, with a problem noted unless it is a clean one."""
    cdef uint64_t left = r.size - r.offset, until
    if left < need:
        if left:
            fail(r, BROKEN_OFF, r.offset, b"the file ends inside a record: {0} of at least {1} bytes are there", left, need)
        return 0
    if not still_whole(r):
        return 0
    until = r.offset + need + WINDOW
    r.window_end = until if until < r.size else r.size
    # Drop what lies well behind from this process, so that a capture of any size is read in constant memory.
    if r.offset > r.dropped + KEEP + WINDOW:
        until = (r.offset - KEEP) // 4096 * 4096
        madvise(<void*>(r.base + r.dropped), until - r.dropped, MADV_DONTNEED)
        r.dropped = until
    return 1


cdef void rewind_reader(RecordReader* r) noexcept nogil:
    """Back to the first record."""
    r.offset = r.window_end = r.prefetched = r.first_record
    r.dropped = 0
    r.interface_count = 0
    r.zeroes_end = 0
    r.problem = NO_PROBLEM


cdef inline bint all_zero(const uint8_t* record) noexcept nogil:
    return (load64(record, False) | load64(record + 8, False)) == 0


cdef int empty_record(RecordReader* r, uint64_t offset) noexcept nogil:
    """Judge the pcap record at `offset`, just stepped over, which is without a byte: GOT_EMPTY, or FAILED where the file goes on in zeroes.

    Those are what a crash leaves of a file, or a hole in a sparse one, which may be larger than any disk. libpcap takes each 16 bytes of
    them for a packet of no length at 1970, tcpdump calls it invalid, tcpreplay ends there.
    """
    cdef uint64_t end = offset + MAXIMUM_ZEROES if r.size - offset > MAXIMUM_ZEROES else r.size
    if offset < r.zeroes_end or not all_zero(r.base + offset):
        return GOT_EMPTY
    if r.window_end < end and not more(r, end - r.offset):
        return FAILED
    r.zeroes_end = offset + PCAP_RECORD_HEADER
    while r.zeroes_end + PCAP_RECORD_HEADER <= end and all_zero(r.base + r.zeroes_end):
        r.zeroes_end += PCAP_RECORD_HEADER
    if r.zeroes_end - offset < MAXIMUM_ZEROES:
        return GOT_EMPTY
    r.offset = r.zeroes_end = offset
    return fail(r, BROKEN_OFF, offset, b"nothing but zeroes from here on, for {0} bytes or more: this was never written to its end",
                MAXIMUM_ZEROES)


cdef int begin_section(RecordReader* r) noexcept nogil:
    """Take the byte order and version of the Section Header Block at r.offset, of which 12 bytes are in the window. 1, or 0 and a problem.

    The section length is not needed, as its blocks are walked anyway; libpcap does not look at it either.
    """
    cdef const uint8_t* p = r.base + r.offset
    cdef uint32_t magic = load32(p + 8, False)
    cdef uint16_t major, minor
    if magic != BYTE_ORDER_MAGIC and magic != BYTE_ORDER_SWAPPED:
        fail(r, DAMAGED, r.offset, b"byte-order magic {0:#010x} in a section header, and it is {1:#010x} or {2:#010x}",
             magic, BYTE_ORDER_MAGIC, BYTE_ORDER_SWAPPED)
        return 0
    r.swapped = magic == BYTE_ORDER_SWAPPED
    if load32(p + 4, r.swapped) < 28:
        fail(r, DAMAGED, r.offset, b"section header of {0} bytes, and one has at least 28", load32(p + 4, r.swapped))
        return 0
    if r.window_end - r.offset < 28 and not more(r, 28):
        return 0
    major = load16(p + 12, r.swapped)
    minor = load16(p + 14, r.swapped)
    if major != 1 or (minor != 0 and minor != 2):
        fail(r, DAMAGED, r.offset, b"pcapng version {0}.{1}, and 1.0 and 1.2 can be read", major, minor)
        return 0
    r.interface_count = 0           # each section describes its own
    return 1


cdef int other_block(RecordReader* r, uint32_t block, uint32_t total) noexcept nogil:
    """Step over the whole block at r.offset, which holds no packet. Returns 1, or 0 and a problem."""
    if block == BLOCK_INTERFACE:
        if not add_interface(r, total):
            return 0
    elif block == BLOCK_ENHANCED or block == BLOCK_PACKET or block == BLOCK_SIMPLE:
        fail(r, DAMAGED, r.offset, b"packet block of {0} bytes, and one has at least {1}", total,
             SIMPLE_OVERHEAD if block == BLOCK_SIMPLE else PACKET_OVERHEAD)
        return 0
    step(r, total)
    return 1


cdef bint grow_interfaces(RecordReader* r) noexcept nogil:
    cdef uint32_t capacity = 2 * r.interface_capacity + 4
    cdef void* grown
    if r.interface_count == MAXIMUM_INTERFACES:
        fail(r, DAMAGED, r.offset, b"more than {0} interfaces in one section, and no capture has that many", MAXIMUM_INTERFACES)
        return False
    if r.interface_count == r.interface_capacity:
        grown = realloc(r.interfaces, capacity * sizeof(Interface))
        if grown == NULL:
            fail(r, NO_MEMORY, r.offset, b"no memory for {0} interfaces", capacity)
            return False
        r.interfaces = <Interface*>grown
        r.interface_capacity = capacity
    return True


cdef bint add_interface(RecordReader* r, uint32_t total) noexcept nogil:
    """Take the Interface Description Block of `total` bytes at r.offset."""
    cdef const uint8_t* p = r.base + r.offset
    cdef Interface* interface
    if total < 20:
        fail(r, DAMAGED, r.offset, b"interface description of {0} bytes, and one has at least 20", total)
        return False
    if not grow_interfaces(r):
        return False
    interface = &r.interfaces[r.interface_count]
    interface.linktype = load16(p + 8, r.swapped)
    interface.refused = not r.linktypes[interface.linktype >> 3] >> (interface.linktype & 7) & 1
    interface.snaplen = usable_snaplen(load32(p + 12, r.swapped))
    interface.multiplier = 1000     # microseconds, unless if_tsresol says otherwise
    interface.divisor = 1
    interface.shift = 0
    interface.seconds = 0
    if not interface_options(r, interface, p + 16, p + total - 4):
        return False
    r.interface_count += 1
    return True


cdef uint32_t usable_snaplen(uint32_t snaplen) noexcept nogil:
    """The most bytes a packet may have: 0 is no limit of the file's own, as is what no int holds (pcapint_adjust_snapshot)."""
    return snaplen if 0 < snaplen < MAXIMUM_SNAPLEN else MAXIMUM_SNAPLEN


cdef bint interface_options(RecordReader* r, Interface* interface, const uint8_t* p, const uint8_t* end) noexcept nogil:
    """Walk the options between p and end, a multiple of 4 bytes."""
    cdef uint16_t code, length
    cdef bint resolution_seen = False, offset_seen = False
    while p < end:
        code = load16(p, r.swapped)
        length = load16(p + 2, r.swapped)
        p += 4
        if length > end - p:
            fail(r, DAMAGED, r.offset, b"option {0} of {1} bytes in an interface description with {2} left", code, length, end - p)
            return False
        if code == OPT_END:
            return True
        if code == OPT_TSRESOL:
            if length != 1 or resolution_seen:
                fail(r, DAMAGED, r.offset, b"if_tsresol of {0} bytes or twice, and an interface has one of 1 byte", length)
                return False
            resolution_seen = True
            if not set_resolution(r, interface, p[0]):
                return False
        elif code == OPT_TSOFFSET:
            if length != 8 or offset_seen:
                fail(r, DAMAGED, r.offset, b"if_tsoffset of {0} bytes or twice, and an interface has one of 8 bytes", length)
                return False
            offset_seen = True
            interface.seconds = <int64_t>load64(p, r.swapped)
        p += (length + 3) & ~3
    return True


cdef bint set_resolution(RecordReader* r, Interface* interface, uint8_t resolution) noexcept nogil:
    """if_tsresol: 10^-n seconds, or with the top bit set 2^-n."""
    cdef uint8_t n = resolution & 0x7F
    cdef uint8_t _
    if resolution & 0x80:
        if n > 63:
            fail(r, DAMAGED, r.offset, b"if_tsresol 2^-{0} s, and the finest is 2^-63 s", n)
            return False
        interface.multiplier = 1000000000
        interface.shift = n
        return True
    if n > 19:
        fail(r, DAMAGED, r.offset, b"if_tsresol 10^-{0} s, and the finest is 10^-19 s", n)
        return False
    interface.multiplier = 1
    for _ in range(n, 9):
        interface.multiplier *= 10
    for _ in range(9, n):
        interface.divisor *= 10
    return True
