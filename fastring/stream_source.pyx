"""StreamSource: the packets of streams, interleaved and at their time, in buffers that a card reads where they are.

Every stream has a schedule of its own, counted from the start in nanoseconds and 2^-32 of them, so that none drifts; the packet that is
due first comes first. Frame.time is when: a Pacer by "times" waits for it, and a VirtualClock is set to it. Without a schedule the
streams take turns by weight, which is the same with a packet's time in units of nothing.

A packet is made in a buffer mapped for DMA, and that is used again when the card has completed the burst it was in. When there is none
left (a card that holds more than there are buffers) it is made in one that is not mapped, which whoever takes the burst copies.

Thread role: the Transmitter's thread.
"""

import math

from libc.stdlib cimport calloc, free

from fastring.burst cimport NO_BUFFER, NO_IOVA, Burst
from fastring.checksum cimport fold, sum_words
from fastring.stream cimport PacketStream, finish_packet, swap64, write_packet

MOST_STREAMS = 256
SLOTS = 1024
FRACTION = 1 << 32
NEVER = (1 << 62)                   # ns
SLACK = 8                           # bytes behind a packet that a field or the payload may be written with


cdef Moment moment_of(object ns) except *:
    """A time in ns, a Fraction, to 2^-32 of them; rounded up, so that a whole number of them is one when they are added up."""
    if not 0 <= ns < 1 << 40:
        raise ValueError(f"a packet or a byte takes 0 to 2^40 ns, not {float(ns):g}")
    whole = math.ceil(ns * FRACTION)
    return Moment(whole // FRACTION, whole % FRACTION)


cdef void settle(Lane* lane) noexcept nogil:
    """Leave the phases that are over, or in which nothing is sent. One that follows a time begins when that ends."""
    cdef const Phase* phase = &lane.phases[lane.phase]
    while lane.phase_end == 0 if phase.duration == 0 else phase.packets == 0 or lane.due.ns >= lane.phase_end:
        if phase.duration:
            lane.due = Moment(lane.phase_end, 0)
        lane.phase = lane.phase + 1 if lane.phase + 1 < lane.n_phases else 0
        phase = &lane.phases[lane.phase]
        lane.phase_end = lane.due.ns + phase.duration if phase.duration else phase.packets


cdef void go_on(Lane* lane, uint32_t length) noexcept nogil:
    """A packet has been sent: work out when the next one is due."""
    cdef const Phase* phase = &lane.phases[lane.phase]
    cdef Moment gap
    add_moment(&lane.owed, &phase.packet, 1)
    add_moment(&lane.owed, &phase.byte, length)
    lane.burst_left -= 1
    if lane.burst_left == 0:
        lane.burst_left = lane.burst
        gap = Moment(lane.gap, 0) if lane.gap else lane.owed
        add_moment(&lane.due, &gap, 1)
        lane.owed = Moment(0, 0)
    if lane.n_phases > 1 or phase.duration:
        lane.phase_end -= phase.duration == 0
        settle(lane)


cdef class StreamSource(BurstSource):
    """The packets of `streams`, each (stream, schedule), a PacketStream and a list of phases with what they share: see `add_lane`.

    `paced`: the schedule is one of time, and Frame.time says when a packet is due; else packets are stamped as they are made.
    `duration`: ns after which no packet is due, or made. The signature's stamp is the time a packet is due, or else the clock's wall time
    when the burst with it was ready. `slots`: buffers for packets that a card reads where they lie, see `mapped_at`.
    """

    def __init__(self, streams, Clock clock not None, *, bint paced=False, duration=None, uint32_t slots=SLOTS):
        if self.streams is not None:
            raise ValueError("a StreamSource is made once")
        streams = list(streams)
        if not 0 < len(streams) <= MOST_STREAMS:
            raise ValueError(f"there are 1 to {MOST_STREAMS} streams, not {len(streams)}")
        if not 0 < slots <= 1 << 16:
            raise ValueError(f"there are 1 to 65536 slots, not {slots}")
        self.streams = tuple(stream for stream, _ in streams)
        self.clock = clock
        self.paced = paced
        self.until = NEVER if duration is None else duration
        self.started = -1
        self.kept = []
        self.lanes = <Lane*>calloc(len(streams), sizeof(Lane))
        self.marks = <Mark*>calloc(slots, sizeof(Mark))
        if self.lanes == NULL or self.marks == NULL:
            raise MemoryError()
        longest = 0
        for stream, schedule in streams:
            self.add_lane(stream, **schedule)
            longest = max(longest, len(stream.template))
        self.stride = (longest + SLACK + 63) // 64 * 64
        if self.stride >= 512 and self.stride % 128 == 0:
            self.stride += 64                       # an odd number of cache lines: packets do not begin in the same few sets
        self.slots = slots
        self.iova = NO_IOVA
        self.memory = Arena((slots + ROOM) * self.stride, name="streams")
        self.memory.alloc((slots + ROOM) * self.stride)

    def __dealloc__(self):
        free(self.lanes)
        free(self.marks)

    def add_lane(self, PacketStream stream not None, *, phases, uint32_t burst=1, uint64_t gap=0):
        """`phases`: (ns a packet takes, ns each byte takes, duration in ns or 0, packets or 0); no packets in a duration: a pause.

        `burst`: packets due at once; `gap`: ns from one burst to the next, or 0: what its packets take. Raises ValueError.
        """
        cdef Lane* lane = &self.lanes[self.n_lanes]
        cdef uint32_t i
        if not phases or not burst or not any(packets for _, _, _, packets in phases):
            raise ValueError("a schedule has a phase in which packets are sent, and bursts of 1 or more")
        room = bytearray(len(phases) * sizeof(Phase))
        self.kept.append(room)
        lane.phases = <Phase*><char*>room
        for i, (packet, byte, duration, packets) in enumerate(phases):
            if not packets and not duration:
                raise ValueError("a phase lasts for packets or for a time")
            if any(not 0 <= bound < NEVER for bound in (duration, packets, gap)):
                raise ValueError("a phase and a gap are shorter than 2^62")
            lane.phases[i] = Phase(moment_of(packet), moment_of(byte), duration, packets)
        lane.n_phases = len(phases)
        lane.burst = lane.burst_left = burst
        lane.gap = gap
        lane.stream = &stream.state
        lane.phase_end = lane.phases[0].duration or lane.phases[0].packets
        settle(lane)
        self.n_lanes += 1

    def mapped_at(self, uint64_t iova, XmitTarget target not None):
        """`memory` is mapped for DMA at `iova`, and `target` is who transmits: packets are made where the card reads them."""
        self.iova = iova
        self.target = target

    cdef void reclaim(self) noexcept nogil:
        """The burst before has been handed over. Take back the slots of those that are completed."""
        cdef Mark* mark
        if self.head != (self.marks[(self.mark_head - 1) % self.slots].slot if self.mark_head else 0):
            mark = &self.marks[self.mark_head % self.slots]
            mark.slot = self.head
            mark.completion = self.target.completion()
            self.mark_head += 1
        while self.mark_tail != self.mark_head:
            mark = &self.marks[self.mark_tail % self.slots]
            if not self.target.completed(mark.completion):
                break
            self.tail = mark.slot
            self.mark_tail += 1

    cdef bint over(self, const Lane* lane) noexcept nogil:
        return lane.stream.left == 0 or (self.paced and lane.due.ns >= self.until)

    cdef Lane* earliest(self) noexcept nogil:
        """The stream whose turn it is, or NULL: all have ended."""
        cdef Lane* lane = self.lanes
        cdef Lane* first = NULL
        for _ in range(self.n_lanes):
            if not self.over(lane) and (first == NULL or lane.due.ns < first.due.ns
                                        or (lane.due.ns == first.due.ns and lane.due.fraction < first.due.fraction)):
                first = lane
            lane += 1
        return first

    cdef void place(self, Frame* frame, uint32_t n) noexcept nogil:
        """Find room for the burst's packet number n."""
        cdef uint64_t at
        if self.iova != NO_IOVA and self.head - self.tail < self.slots:
            at = <uint64_t>self.next_slot * self.stride
            self.next_slot = self.next_slot + 1 if self.next_slot + 1 != self.slots else 0
            self.head += 1
            frame.iova = self.iova + at
        else:
            at = <uint64_t>(self.slots + n) * self.stride
            self.copied += 1
            frame.iova = NO_IOVA
        frame.data = self.memory.base + at

    cdef int fill(self, Burst burst, uint32_t most) noexcept nogil:
        cdef Frame* frame = burst.frames
        cdef Lane* lane
        cdef uint32_t n = 0
        if most > burst.capacity:
            most = burst.capacity
        if most > ROOM:
            most = ROOM
        if self.started < 0:
            self.started = self.clock.realtime()
        if self.target is not None:
            self.reclaim()
        if not self.paced and self.clock.realtime() - self.started >= <int64_t>self.until:
            most = 0
        while n < most:
            lane = self.earliest()
            if lane == NULL:
                break
            self.place(frame, n)
            frame.len = frame.wire_len = write_packet(lane.stream, frame.data, &self.sums[n])
            frame.time = <int64_t>lane.due.ns
            frame.buffer = NO_BUFFER
            frame.flags = frame.queue = 0
            self.made_by[n] = lane
            self.bytes += frame.len
            lane.stream.left -= 1
            go_on(lane, frame.len)
            frame += 1
            n += 1
        self.stamp_all(burst.frames, n)
        self.packets += n
        if n:
            self.last = n
        burst.count = n
        return n

    cdef void stamp_all(self, Frame* frames, uint32_t n) noexcept nogil:
        """Give all packets of a burst their time, and close their checksums."""
        cdef int64_t now = self.clock.realtime()
        cdef uint64_t stamp = swap64(<uint64_t>now << 16)
        cdef uint32_t i, sum = fold(sum_words(<const uint8_t*>&stamp, 6))
        for i in range(n):
            if self.paced:
                now = self.started + frames[i].time
                stamp = swap64(<uint64_t>now << 16)
                sum = fold(sum_words(<const uint8_t*>&stamp, 6))
            frames[i].time = now
            finish_packet(self.made_by[i].stream, frames[i].data, self.sums[i], stamp, sum)

    def unsent(self, uint64_t packets):
        """How many of the last `packets` made are of each stream: those of the last burst that nobody took. Raises ValueError for more."""
        cdef uint32_t i
        counts = [0] * self.n_lanes
        if packets > self.last:
            raise ValueError(f"the last burst had {self.last} packets, not {packets}")
        for i in range(self.last - <uint32_t>packets, self.last):
            counts[self.made_by[i] - self.lanes] += 1
        return counts

    def __repr__(self):
        return f"<StreamSource: {self.packets} packets of {self.n_lanes} streams made>"
