"""NetemWire: a bad line, as Linux's netem (net/sched/sch_netem.c) makes one.

What happens comes from a seed and the Clock alone, so a run on a virtual clock is the same each time. A packet takes as many random
numbers whatever the settings, so that one does not disturb another.
"""

from cython cimport no_gc_clear
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport free

from fastring.burst cimport FRAME_MORE, Frame, packets_in
from fastring.faults cimport splitmix64
from fastring.stored_packet cimport StoredPacket, as_frame, free_packets, store_packet
from fastring.wire cimport Wire
from fastring.wrapper cimport added

cdef enum:
    # Random numbers of one packet
    LOSS_DRAW
    DUPLICATE_DRAW
    CORRUPT_DRAW
    PLACE_DRAW                      # of the bit that is wrong
    REORDER_DRAW
    JITTER_DRAW
    DRAWS
    # What befalls a packet; otherwise it is copied
    PASS = 0
    LOSE = 100
    BATCH = 64
    MOST_WAITING = 100000

cdef uint64_t GOLDEN = 0x9E3779B97F4A7C15u              # what splitmix64 goes on by
cdef int64_t SECOND = 1000000000


cdef void due(void* context) noexcept nogil:
    """The timer of a Lane."""
    cdef Lane* lane = <Lane*>context
    (<NetemWire>lane.wire).drain(lane)


@no_gc_clear                        # the clock's list holds its timers until the end
cdef class NetemWire(WrapperWire):
    """`wire`, impaired on its way out (from the card), in (to it) or both, by the words of tc-netem(8).

    `loss`, `duplicate`, `corrupt` (one bit is flipped): chances from 0 to 1, for each packet alone. `delay`, `jitter`: ns, the jitter
    uniform around the delay, so that packets overtake each other. `reorder`: chance that a packet is not delayed; with `gap`, only every
    gap-th may be. `rate`: bits a second. `limit`: packets that wait at most in a direction; more are dropped as by netem, unless it is
    the receiver that has no room: then the sender is held up, if it can be. `seed`: each direction makes a sequence of its own from it.

    `direction`: "out", "in" or "both". Packets that wait are copies. What is due leaves when the clock's timers run or the wire is polled,
    on the clock's thread, which has to be that of the engines: no DeviceThread. Raises OSError EBUSY if the wire has a card, ValueError.
    """

    def __init__(self, Wire wire not None, *, Clock clock not None, double loss=0, double duplicate=0, double corrupt=0, double reorder=0,
                 int64_t delay=0, int64_t jitter=0, uint64_t rate=0, limit=1000, gap=1, uint64_t seed=0, str direction not None="out"):
        for name, chance in (("loss", loss), ("duplicate", duplicate), ("corrupt", corrupt), ("reorder", reorder)):
            if not 0 <= chance <= 1:
                raise ValueError(f"{name}: a chance is 0 to 1, not {chance!r}")
        if not 0 <= delay <= 3600 * SECOND or not 0 <= jitter <= delay:
            raise ValueError(f"a delay is 0 to {3600 * SECOND} ns, and its jitter no more than it, not {delay} and {jitter}")
        if reorder and not delay:
            raise ValueError("reordering takes a delay, which some packets then do not have")
        if not 1 <= limit <= MOST_WAITING or not 1 <= gap <= MOST_WAITING:
            raise ValueError(f"limit and gap are 1 to {MOST_WAITING}, not {limit} and {gap}")
        if direction not in ("out", "in", "both"):
            raise ValueError(f"a direction is 'out', 'in' or 'both', not {direction!r}")
        super().__init__(wire)
        self.clock = clock
        self.loss, self.duplicate = <uint64_t>(loss * 2.0**32), <uint64_t>(duplicate * 2.0**32)
        self.corrupt, self.reorder = <uint64_t>(corrupt * 2.0**32), <uint64_t>(reorder * 2.0**32)
        self.latency, self.jitter, self.rate, self.limit, self.gap = delay, jitter, rate, limit, gap
        self._prepare(&self.out, direction != "in", False, seed)
        self._prepare(&self.back, direction != "out", True, seed ^ GOLDEN)

    cdef _prepare(self, Lane* lane, bint active, bint arriving, uint64_t seed):
        lane.wire = <void*>self
        lane.arriving = arriving
        lane.active = active
        lane.instant = not (self.latency or self.rate)
        lane.random = seed
        lane.timer.handler = due
        lane.timer.context = lane

    def __dealloc__(self):
        if self.clock is not None:
            self.clock.cancel(&self.out.timer)
            self.clock.cancel(&self.back.timer)
        free_packets(self.out.first)
        free_packets(self.back.first)

    # --- what comes in at either end ---

    cdef int transmit(self, Frame* frames, int n) noexcept nogil:
        if not self.out.active:
            return WrapperWire.transmit(self, frames, n)
        return self.run(&self.out, frames, n, True)

    cdef int arrive(self, Frame* frames, int n, bint may_refuse) noexcept nogil:
        if not self.back.active:
            return self.deliver(frames, n, may_refuse)
        return self.run(&self.back, frames, n, may_refuse)

    cdef int run(self, Lane* lane, Frame* frames, int n, bint may_refuse) noexcept nogil:
        """Take frames. Packets that nothing befalls go on as they are, and together: those of [start, first)."""
        cdef uint64_t draws[DRAWS]
        cdef uint64_t before = lane.random              # the draws of the packet at `run`
        cdef int run = 0, start = 0, first = 0, end, fate, i
        while first < n and not (lane.blocked and may_refuse):
            end = first + 1
            while end < n and frames[end - 1].flags & FRAME_MORE:
                end += 1
            for i in range(DRAWS):
                draws[i] = splitmix64(&lane.random)
            fate = self.fate(lane, draws)
            if fate != PASS:
                if start < first:
                    start += self.hand_on(lane, frames + start, first - start, may_refuse)
                    if start < first:
                        break
                self.befall(lane, frames + first, end - first, draws, fate)
                run = start = end
                before = lane.random
            first = end
        if start < first and not lane.blocked:
            start += self.hand_on(lane, frames + start, first - start, may_refuse)
        if start < n:                                   # offered again, the same befalls them
            lane.refused = True
            lane.random = before + GOLDEN * DRAWS * packets_in(frames + run, start - run)
        if not lane.instant:
            self.drain(lane)
        return start

    cdef int fate(self, Lane* lane, const uint64_t* draws) noexcept nogil:
        """What befalls a packet: PASS, LOSE, or how many copies of it go their own way, below 0 if the first is spoiled."""
        cdef int copies = 1
        copies += draws[DUPLICATE_DRAW] >> 32 < self.duplicate
        if draws[LOSS_DRAW] >> 32 < self.loss:          # of a duplicated packet, one of the two
            copies -= 1
        if copies == 0:
            return LOSE
        if draws[CORRUPT_DRAW] >> 32 < self.corrupt:
            return -copies
        return PASS if copies == 1 and lane.instant and lane.first == NULL and not lane.blocked else copies

    cdef void befall(self, Lane* lane, const Frame* pieces, int n, const uint64_t* draws, int fate) noexcept nogil:
        """Let it happen to the packet."""
        cdef StoredPacket* packet
        cdef int copies = -fate if fate < 0 else fate, i
        if fate == LOSE:
            self.lose(lane, pieces, n, &lane.loss, b"loss")
            return
        lane.duplicate += copies - 1
        lane.corrupt += fate < 0
        for i in range(copies):
            packet = NULL if lane.waiting >= self.limit else store_packet(pieces, n)
            if packet == NULL:
                self.lose(lane, pieces, n, &lane.overrun, b"limit")
                continue
            if fate < 0 and i == 0 and packet.length:
                packet.data[(draws[PLACE_DRAW] >> 3) % packet.length] ^= 1 << (draws[PLACE_DRAW] & 7)
            self.enqueue(lane, packet, draws)
        if lane.instant:
            self.drain(lane)

    cdef void enqueue(self, Lane* lane, StoredPacket* packet, const uint64_t* draws) noexcept nogil:
        """netem_enqueue: when it is due, and its place among those that wait."""
        cdef int64_t now = self.clock.now(), delay = self.latency
        cdef StoredPacket** link = &lane.first
        packet.due = now
        if lane.counter + 1 < self.gap or draws[REORDER_DRAW] >> 32 >= self.reorder:
            lane.counter += 1
            if self.jitter:
                delay += <int64_t>(draws[JITTER_DRAW] % <uint64_t>(2 * self.jitter + 1)) - self.jitter
            if self.rate:
                if lane.last != NULL:                   # behind whom it has to go
                    delay = max(0, delay - (lane.last.due - now))
                    packet.due = lane.last.due
                delay += <int64_t>(packet.length * 8 * <uint64_t>SECOND // self.rate)
            packet.due += delay
        else:
            lane.counter = 0
            lane.reorder += 1
        if lane.last != NULL and lane.last.due <= packet.due:
            link = &lane.last.next
        while link[0] != NULL and link[0].due <= packet.due:
            link = &link[0].next
        packet.next = link[0]
        link[0] = packet
        if packet.next == NULL:
            lane.last = packet
        lane.waiting += 1

    cdef void lose(self, Lane* lane, const Frame* frames, int n, uint64_t* counter, const char* reason) noexcept nogil:
        counter[0] += packets_in(frames, n)
        self.tell_drop(frames, n, reason, lane.arriving)

    # --- what goes on ---

    cdef int hand_on(self, Lane* lane, Frame* frames, int n, bint may_refuse) noexcept nogil:
        """Give frames to whom they go; return how many were taken. After fewer it says when it has room."""
        cdef int taken
        if lane.arriving:
            taken = self.deliver(frames, n, may_refuse)
        else:
            taken = WrapperWire.transmit(self, frames, n)
        lane.blocked = taken < n
        return taken

    cdef int drain(self, Lane* lane) noexcept nogil:
        """Hand on what is due, and set the timer for what is not; return how many packets went."""
        cdef int went = 0, some
        cdef uint32_t most = lane.waiting               # who is answered from inside waits for the next time
        cdef int64_t now
        if lane.draining or lane.blocked or lane.first == NULL:
            return 0
        lane.draining = True
        now = self.clock.now()
        while most and not lane.blocked and lane.first != NULL and lane.first.due <= now:
            some = self.drain_some(lane, now, most if most < BATCH else BATCH)
            went += some
            most -= some
        lane.draining = False
        if lane.first == NULL or lane.blocked:
            self.clock.cancel(&lane.timer)
        else:
            self.clock.arm(&lane.timer, lane.first.due)
        return went

    cdef int drain_some(self, Lane* lane, int64_t now, uint32_t most) noexcept nogil:
        """Hand on at most so many that are due, off the list meanwhile; return how many were taken."""
        cdef Frame frames[BATCH]
        cdef StoredPacket* packets[BATCH]
        cdef int count = 0, taken, i
        while count < <int>most and lane.first != NULL and lane.first.due <= now:
            packets[count] = lane.first
            frames[count] = as_frame(lane.first)
            lane.first = lane.first.next
            count += 1
        if lane.first == NULL:
            lane.last = NULL
        taken = self.hand_on(lane, frames, count, True)
        for i in range(taken):
            free(packets[i])
        for i in range(count - 1, taken - 1, -1):       # the others go back to where they were
            packets[i].next = lane.first
            if lane.first == NULL:
                lane.last = packets[i]
            lane.first = packets[i]
        lane.waiting -= taken
        return taken

    cdef int poll(self, int budget) noexcept nogil:
        cdef int moved = self.drain(&self.out) + self.drain(&self.back)
        cdef int arrived = WrapperWire.poll(self, budget)
        return arrived if arrived < 0 else moved + arrived

    cdef void inner_has_room(self) noexcept nogil:
        if self.room_again(&self.out):
            WrapperWire.inner_has_room(self)

    cdef void receiver_has_room(self) noexcept nogil:
        if self.room_again(&self.back):
            WrapperWire.receiver_has_room(self)

    cdef bint room_again(self, Lane* lane) noexcept nogil:
        """The receiver has room again: whether the sender is to hear of it."""
        if not lane.active:
            return True
        lane.blocked = False
        self.drain(lane)
        if lane.blocked or not lane.refused:
            return False
        lane.refused = False
        return True

    # --- what it says of itself ---

    @property
    def counts(self):
        """How many packets what happened to, by direction; `waiting` are in it now."""
        return {"out": self._counts(&self.out), "in": self._counts(&self.back)}

    cdef dict _counts(self, Lane* lane):
        return {"loss": lane.loss, "limit": lane.overrun, "duplicate": lane.duplicate, "corrupt": lane.corrupt, "reorder": lane.reorder,
                "waiting": lane.waiting}

    @property
    def held_up(self):
        return bool(self.out.blocked) or super().held_up

    @property
    def waiting(self):
        return self.out.waiting + self.back.waiting + super().waiting

    @property
    def drops(self):
        return added(super().drops, added(self._lost(self.out.loss, self.out.overrun), self._lost(self.back.loss, self.back.overrun)))

    @property
    def rx_drops(self):
        return super().rx_drops if self.out.active else added(super().rx_drops, self._lost(self.back.loss, self.back.overrun))

    def _lost(self, loss, overrun):
        return {reason: packets for reason, packets in (("netem_loss", loss), ("netem_limit", overrun)) if packets}
