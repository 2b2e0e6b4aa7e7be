"""TeeWire: what passes a wire, recorded in a pcapng file with each packet's direction, and with a comment on those that were lost."""

from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdio cimport snprintf
from libc.string cimport memset

from fastring.burst cimport FRAME_ALIGNMENT, FRAME_BAD_CRC, FRAME_MORE, FRAME_SEQUENCE, FRAME_SYMBOL, Frame
from fastring.capture_writer cimport EPB_INBOUND, EPB_OUTBOUND
from fastring.wire cimport Wire

cdef enum:
    PIECES = 256                    # of a packet that is recorded whole


cdef uint32_t epb_errors(uint32_t flags) noexcept nogil:
    """Frame flags as the link-layer errors of epb_flags."""
    cdef uint32_t errors = 0
    if flags & FRAME_BAD_CRC:
        errors |= <uint32_t>1 << 24
    if flags & FRAME_ALIGNMENT:
        errors |= <uint32_t>1 << 28
    if flags & FRAME_SEQUENCE:
        errors |= <uint32_t>1 << 29
    if flags & FRAME_SYMBOL:
        errors |= <uint32_t>1 << 31
    return errors


cdef class TeeWire(WrapperWire):
    """`wire`, with all that passes recorded by `writer`, a CaptureWriter for pcapng: what was taken, once, whichever way it went.

    A packet from the card is outbound, one to it inbound. One that the wire lost and can name has the comment "dropped: REASON"; one lost
    after it had waited in the wire is recorded then once more. `clock`: stamps what has no time. What cannot be written is counted in
    `unrecorded` and raised by `close`, which closes the writer as well. Raises ValueError for a writer of pcap.
    """

    def __init__(self, Wire wire not None, CaptureWriter writer not None, *, Clock clock not None):
        if writer.format != "pcapng":
            raise ValueError(f"{writer.filename}: pcap holds no directions: a tee writes pcapng")
        super().__init__(wire)
        self.writer = writer
        self.clock = clock

    cdef int transmit(self, Frame* frames, int n) noexcept nogil:
        cdef int done = 0, end, sent
        while done < n:
            end = done + 1
            while end < n and (end - done < SHOWN // 2 or frames[end - 1].flags & FRAME_MORE):
                end += 1
            sent = self.send_some(frames + done, end - done)
            done += sent
            if done < end:
                break
        return done

    cdef int send_some(self, Frame* frames, int n) noexcept nogil:
        """Send, and record what was taken. An answer may come, and be answered, from inside."""
        cdef const char* reasons[SHOWN]
        cdef const Frame* outer = self.shown
        cdef int outer_count = self.shown_count, sent
        cdef const char** outer_reasons = self.reasons
        cdef int64_t now = self.clock.realtime() if self.clock is not None else 0
        memset(reasons, 0, sizeof(reasons))
        self.shown, self.shown_count, self.reasons = frames, n if n < SHOWN else SHOWN, reasons
        sent = WrapperWire.transmit(self, frames, n)
        self.shown, self.shown_count, self.reasons = outer, outer_count, outer_reasons
        self.record(frames, sent, now, EPB_OUTBOUND, reasons)
        return sent

    cdef int arrive(self, Frame* frames, int n, bint may_refuse) noexcept nogil:
        cdef int64_t now = self.clock.realtime() if self.clock is not None else 0
        cdef int taken = self.deliver(frames, n, may_refuse)
        self.record(frames, taken, now, EPB_INBOUND, NULL)
        return taken

    cdef void inner_dropped(self, const Frame* frames, int n, const char* reason, bint arriving) noexcept nogil:
        cdef int64_t now = self.clock.realtime()
        cdef uint64_t direction = EPB_INBOUND if arriving else EPB_OUTBOUND
        cdef int first = 0, end
        while first < n:
            end = first + 1
            while end < n and frames[end - 1].flags & FRAME_MORE:
                end += 1
            if self.shown <= frames + first < self.shown + self.shown_count:
                self.reasons[frames + first - self.shown] = reason
            else:
                self.record_one(frames + first, end - first, now, direction, reason)
            first = end
        WrapperWire.inner_dropped(self, frames, n, reason, arriving)

    cdef void record(self, const Frame* frames, int n, int64_t time, uint64_t direction, const char** reasons) noexcept nogil:
        cdef int first = 0, end
        while first < n:
            end = first + 1
            while end < n and frames[end - 1].flags & FRAME_MORE:
                end += 1
            self.record_one(frames + first, end - first, time, direction, reasons[first] if reasons != NULL and first < SHOWN else NULL)
            first = end

    cdef void record_one(self, const Frame* frames, int n, int64_t time, uint64_t direction, const char* reason) noexcept nogil:
        """Write a packet of n Frames; `reason`: why it was lost, or NULL."""
        cdef Frame pieces[PIECES]
        cdef char comment[80]
        cdef uint32_t flags, i, count = <uint32_t>n if n < PIECES else PIECES
        if self.writer is None:
            return
        for i in range(count):
            pieces[i] = frames[i]
        if direction == EPB_OUTBOUND:           # the card fills in data, len and flags alone
            pieces[0].time = pieces[0].wire_len = 0
        if n > PIECES:                          # recorded as far as they go
            pieces[0].wire_len = 0
            for i in range(<uint32_t>n):
                pieces[0].wire_len += frames[i].len
        if pieces[0].time == 0:
            pieces[0].time = time
        if reason != NULL:
            snprintf(comment, sizeof(comment), "dropped: %s", reason)
        flags = <uint32_t>direction | epb_errors(frames[n - 1].flags)
        if self.writer.write_annotated(pieces, count, flags, comment if reason != NULL else NULL) < 0:
            self.unrecorded += 1

    def close(self):
        """Close the wire, then the file. Raises OSError if something could not be written."""
        try:
            super().close()
        finally:
            if self.writer is not None:
                self.writer.close()
