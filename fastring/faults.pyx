"""FaultyWire: what goes wrong on a cable, from a seed: the same seed and the same packets make the same faults.

It wraps any wire, and spoils what arrives through it; who wants no faults has no FaultyWire, and pays nothing.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

from fastring.burst cimport (FRAME_ALIGNMENT, FRAME_BAD_CRC, FRAME_CARRIER, FRAME_ERRORS, FRAME_MORE, FRAME_RX_ERROR, FRAME_SEQUENCE,
                             FRAME_SYMBOL, NO_BUFFER, NO_IOVA, Frame)
from fastring.wire cimport Wire

cdef enum:
    ROOM = 0x10000                  # bytes of a packet that can be spoiled; what is longer passes
    HEADERS = 14
    SHORTEST = 60                   # bytes of a legal frame without its CRC
    LONGEST = 1518                  # with a tag

NAMES = ("bad_crc", "alignment", "symbol_error", "rx_error", "sequence_error", "carrier_error", "runt", "fragment", "oversize", "jabber",
         "bad_checksum", "lost")

cdef uint32_t FLAGS[FAULTS]
FLAGS[:] = [FRAME_BAD_CRC, FRAME_ALIGNMENT, FRAME_SYMBOL, FRAME_RX_ERROR, FRAME_SEQUENCE, FRAME_CARRIER, 0, FRAME_BAD_CRC, 0, FRAME_BAD_CRC,
            0, 0]


cdef bint is_rate(rate):
    try:
        return 0 <= rate <= 1
    except TypeError:
        return False                # no number at all


def parse_rates(names, rates):
    """The rates of all faults in `names`, of 2^32; raises TypeError for one that is not there, ValueError for what is no rate."""
    for name, rate in rates.items():
        if name not in names:
            raise TypeError(f"there is no fault {name!r}; there are {', '.join(names)}")
        if not is_rate(rate):
            raise ValueError(f"{name}: a rate is 0 to 1, not {rate!r}")
    return [int(rates.get(name, 0) * 2**32) for name in names]


cdef class FaultyWire(WrapperWire):
    """`wire` with faults in what arrives through it; each rate is a probability from 0 to 1 that a packet gets it, one or several.

    `bad_crc`, `alignment`, `symbol_error`, `rx_error`, `sequence_error`, `carrier_error`: damaged on the way. `runt`, `fragment`: cut
    below 60 bytes, with a right and a wrong CRC; `oversize`, `jabber`: the same above 1518. `bad_checksum`: a bit of the payload is
    flipped and the CRC right, as by a switch's bad memory. `lost`: it never arrives.

    `seed`: 64 bits; each packet takes as many numbers from it, whatever the rates, and one refused and offered again the same. Lengths
    are bytes without the CRC. What is sent passes untouched; what arrives and is longer than 64 KiB may be lost, and no more.
    It takes the wire over and holds it: a card plugs into the FaultyWire, and closing that closes both. Packets are spoiled in a copy, on
    the thread that the inner wire delivers on, one at a time and without the GIL; `counts` may be read from any.
    Raises OSError EBUSY if the wire has a card, TypeError for no fault, ValueError for no rate, MemoryError. What a card makes of each
    fault is its manual's: §13.7 for the 82540EM, as flags of a Frame (FRAME_BAD_CRC and so on).
    """

    def __cinit__(self):
        self.copy = <uint8_t*>malloc(ROOM)
        if self.copy == NULL:
            raise MemoryError()

    def __init__(self, Wire wire not None, *, uint64_t seed=0, **rates):
        parsed = parse_rates(NAMES, rates)
        super().__init__(wire)
        for i, rate in enumerate(parsed):
            self.rates[i] = rate
        self.random = seed

    def __dealloc__(self):
        free(self.copy)

    cdef uint32_t choose(self) noexcept nogil:
        """The faults of the next packet: bits by BAD_CRC ... As many draws for every packet, so that rates do not disturb each other."""
        cdef uint32_t i, faults = 0
        self.chance = splitmix64(&self.random)
        for i in range(FAULTS):
            if happens(&self.random, self.rates[i]):
                faults |= 1 << i
        return faults

    cdef int arrive(self, Frame* frames, int n, bint may_refuse) noexcept nogil:
        """Pass packets on, one at a time. What is refused comes again, and gets the same faults then."""
        cdef Frame spoiled
        cdef int first = 0, end, i
        cdef uint32_t faults, length
        cdef uint64_t before
        while first < n:
            end = first + 1
            while frames[end - 1].flags & FRAME_MORE and end < n:
                end += 1
            before = self.random
            faults = self.choose()
            length = 0
            for i in range(first, end):
                length += frames[i].len if frames[i].len < ROOM else ROOM
                if length > ROOM:
                    length = ROOM + 1
            if faults & 1 << LOST:
                self.happened[LOST] += 1
                self.tell_drop(&frames[first], end - first, b"lost", True)
            elif faults and length <= ROOM:
                self.gather(&spoiled, &frames[first], end - first)
                self.spoil(&spoiled, length, faults)
                if self.deliver(&spoiled, 1, may_refuse) == 0:
                    self.random = before
                    return first
                self.count(faults)
            elif self.deliver(&frames[first], end - first, may_refuse) == 0:
                self.random = before
                return first
            first = end
        return n

    cdef void gather(self, Frame* whole, const Frame* pieces, int n) noexcept nogil:
        """Copy a packet: its bytes belong to somebody else."""
        cdef int i
        cdef uint32_t done = 0
        memset(whole, 0, sizeof(Frame))
        whole.data = self.copy
        whole.iova = NO_IOVA
        whole.buffer = NO_BUFFER
        whole.time = pieces[0].time
        whole.wire_len = pieces[0].wire_len
        for i in range(n):
            memcpy(self.copy + done, pieces[i].data, pieces[i].len)
            done += pieces[i].len
            whole.flags |= pieces[i].flags & FRAME_ERRORS

    cdef void spoil(self, Frame* frame, uint32_t length, uint32_t faults) noexcept nogil:
        """Do to the packet, in `copy`, what befalls it."""
        cdef uint32_t i, wanted = length
        cdef uint64_t chance = self.chance
        for i in range(FAULTS):
            if faults >> i & 1:
                frame.flags |= FLAGS[i]
        if faults & 1 << BAD_CHECKSUM and length > HEADERS:
            self.copy[HEADERS + (chance >> 8) % (length - HEADERS)] ^= 1 << (chance & 7)
        if faults & (1 << RUNT | 1 << FRAGMENT):
            wanted = HEADERS + (chance >> 40) % (SHORTEST - HEADERS)     # with an address, or nobody would count it
        elif faults & (1 << OVERSIZE | 1 << JABBER) and length <= LONGEST:
            wanted = LONGEST + 1 + (chance >> 40) % 1024
        if wanted > length:
            memset(self.copy + length, 0x55, wanted - length)
        frame.len = wanted
        frame.wire_len = wanted

    cdef void count(self, uint32_t faults) noexcept nogil:
        cdef uint32_t i
        for i in range(FAULTS):
            self.happened[i] += faults >> i & 1

    @property
    def counts(self):
        """How often each fault happened."""
        return {name: self.happened[i] for i, name in enumerate(NAMES)}

    @property
    def drops(self):
        """What the faults lost, and the inner wire."""
        return super().drops | self._lost()

    @property
    def rx_drops(self):
        return super().rx_drops | self._lost()

    def _lost(self):
        return {"fault_lost": self.happened[LOST]} if self.happened[LOST] else {}
