"""Pacer: when each packet is due: an absolute schedule on a clock, and how late packets left.

Every deadline is the start plus an exact multiple of a fraction of a nanosecond, rounded down: what is lost in rounding is kept for
the next packet. So a schedule does not drift, however long it runs and whatever the loop around it does; a packet that is late leaves at
once, and those after it keep their deadlines. pktgen's `delay` and tcpreplay's --pps count from the start, too; tcpreplay then sleeps for
what its last look at the clock left over, and starts its clock anew with each pass over a capture.

On a real clock who waits sleeps until shortly before the deadline (clock_nanosleep with TIMER_ABSTIME) and spins the rest, since
waking up takes longer than packets are apart. On a VirtualClock the clock is moved to the deadline, and every timer on the way fires.
"""

from cython cimport final
from libc.limits cimport LLONG_MAX
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport free, realloc
from posix.time cimport CLOCK_MONOTONIC, clockid_t, timespec

from fastring.atomic cimport cpu_relax
from fastring.burst cimport FRAME_MORE, Burst
from fastring.clock cimport Clock, VirtualClock
from fastring.histogram cimport Histogram
from fastring.histogram cimport record as count_value

cdef extern from *:
    """
    #include <stdint.h>

    #define FASTRING_FOREVER (INT64_MAX / 4)        /* ns: 73 years, and a sum of two of them is a number yet */

    /* units * factor / divisor, rounded down; what that loses is kept in *remainder for the next one. */
    static inline int64_t fr_scale(uint64_t units, uint64_t factor, uint64_t divisor, uint64_t* remainder) {
        unsigned __int128 total = (unsigned __int128)units * factor + *remainder;
        unsigned __int128 whole = total / divisor;
        *remainder = (uint64_t)(total % divisor);
        return whole > FASTRING_FOREVER ? FASTRING_FOREVER : (int64_t)whole;
    }
    """
    const int64_t FOREVER "FASTRING_FOREVER"
    int64_t scale "fr_scale"(uint64_t units, uint64_t factor, uint64_t divisor, uint64_t* remainder) nogil

cdef extern from "<time.h>" nogil:
    int TIMER_ABSTIME
    int clock_nanosleep(clockid_t clock, int flags, const timespec* until, timespec* left)

cdef enum:                          # what a unit is
    PACKETS
    BITS
    NANOSECONDS

cdef enum:
    SPIN = 150_000                  # ns before a deadline: a wake-up may take as long (50 µs of it are the kernel's timer slack)
    NAP = 1_000_000                 # ns of the longest sleep: frames that arrive are polled as often
    TURN = 50_000_000               # ns of waiting, then back to Python, for signals and statistics

cdef int64_t MOST_DENOMINATOR = 10**6   # of a rate
cdef int64_t MOST_UNITS = 10**12        # a second

KINDS = {"packets": PACKETS, "bits": BITS, "times": NANOSECONDS}


@final
cdef class Pacer:
    """A schedule for a Transmitter: `rate` packets or bits a second, or, `by` "times", their time stamps at `rate` times their speed.

    `rate`: a Fraction, or an int. `bits` are those of the packets, without CRC, preamble and gap: as tcpreplay counts --mbps.
    `group`: so many packets at once, at the time of the first. `longest_gap`: ns; what a gap has more is taken from the schedule.
    `duration`: ns; packets that are due later are not sent, and `ended` tells. `spins`: never sleep.
    `lateness` is a Histogram of how late packets left, in ns.
    The first packet is due when it is scheduled. Time stamps that go back are due at once, until they are past the latest one.
    One thread: the Transmitter's.
    """

    def __init__(self, Clock clock not None, *, str by not None, rate=1, uint32_t group=1, longest_gap=None, duration=None,
                 bint spins=False):
        if by not in KINDS:
            raise ValueError(f"a schedule is by {', '.join(KINDS)}, not by {by!r}")
        if not 0 < rate <= MOST_UNITS or rate.denominator > MOST_DENOMINATOR:
            raise ValueError(f"a rate is above 0, up to {MOST_UNITS:.0e}, with at most 6 decimals, not {rate}")
        if group < 1:
            raise ValueError("a group is of at least one packet")
        if not (longest_gap is None or 0 < longest_gap <= FOREVER) or not (duration is None or 0 < duration <= FOREVER):
            raise ValueError(f"a longest gap and a duration are 1 ns or more, not {longest_gap} and {duration}")
        self.clock = clock
        self.stepped = clock if isinstance(clock, VirtualClock) else None
        self.kind = KINDS[by]
        self.factor = rate.denominator * (1 if self.kind == NANOSECONDS else 10**9)
        self.divisor = rate.numerator
        self.group = group
        self.longest_gap = LLONG_MAX if longest_gap is None else longest_gap
        self.ends = LLONG_MAX if duration is None else duration
        self.spins = spins
        self.fresh = True
        self.lateness = Histogram()

    def __dealloc__(self):
        free(self.deadlines)

    cdef int reserve(self, uint32_t frames) except -1:
        """Have room for bursts of so many Frames."""
        cdef int64_t* deadlines
        if frames > self.room:
            deadlines = <int64_t*>realloc(self.deadlines, frames * sizeof(int64_t))
            if deadlines == NULL:
                raise MemoryError()
            self.deadlines = deadlines
            self.room = frames
        return 0

    cdef void _begin(self) noexcept nogil:
        if not self.begun:
            self.begun = True
            self.origin = self.clock.now()

    cdef void schedule(self, Burst burst) noexcept nogil:
        """Set the deadlines of a burst's packets, which come after all that were scheduled."""
        cdef uint32_t i = 0, first
        cdef uint64_t units, bytes
        cdef int64_t gap
        self._begin()
        while i < burst.count:
            first = i
            bytes = burst.frames[i].len
            while burst.frames[i].flags & FRAME_MORE and i + 1 < burst.count:
                i += 1
                bytes += burst.frames[i].len
            i += 1
            units, self.owed = self.owed, 0
            if self.kind == NANOSECONDS:
                if not self.fresh and burst.frames[first].time > self.latest:
                    units = <uint64_t>burst.frames[first].time - <uint64_t>self.latest
                if self.fresh or burst.frames[first].time > self.latest:
                    self.latest = burst.frames[first].time
                self.fresh = False
            elif self.kind == BITS:
                self.owed = 8 * bytes
            else:
                self.in_group += 1
                if self.in_group == self.group:
                    self.in_group = 0
                    self.owed = self.group
            gap = scale(units, self.factor, self.divisor, &self.remainder)
            if gap > self.longest_gap:
                gap = self.longest_gap
            gap += self.pending_delay
            self.pending_delay = 0
            self.elapsed = self.elapsed + gap if gap < FOREVER - self.elapsed else FOREVER
            self.deadlines[first] = self.origin + self.elapsed

    cdef uint32_t due(self, Burst burst, uint32_t start) noexcept nogil:
        """How many packets from `start` on are due. On a virtual clock time passes until the first is, and it is that one."""
        cdef uint32_t i = start, packets = 0
        cdef int64_t now = self.clock.now()
        cdef int64_t deadline = self.deadlines[start]
        if deadline - self.origin >= self.ends or now - self.origin >= self.ends:
            self.over = True
            return 0
        if self.stepped is not None:
            self.stepped.advance_to(deadline)
            return 1
        while i < burst.count and self.deadlines[i] <= now and self.deadlines[i] - self.origin < self.ends:
            while burst.frames[i].flags & FRAME_MORE and i + 1 < burst.count:
                i += 1
            i += 1
            packets += 1
        return packets

    cdef void begin_turn(self) noexcept nogil:
        self.turn_ends = self.clock.now() + TURN

    cdef bint wait(self, uint32_t start) noexcept nogil:
        """Sleep or spin a little, the packet at `start` not being due; return whether it is time to go back to Python."""
        cdef int64_t now = self.clock.now()
        cdef int64_t until = self.deadlines[start] - SPIN
        cdef timespec wake
        if now >= self.turn_ends:
            return True
        if self.clock.timers != NULL and self.clock.timers.deadline < until:
            until = self.clock.timers.deadline
        if self.spins or until <= now:
            cpu_relax()
            return False
        if until > now + NAP:
            until = now + NAP
        wake.tv_sec = until // 1_000_000_000
        wake.tv_nsec = until % 1_000_000_000
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &wake, NULL)
        return False

    cdef void record(self, Burst burst, uint32_t start, uint32_t end) noexcept nogil:
        """Note that the packets [start, end) of the burst left just now."""
        cdef int64_t now = self.clock.now()
        cdef uint32_t i
        for i in range(start, end):
            if i > start and burst.frames[i - 1].flags & FRAME_MORE:
                continue
            self.reached = self.deadlines[i] - self.origin
            count_value(&self.lateness.counts, <uint64_t>(now - self.deadlines[i]))

    def pause(self, int64_t ns=0):
        """Let the next packet come `ns` after the last one and its gap, and, by time stamps, at no other distance: a new pass begins."""
        if not 0 <= ns <= FOREVER:
            raise ValueError(f"a pause is 0 ns or more, not {ns}")
        self.fresh = True
        if self.begun:
            self.pending_delay = min(self.pending_delay + ns, FOREVER)

    @property
    def ended(self):
        """Whether a packet was not sent because its time is after the duration."""
        return bool(self.over)

    @property
    def scheduled(self):
        """Nanoseconds from the first packet's deadline to that of the last one sent."""
        return self.reached

    def __repr__(self):
        return f"<Pacer: {self.lateness.total} packets sent in {self.reached / 1e9:.6f} s, the latest {self.lateness.max} ns late>"
