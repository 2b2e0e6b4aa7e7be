"""Wire: where a card's frames go and come from, by bursts.

A wire carries frames without their CRC: the card adds and checks it. The shape is smoltcp's `phy`: one small protocol, one
class a medium, and wrappers that are wires themselves.

Thread role: everything here runs on the thread of the card's engines.
"""

import errno

from libc.stdint cimport int64_t
from libc.string cimport memcpy

from fastring.burst cimport NO_BUFFER, NO_IOVA, Burst, BurstSink, Frame, packets_in, show_packets
from fastring.clock cimport Clock


cdef inline void foreign(Frame* frame, int64_t time) noexcept nogil:
    """Make a card's Frame one of a Burst: the card fills in data, len and flags alone, and the bytes stay its own."""
    frame.iova = NO_IOVA
    frame.buffer = NO_BUFFER
    frame.time = time
    frame.wire_len = frame.queue = 0


cdef class Wire:
    """One end of a wire. Subclass in Cython and override `transmit`, or in Python and override `transmit_burst`.

    A card attaches itself; then `transmit` takes its frames, and `deliver` (from Python `inject`) hands it frames that arrive.
    """

    cdef int transmit(self, Frame* frames, int n) noexcept nogil:
        """Take frames from the card. Returns how many were taken, whole packets only; after fewer than n the wire calls `room`."""
        with gil:
            return self._transmit_python(frames, n)

    cdef int _transmit_python(self, Frame* frames, int n) noexcept:
        cdef Burst burst = None
        cdef int i
        kept = self                                     # the card may be unplugged meanwhile
        try:
            burst = Burst(n)
            memcpy(burst.frames, frames, n * sizeof(Frame))
            for i in range(n):
                foreign(&burst.frames[i], 0)
            burst.count = n
            self.transmit_burst(burst)
        except BaseException as error:                  # an engine cannot raise: kept for whoever runs it
            kept.error = error
            self.lost += packets_in(frames, n)
        if burst is not None:
            burst.count = 0                             # what it showed is the card's again
        return n

    def transmit_burst(self, burst):
        """Called with each burst the card sends, GIL held. Its packets are valid until this returns."""
        raise NotImplementedError(f"{type(self).__name__} overrides neither transmit nor transmit_burst")

    cdef void receiver_has_room(self) noexcept nogil:
        """The attached card, having refused frames, has room again."""

    cdef int poll(self, int budget) noexcept nogil:
        """Move what waits outside the process, at most `budget` packets of it, to the card; and if the wire had held the card up and
        has room again, let it go on. Returns how many packets moved, or -errno, which `failure` explains. See `polled`."""
        return 0

    @property
    def polled(self):
        """Whether its frames come from outside the process, so that who is attached has to `poll`. The same for its whole life."""
        return False

    def fileno(self):
        """What to wait at: readable when `poll` may find something, epoll-able. None, unless `polled`."""
        return None

    @property
    def held_up(self):
        """Whether it holds the card up and owes it a call: wait for its `fileno` to be writable, too."""
        return False

    @property
    def waiting(self):
        """Packets that it keeps until their time has come."""
        return 0

    def failure(self):
        """Why `poll` or `transmit` failed for good, an OSError that names the wire; or None. The card is on a dead wire then."""
        return None

    @property
    def drops(self):
        """Packets that the wire lost, by reason; both directions, never reset."""
        return {"wire_lost": self.lost} if self.lost else {}

    @property
    def rx_drops(self):
        """Of `drops`, those that were to arrive here."""
        return {}

    cdef int deliver(self, Frame* frames, int n, bint may_refuse) noexcept nogil:
        """Hand n Frames to the attached card; with no card there they are taken and lost. Returns how many it took."""
        if self.receive == NULL:
            self.lost += packets_in(frames, n)
            return n
        return self.receive(self.context, frames, n, may_refuse)

    cdef void tell_drop(self, const Frame* frames, int n, const char* reason, bint arriving) noexcept nogil:
        """Tell a wrapper that is attached which packets were lost and why; they are counted elsewhere."""
        if self.dropped != NULL:
            self.dropped(self.context, frames, n, reason, arriving)

    def inject(self, Burst burst not None):
        """Let the packets of `burst` arrive at the attached card, which drops and counts what it has no room for."""
        if self.receive == NULL:
            raise OSError(errno.ENOLINK, f"no card is attached to this {type(self).__name__}")
        with nogil:                     # the card's thread may hold its lock and wait for the GIL
            self.deliver(burst.frames, burst.count, False)

    cdef void attach(self, receive_handler receive, room_handler room, void* context, object owner) except *:
        if self.receive != NULL:
            raise OSError(errno.EBUSY, f"this {type(self).__name__} has a card attached already")
        self.receive = receive
        self.room = room
        self.context = context
        self.owner = owner

    cdef void detach(self) noexcept:
        self.receive = NULL
        self.room = NULL
        self.dropped = NULL
        self.context = NULL
        self.owner = None

    def close(self):
        """Release what the wire holds outside the process. Again is harmless. Raises OSError if something was lost."""

    def capabilities(self):
        """What the wire can do: `mtu` (None: no limit of its own) and `lossless` (it refuses rather than drops)."""
        return {"mtu": None, "lossless": False}

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    def __repr__(self):
        return f"<{type(self).__name__}: {'no card' if self.receive == NULL else 'card attached'}>"


cdef class NullWire(Wire):
    """Takes every frame and delivers none, counting packets and bytes."""

    cdef readonly unsigned long long packets, bytes

    cdef int transmit(self, Frame* frames, int n) noexcept nogil:
        cdef int i
        self.packets += packets_in(frames, n)
        for i in range(n):
            self.bytes += frames[i].len
        return n


cdef class PairEnd(Wire):
    """One end of a cable between two cards; `pair` makes both."""

    cdef int transmit(self, Frame* frames, int n) noexcept nogil:
        if self.peer is None:                           # not made by `pair`
            self.lost += packets_in(frames, n)
            return n
        return self.peer.deliver(frames, n, self.lossless)

    cdef void receiver_has_room(self) noexcept nogil:
        if self.peer is not None and self.peer.room != NULL:
            self.peer.room(self.peer.context)

    def capabilities(self):
        return {"mtu": None, "lossless": self.lossless}


def pair(*, bint lossless=True):
    """Make a cable: two PairEnds, what one transmits arriving at the other.

    `lossless`: a receiver without free descriptors holds the sender up, as flow control does at its best; otherwise frames go to
    its FIFO and, when that is full, are dropped and counted there (MPC).
    """
    cdef PairEnd a = PairEnd(), b = PairEnd()
    a.peer, b.peer = b, a
    a.lossless = b.lossless = lossless
    return a, b


cdef class SinkWire(Wire):
    """Passes every frame to a BurstSink, a capture writer say, stamped with the wire's clock."""

    cdef readonly BurstSink sink
    cdef Clock clock
    cdef Burst burst
    cdef readonly unsigned long long failures       # bursts the sink could not take

    def __init__(self, BurstSink sink not None, *, Clock clock not None):
        self.sink = sink
        self.clock = clock
        self.burst = Burst(256)

    cdef int transmit(self, Frame* frames, int n) noexcept nogil:
        cdef int start = 0, i
        cdef int64_t now
        if self.burst is None:                          # never initialised
            self.lost += packets_in(frames, n)
            return n
        now = self.clock.realtime()
        while start < n:
            start += show_packets(self.burst, frames + start, n - start)
            for i in range(<int>self.burst.count):
                foreign(&self.burst.frames[i], now)
            if self.sink.deliver(self.burst) < 0:
                self.failures += 1
        self.burst.count = 0
        return n

    def close(self):
        """Close the sink, if it is one that can be closed."""
        if hasattr(self.sink, "close"):
            self.sink.close()
