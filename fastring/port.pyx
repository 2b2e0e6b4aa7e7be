"""WirePort: in the place of a card on a wire, for who wants its frames and no card: a capture, a packet generator, scapy."""

import errno
import time

from libc.stdint cimport int64_t

from fastring.burst cimport NO_BUFFER, NO_IOVA, packets_in, show_packets

cdef enum:
    ROOM = 256                      # Frames shown to the sink at once


cdef int take(void* context, Frame* frames, int n, bint may_refuse) noexcept nogil:
    """The wire's receive_handler."""
    return (<WirePort>context).arrived(frames, n)


cdef class WirePort:
    """Attach to `wire` as a card does: `send` bursts, and pass what arrives to `sink` (a BurstSink) whenever `poll` is called.

    `clock`: stamps packets that the wire has not: all those of a wire within the process. Packets shown to the sink are valid until it
    returns; without one they are counted in `unclaimed`, and a burst that the sink fails at in `failures` (its `error` says why). One
    thread, or the wire's two: see HostWire. It holds the wire, which stays its owner's; `close` detaches. Raises OSError EBUSY if the
    wire has a card.
    """

    def __init__(self, Wire wire not None, *, BurstSink sink=None, Clock clock=None):
        if self.wire is not None:
            raise OSError(errno.EBUSY, f"{self!r} is attached already")
        self.burst = Burst(ROOM)
        self.sink = sink
        self.clock = clock
        self.stamped = wire.polled
        wire.attach(take, NULL, <void*>self, self)
        self.wire = wire

    cdef int arrived(self, Frame* frames, int n) noexcept nogil:
        cdef int start = 0, i
        cdef int64_t now = 0 if self.clock is None else self.clock.realtime()
        cdef Frame* shown = self.burst.frames
        self.rx_packets += packets_in(frames, n)
        for i in range(n):
            self.rx_bytes += frames[i].len
        if self.sink is None or self.busy:
            self.unclaimed += packets_in(frames, n)
            return n
        self.busy = True
        while start < n:
            start += show_packets(self.burst, frames + start, n - start)
            for i in range(<int>self.burst.count):
                shown[i].iova = NO_IOVA
                shown[i].buffer = NO_BUFFER
                if not self.stamped:                # a card fills in no more than where its packet is
                    shown[i].wire_len = shown[i].queue = 0
                if not self.stamped or shown[i].time == 0:
                    shown[i].time = now
            if self.sink.deliver(self.burst) < 0:
                self.failures += 1
        self.burst.count = 0
        self.busy = False
        return n

    cdef int push(self, Frame* frames, int n) noexcept nogil:
        """Send; return how many Frames the wire took."""
        cdef int i, sent = self.wire.transmit(frames, n)
        self.tx_packets += packets_in(frames, sent)
        for i in range(sent):
            self.tx_bytes += frames[i].len
        return sent

    cdef int step(self, int budget) noexcept nogil:
        return self.wire.poll(budget)

    def poll(self, int budget=ROOM):
        """Pass on what has arrived, at most `budget` packets; return how many moved. Raises what the wire's `failure` is, or the sink's."""
        cdef int moved
        with nogil:
            moved = self.step(budget)
        if self.sink is not None and self.sink.error is not None:
            error, self.sink.error = self.sink.error, None
            raise error
        if moved < 0:
            raise self.wire.failure() or OSError(-moved, f"{self.wire!r} failed")
        return moved

    def send(self, Burst burst not None, *, double patience=5.0):
        """Send a burst; return how many packets the wire took. While that holds it up, what arrives is passed on.

        Raises TimeoutError if nothing moves for `patience` seconds, with the rest not sent; the wire's failure.
        """
        cdef int sent = 0, moved, count = burst.count
        cdef uint64_t before = self.tx_packets
        deadline = None
        while sent < count:
            with nogil:
                moved = self.push(&burst.frames[sent], count - sent)
            sent += moved
            failure = self.wire.failure()
            if failure is not None:
                raise failure
            if sent == count:
                break
            if moved or deadline is None:
                deadline = time.monotonic() + patience
            elif time.monotonic() > deadline:
                raise TimeoutError(errno.ETIMEDOUT, f"{self.wire!r} took nothing for {patience:g} s")
            if self.poll() == 0 and not moved:
                time.sleep(50e-6)
        return self.tx_packets - before

    def close(self):
        """Detach from the wire; again is harmless."""
        if self.wire is not None and self.wire.owner is self:
            self.wire.detach()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    def __repr__(self):
        return f"<WirePort on {self.wire!r}: {self.tx_packets} packets sent, {self.rx_packets} received>"
