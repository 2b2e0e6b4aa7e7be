"""CaptureSummary and the index: the two walks over a whole capture."""

from fastring.capture_records cimport GOT_EMPTY, GOT_FRAME, Record, next_record


cdef uint64_t fill_index(RecordReader* r, IndexEntry* entry, uint64_t most) noexcept nogil:
    """Describe up to `most` frames; return how many there were."""
    cdef Record record
    cdef uint64_t done = 0
    cdef int outcome
    while done < most:
        outcome = next_record(r, &record)
        if outcome == GOT_EMPTY:
            continue
        if outcome != GOT_FRAME:
            break
        entry[done] = IndexEntry(record.data - r.base, record.time, record.caplen, record.wirelen, record.interface, 0)
        done += 1
    return done


cdef class CaptureSummary:
    """What Capture.scan found. Lengths and times are None without a frame (times: without a stamped one).

    frames, bytes (captured), truncated (frames captured short), empty (records without a byte, not among frames), untimed (frames
    without a time stamp), first_time and last_time (ns since 1970, in the file's order), broken_off (None or CaptureError).
    """

    cdef int tally(self, RecordReader* r, uint64_t most) noexcept nogil:
        """Count up to `most` records: GOT_FRAME if there may be more, AT_END or FAILED."""
        cdef Record record
        cdef int outcome
        while most:
            most -= 1
            outcome = next_record(r, &record)
            if outcome == GOT_EMPTY:
                self.empty += 1
                continue
            if outcome != GOT_FRAME:
                return outcome
            if self.frames == 0 or record.caplen < self._shortest:
                self._shortest = record.caplen
            if record.caplen > self._longest:
                self._longest = record.caplen
            if not record.timed:
                self.untimed += 1
            else:
                if self.frames == self.untimed:
                    self._first_time = record.time
                self._last_time = record.time
            self.frames += 1
            self.bytes += record.caplen
            self.truncated += record.caplen < record.wirelen
        return GOT_FRAME

    @property
    def shortest(self):
        """Bytes of the shortest frame, as captured."""
        return self._shortest if self.frames else None

    @property
    def longest(self):
        """Bytes of the longest frame, as captured."""
        return self._longest if self.frames else None

    @property
    def first_time(self):
        """Time of the first stamped frame."""
        return self._first_time if self.frames > self.untimed else None

    @property
    def last_time(self):
        """Time of the last stamped frame."""
        return self._last_time if self.frames > self.untimed else None

    def __repr__(self):
        lengths = f" of {self._shortest} to {self._longest} bytes" if self.frames else ""
        span = f" in {(self._last_time - self._first_time) / 1e9:.6f} s" if self.frames > self.untimed else ""
        counts = (self.truncated, "truncated"), (self.empty, "empty"), (self.untimed, "untimed")
        extra = "".join(f", {count} {what}" for count, what in counts if count) + (", broken off" if self.broken_off else "")
        return f"<CaptureSummary: {self.frames} frames{lengths}, {self.bytes} bytes{span}{extra}>"
