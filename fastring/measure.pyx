"""MeasuringSink: what passes through it to another sink, by size and by the time between two packets, in histograms."""

from libc.stdint cimport int64_t, uint32_t, uint64_t

from fastring.burst cimport FRAME_MORE, Burst, Frame
from fastring.histogram cimport record


cdef class MeasuringSink(BurstSink):
    """Pass bursts on to `inner`; count the packets' sizes in bytes, and the gaps between their time stamps in ns.

    A packet without a time stamp, or from before the one ahead of it, has no gap. Thread role as the inner sink's.
    """

    def __init__(self, BurstSink inner not None):
        self.inner = inner
        self.sizes = Histogram()
        self.gaps = Histogram()

    cdef int deliver(self, Burst burst) noexcept nogil:
        cdef uint64_t size = 0
        cdef int64_t time
        cdef const Frame* frame
        cdef uint32_t i
        cdef int status
        for i in range(burst.count):
            frame = &burst.frames[i]
            if size == 0:
                time = frame.time
                if time and self.last and time >= self.last:
                    record(&self.gaps.counts, <uint64_t>(time - self.last))
                self.last = time
            size += frame.len
            if not frame.flags & FRAME_MORE:
                record(&self.sizes.counts, size)
                size = 0
        status = self.inner.deliver(burst)
        if status < 0:
            with gil:
                self.error, self.inner.error = self.inner.error, None
        return status

    def __repr__(self):
        return f"<MeasuringSink: {self.sizes.total} packets, to {self.inner!r}>"
