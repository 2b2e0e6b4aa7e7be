"""MergedCursors: two captures as one, by time: what a network tap wrote into two files, a direction each (tcpreplay's --dualfile).

Each file keeps its own order; of the two frames that come next, the earlier one goes first, and the first file's when both have the
same time.
"""

from cython cimport final
from libc.stdint cimport UINT64_MAX, uint32_t

from fastring.burst cimport Burst, BurstSource
from fastring.capture cimport CaptureCursor

cdef enum:
    AHEAD = 128                     # frames read of each file


@final
cdef class MergedCursors(BurstSource):
    """The frames of two cursors in the order of their time, at most `limit`; those of `second` are for queue 1. See BurstSource.

    The cursors are its own from now on. When one of them fails, `fill` returns -1 as soon as its frames are needed, and `error` tells.
    """

    def __init__(self, CaptureCursor first not None, CaptureCursor second not None, *, limit=None):
        self.first = first
        self.second = second
        self.first.queue = 0
        self.second.queue = 1
        self.first_burst = Burst(AHEAD)
        self.second_burst = Burst(AHEAD)
        self.limit = UINT64_MAX if limit is None else limit

    cdef int refill(self) noexcept nogil:
        """Have the next frame of each cursor at hand, unless it ended. Returns -1 when one of them failed."""
        cdef int got
        if self.first_next == self.first_burst.count and not self.first_ended:
            self.first_next = 0
            got = self.first.fill(self.first_burst, AHEAD)
            if got < 0:
                return got
            self.first_ended = got == 0
        if self.second_next == self.second_burst.count and not self.second_ended:
            self.second_next = 0
            got = self.second.fill(self.second_burst, AHEAD)
            if got < 0:
                return got
            self.second_ended = got == 0
        return 0

    cdef int fill(self, Burst burst, uint32_t most) noexcept nogil:
        cdef uint32_t count = 0
        if <void*>burst.keepalive != <void*>self:
            with gil:
                burst.keepalive = self
        if most > burst.capacity:
            most = burst.capacity
        while count < most and self.frames < self.limit:
            if self.refill() < 0:
                if count == 0:
                    return -1
                break
            if self.first_ended and self.second_ended:
                break
            if self.second_ended or (not self.first_ended and self.first_burst.frames[self.first_next].time
                                     <= self.second_burst.frames[self.second_next].time):
                burst.frames[count] = self.first_burst.frames[self.first_next]
                self.first_next += 1
            else:
                burst.frames[count] = self.second_burst.frames[self.second_next]
                self.second_next += 1
            count += 1
            self.frames += 1
        burst.count = count
        return <int>count

    @property
    def error(self):
        """Why `fill` failed, an exception to raise, or None."""
        return self.first.error if self.first.error is not None else self.second.error

    def __repr__(self):
        return f"<MergedCursors: {self.frames} frames of {self.first.capture.filename!r} and {self.second.capture.filename!r}>"
