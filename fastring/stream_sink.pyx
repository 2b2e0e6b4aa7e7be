"""StreamSink: what became of the packets of streams, told by their signatures.

Lost, reordered and duplicate are those of RFC 4737 and RFC 5560, by sequence numbers in a window as wide as RFC 5236's displacement
threshold: a packet that comes when it is out of it is stale, and stays lost. Latency is one way: sender and receiver go by the same clock,
or by clocks that somebody keeps together. Jitter is RFC 3550's, §6.4.1.

One wrong bit in a sequence number would make all that comes behind it stale. So a packet out of order, or much later or earlier than the
one before, is believed if its checksum is right, or it has none; the others are foreign, as no receiver would take them.
"""

from typing import NamedTuple

from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset

from fastring.burst cimport FRAME_MORE, Burst
from fastring.checksum cimport Sum, fold, sum_frame, sum_words, swap16
from fastring.headers cimport IPPROTO_ICMP, IPPROTO_UDP, Headers, be16, find_headers
from fastring.histogram cimport Histogram, record
from fastring.stream cimport SEQUENCE_AT, SIGNATURE, SIGNATURE_MAGIC, STAMP_AT, swap64


class StreamArrivals(NamedTuple):
    """What has arrived of one stream. `packets` = unique + duplicates + stale; times in ns.

    `reordered`: came behind one with a higher sequence number; `stale`: more than 4095 behind it, so that nobody knows whether they came
    before; `early`: came before they were sent, by the clocks, and have a latency of 0; `expected`: the highest sequence number, and one.
    """

    packets: int
    bytes: int
    unique: int
    duplicates: int
    reordered: int
    stale: int
    early: int
    expected: int
    jitter: float
    latency: Histogram

    def lost(self, sent=None):
        """Of `sent` packets those that have not come; by default of those up to the last that has."""
        return max((self.expected if sent is None else sent) - self.unique, 0)


cdef inline bint is_set(const Arrivals* stream, uint64_t sequence) noexcept nogil:
    return stream.seen[sequence % WINDOW // 64] >> (sequence % 64) & 1


cdef bint number(Arrivals* stream, uint64_t sequence) noexcept nogil:
    """Take note of a sequence number; return whether it is new."""
    cdef uint64_t skipped
    if sequence >= stream.next:
        if sequence - stream.next >= WINDOW:
            memset(stream.seen, 0, sizeof(stream.seen))
        else:
            for skipped in range(stream.next, sequence):
                stream.seen[skipped % WINDOW // 64] &= ~(<uint64_t>1 << (skipped % 64))
        stream.next = sequence + 1
    elif stream.next - sequence > WINDOW:
        stream.stale += 1
        return False
    elif is_set(stream, sequence):
        stream.duplicates += 1
        return False
    else:
        stream.reordered += 1
    stream.seen[sequence % WINDOW // 64] |= <uint64_t>1 << (sequence % 64)
    return True


cdef void time(Arrivals* stream, int64_t transit) noexcept nogil:
    """Take note of a packet's time on its way."""
    cdef int64_t difference = transit - stream.transit
    if stream.any:
        stream.jitter += <uint64_t>(difference if difference > 0 else -difference) - (stream.jitter + 8 >> 4)
    stream.any = True
    stream.transit = transit
    stream.early += transit < 0
    record(stream.latency, transit if transit > 0 else 0)


cdef bint is_intact(const Frame* pieces, int n, uint32_t bytes) noexcept nogil:
    """Whether a packet's checksum above IP is right, or there is none to tell by."""
    cdef const uint8_t* data = pieces.data
    cdef Headers found
    cdef Sum sum
    cdef uint32_t end, length
    find_headers(data, pieces.len, &found)
    if found.l4 == 0 or (found.protocol == IPPROTO_UDP and be16(data + found.l4 + 6) == 0):
        return True
    end = found.l3 + (be16(data + found.l3 + 2) if found.version == 4 else 40 + be16(data + found.l3 + 4))
    length = (end if found.l4 < end < bytes else bytes) - found.l4
    sum.total = sum.bytes = 0
    sum_frame(&sum, pieces, n, found.l4, length)
    if found.version == 6:
        sum.total += sum_words(data + found.l3 + 8, 32)
    elif found.protocol != IPPROTO_ICMP:
        sum.total += sum_words(data + found.l3 + 12, 8)
    if found.protocol != IPPROTO_ICMP:
        sum.total += swap16(length & 0xFFFF) + swap16(found.protocol)
    return fold(sum.total) == 0xFFFF


cdef class StreamSink(BurstSink):
    """Looks at every packet for the signature of one of the streams `numbers`; others, and damaged ones, are counted in `foreign`.

    `clock`: its wall time is that of packets which carry none. Any thread, one at a time; results may be read from any, and are
    those of some moment each. Raises ValueError for a number that is none or is there twice.
    """

    def __init__(self, numbers, Clock clock not None):
        cdef uint32_t i
        numbers = list(numbers)
        if self.places != NULL or len(set(numbers)) != len(numbers) or not all(0 <= number <= 0xFFFF for number in numbers):
            raise ValueError("a StreamSink is made once, of different numbers of 0 to 65535")
        self.clock = clock
        self.index = {number: i for i, number in enumerate(numbers)}
        self.latencies = [Histogram() for _ in numbers]
        self.places = <uint16_t*>calloc(0x10000, sizeof(uint16_t))
        self.streams = <Arrivals*>calloc(max(len(numbers), 1), sizeof(Arrivals))
        if self.places == NULL or self.streams == NULL:
            raise MemoryError()
        for i in range(<uint32_t>len(numbers)):
            self.places[<uint16_t>numbers[i]] = <uint16_t>(i + 1)
            self.streams[i].latency = &(<Histogram>self.latencies[i]).counts

    def __dealloc__(self):
        free(self.places)
        free(self.streams)

    cdef Arrivals* stream_of(self, const uint8_t* data, uint32_t length) noexcept nogil:
        """The stream by whose signature at `signature` a packet carries, or NULL."""
        cdef uint32_t place
        if self.signature == 0 or length < self.signature + SIGNATURE or be16(data + self.signature) != SIGNATURE_MAGIC:
            return NULL
        place = self.places[be16(data + self.signature + 2)]
        return &self.streams[place - 1] if place else NULL

    cdef void arrive(self, const Frame* frame, int pieces, uint32_t bytes, int64_t now) noexcept nogil:
        cdef Arrivals* stream = self.stream_of(frame.data, frame.len)
        cdef Headers found
        cdef uint64_t sequence, stamp = 0
        cdef int64_t transit
        if stream == NULL:
            find_headers(frame.data, frame.len, &found)
            self.signature = found.payload
            stream = self.stream_of(frame.data, frame.len)
            if stream == NULL:
                self.foreign += 1
                return
        memcpy(&sequence, frame.data + self.signature + SEQUENCE_AT, 8)
        memcpy(&stamp, frame.data + self.signature + STAMP_AT, 6)
        sequence = swap64(sequence)
        # 48 bits on the wire: a difference of them, with its sign
        transit = <int64_t>((<uint64_t>(frame.time if frame.time else now) << 16) - swap64(stamp)) >> 16
        if (sequence != stream.next or not -USUAL < transit - stream.transit < USUAL) and not is_intact(frame, pieces, bytes):
            self.foreign += 1
            return
        stream.packets += 1
        stream.bytes += bytes
        if number(stream, sequence):
            time(stream, transit)

    cdef int deliver(self, Burst burst) noexcept nogil:
        cdef int64_t now
        cdef uint32_t i = 0, first, bytes
        if self.places == NULL:
            return -1
        now = self.clock.realtime()
        while i < burst.count:
            first = i
            bytes = burst.frames[i].len
            while burst.frames[i].flags & FRAME_MORE and i + 1 < burst.count:
                i += 1
                bytes += burst.frames[i].len
            i += 1
            self.packets += 1
            self.bytes += bytes
            self.arrive(&burst.frames[first], i - first, bytes, now)
        return 0

    def arrivals(self, number):
        """What has arrived of stream `number`: a StreamArrivals. Its latency goes on counting. Raises KeyError."""
        cdef uint32_t place = self.index[number]
        cdef Arrivals* stream = &self.streams[place]
        unique = stream.packets - stream.duplicates - stream.stale
        return StreamArrivals(stream.packets, stream.bytes, unique, stream.duplicates, stream.reordered, stream.stale, stream.early,
                              stream.next, stream.jitter / 16.0, self.latencies[place])

    def __repr__(self):
        return f"<StreamSink: {self.packets} packets of {len(self.index)} streams, {self.foreign} of none>"
