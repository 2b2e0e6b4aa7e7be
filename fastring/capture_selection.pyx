"""Selection: which packets of a capture are sent, and by which of two interfaces, by their number in the file.

What tcpreplay's --include, --exclude and --cachefile say. A list is ranges of numbers; a cache has two bits a packet, as tcpprep
writes them, four packets a byte from the lowest bits on: the higher of them says whether to send it, the lower that a client did.
"""

from cython cimport final
from libc.stdint cimport UINT64_MAX, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc

from fastring.capture cimport Capture, CaptureCursor
from fastring.capture_records cimport GOT_FRAME, Record

cdef enum:
    UNSELECTED = -1
    CLIENT_BIT = 1
    SEND_BIT = 2


@final
cdef class Selection:
    """`ranges`: (first, last) packet numbers, from 1, in any order; `excludes`: all but these. None of them: all packets.

    `cache`: directions of the first `cached` packets, and no packet after them: a client's are for queue 0, a server's for queue 1.
    """

    def __init__(self, ranges=(), *, bint excludes=False, bytes cache=None, uint64_t cached=0):
        merged = []
        for first, last in sorted(ranges):
            if not 1 <= first <= last <= UINT64_MAX:
                raise ValueError(f"packets are numbered from 1, and a range goes from a lower to a higher number, not {first} to {last}")
            if merged and first <= merged[-1][1] + 1:
                merged[-1][1] = max(merged[-1][1], last)
            else:
                merged.append([first, last])
        if cache is not None and 4 * len(cache) < cached:
            raise ValueError(f"{len(cache)} bytes hold the directions of {4 * len(cache)} packets, not of {cached}")
        free(self.ranges)
        self.range_count = 0
        self.ranges = <uint64_t*>malloc((2 * len(merged) + 1) * sizeof(uint64_t))
        if self.ranges == NULL:
            raise MemoryError()
        for first, last in merged:
            self.ranges[2 * self.range_count] = first
            self.ranges[2 * self.range_count + 1] = last
            self.range_count += 1
        self.excludes = excludes or not merged
        self.cache = cache
        self.directions = <const uint8_t*>cache if cache is not None else NULL
        self.cached = cached if cache is not None else 0

    def __dealloc__(self):
        free(self.ranges)

    cdef bint listed(self, uint64_t number) noexcept nogil:
        """Whether it is in a range."""
        cdef uint32_t low = 0, high = self.range_count, middle
        while low < high:
            middle = (low + high) // 2
            if self.ranges[2 * middle + 1] < number:
                low = middle + 1
            else:
                high = middle
        return low < self.range_count and self.ranges[2 * low] <= number

    cdef int queue_of(self, uint64_t number) noexcept nogil:
        """Frame.queue for packet `number`, counted from 1; or UNSELECTED."""
        cdef uint8_t bits
        if self.listed(number) == self.excludes:
            return UNSELECTED
        if self.directions == NULL:
            return 0
        if number > self.cached:
            return UNSELECTED
        bits = self.directions[(number - 1) >> 2] >> (2 * ((number - 1) & 3))
        if not bits & SEND_BIT:
            return UNSELECTED
        return 0 if bits & CLIENT_BIT else 1

    def __getitem__(self, uint64_t number):
        """The queue that packet `number` is for, 0 or 1; None: it is not sent."""
        if number < 1:
            raise IndexError("packets are numbered from 1")
        queue = self.queue_of(number)
        return None if queue == UNSELECTED else queue


@final
cdef class SelectingCursor(CaptureCursor):
    """A CaptureCursor, for one pass, that passes over what `selection` does not have; `limit` counts what it has.

    Records without a byte have a number, too.
    """

    def __init__(self, Capture capture not None, Selection selection not None, *, limit=None):
        super().__init__(capture, limit=limit)
        self.selection = selection

    cdef int next_frame(self, Record* record) noexcept nogil:
        cdef uint64_t empty
        cdef int outcome, queue
        while True:
            empty = self.empty
            outcome = CaptureCursor.next_frame(self, record)
            self.number += self.empty - empty
            if outcome != GOT_FRAME:
                return outcome
            self.number += 1
            queue = self.selection.queue_of(self.number)
            if queue != UNSELECTED:
                self.queue = <uint16_t>queue
                return GOT_FRAME
            self.frames -= 1
            self.unselected += 1

    def rewind(self):
        """Back to the first frame; counters start again."""
        super().rewind()
        self.number = self.unselected = 0
