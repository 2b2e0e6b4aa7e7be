"""CaptureRing: packets into one capture file after another, by size and time, as `tcpdump -C -G -W` and dumpcap's ring buffer.

A file is looked at before each packet, as tcpdump does: one that has grown past `file_bytes`, or whose first packet is `file_ns` older, is
closed, and the packet is the next one's first. So no file is without a packet, and times are the packets' own.
"""

from libc.stdint cimport UINT64_MAX
from libc.string cimport memcpy

from fastring.burst cimport FRAME_MORE

cdef enum:
    PCAP_HEADER = 24
    PCAP_RECORD = 16
    PCAPNG_HEADER = 72              # a section, and its interface with a time resolution
    PCAPNG_RECORD = 32


cdef class CaptureRing(BurstSink):
    """Writes to what `next_file(time)` returns, a CaptureWriter for the file whose first packet is of this time; None ends it.

    The first is asked for at once, with time 0. `file_bytes`, `file_ns`: 0 for no limit. `count`: packets in all (None: any).
    Packets offered = `packets` + the sum of `drops` + `beyond`. One thread. What a file raises when it is opened or closed is kept
    in `error`, for whoever runs the loop. Raises what opening the first does; ValueError for limits below 0.
    """

    def __init__(self, next_file, *, file_bytes=0, file_ns=0, count=None):
        if self.part is not None:
            raise RuntimeError("a CaptureRing is made once")
        if not all(0 <= limit < 2**63 for limit in (file_bytes, file_ns, count or 0)):
            raise ValueError(f"limits are 0 to 2^63 - 1 bytes, ns and packets, not {file_bytes}, {file_ns}, {count}")
        self.next_file = next_file
        self.file_bytes = file_bytes
        self.file_ns = file_ns
        self.limit = UINT64_MAX if count is None else count
        self.part = Burst(256)
        self._open(0)

    def _open(self, time):
        """The next file; its time begins with its first packet."""
        writer = self.next_file(time)
        self.ended = writer is None
        self.writer = writer
        self.size = 0 if writer is None else PCAPNG_HEADER if writer.format == "pcapng" else PCAP_HEADER
        self.began = 0

    def _close_file(self):
        """Close the file at hand, and add up what became of its packets."""
        cdef CaptureWriter writer = self.writer
        if writer is None:
            return
        self.writer = None
        try:
            writer.close()
        finally:
            self.packets_before += writer.packets
            self.bytes_before += writer.bytes
            self.truncated_before += writer.truncated
            self.lost_before += writer.lost
            self.unstampable_before += writer.unstampable

    cdef bint is_over(self, int64_t time) noexcept nogil:
        """Whether a packet of this time belongs to the next file."""
        if self.began == 0:
            return False                    # it has none yet
        return (self.file_bytes and self.size > self.file_bytes) or (self.file_ns and time - self.began >= self.file_ns)

    cdef bint is_full(self) noexcept nogil:
        return self.ended or self.offered == self.limit

    cdef uint32_t fitting(self, Burst burst, uint32_t start) noexcept nogil:
        """End of the run of whole packets from Frame `start` that go into the file at hand and are still wanted; their bytes are added."""
        cdef uint32_t i = start, end = start, snaplen = self.writer.snaplen
        cdef uint64_t length = 0
        cdef bint pcapng = self.writer.pcapng
        while i < burst.count and i - start < self.part.capacity:
            if i == end and (self.is_over(burst.frames[i].time) or self.offered == self.limit):
                break
            length += burst.frames[i].len
            i += 1
            if burst.frames[i - 1].flags & FRAME_MORE and i < burst.count:
                continue
            if self.began == 0:
                self.began = burst.frames[end].time if burst.frames[end].time else 1
            if length > snaplen:
                length = snaplen
            self.size += PCAPNG_RECORD + (length + 3 & ~<uint64_t>3) if pcapng else PCAP_RECORD + length
            self.offered += 1
            length = 0
            end = i
        return end

    cdef int change_file(self, int64_t time) noexcept nogil:
        """Close this file and open the next; -1 if either failed, or there is none."""
        with gil:
            try:
                self._close_file()
                self._open(time)
            except BaseException as error:  # a hot path cannot raise
                self.error = error
                return -1
            return -1 if self.writer is None else 0

    cdef int deliver(self, Burst burst) noexcept nogil:
        """Write the burst's packets. -1 if any could not be."""
        cdef uint32_t start = 0, end
        cdef int outcome = 0
        if self.part is None:
            return -1                       # never initialised
        while start < burst.count:
            if not self.is_full() and (self.writer is None or self.is_over(burst.frames[start].time)):
                if self.change_file(burst.frames[start].time) < 0 and not self.ended:
                    self.refused += _packets(burst, start)
                    return -1
            if self.is_full():
                self.beyond += _packets(burst, start)
                break
            end = self.fitting(burst, start)
            if end == start:                # one packet of more Frames than fit
                end = burst.count
                self.refused += _packets(burst, start)
                return -1
            memcpy(self.part.frames, &burst.frames[start], (end - start) * sizeof(Frame))
            self.part.count = end - start
            if self.writer.deliver(self.part) < 0:
                outcome = -1
                with gil:
                    self.error = self.writer.error
            self.part.count = 0
            start = end
        return outcome

    @property
    def packets(self):
        """Packets written, in all files."""
        return self.packets_before + (0 if self.writer is None else self.writer.packets)

    @property
    def bytes(self):
        """Their bytes, without what is around them."""
        return self.bytes_before + (0 if self.writer is None else self.writer.bytes)

    @property
    def truncated(self):
        """Packets cut to the snaplen."""
        return self.truncated_before + (0 if self.writer is None else self.writer.truncated)

    @property
    def drops(self):
        """Packets that were not written though wanted, by reason."""
        cdef CaptureWriter writer = self.writer
        counts = {
            "write_failed": self.lost_before + self.refused + (0 if writer is None else writer.lost),
            "time_not_writable": self.unstampable_before + (0 if writer is None else writer.unstampable),
        }
        return {reason: count for reason, count in counts.items() if count}

    @property
    def full(self):
        """Whether it wants nothing more."""
        return self.is_full()

    def flush(self):
        """Hand what is written to the system. Raises as CaptureWriter's."""
        if self.writer is not None:
            self.writer.flush()

    def close(self):
        """Close the last file; again is harmless. Raises as CaptureWriter's."""
        self.ended = True
        self._close_file()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    def __repr__(self):
        return f"<CaptureRing: {self.packets} packets written, now to {self.writer!r}>"


cdef uint64_t _packets(Burst burst, uint32_t start) noexcept nogil:
    """Packets from Frame `start` on."""
    cdef uint64_t packets = 0
    cdef uint32_t i
    for i in range(start, burst.count):
        packets += not burst.frames[i].flags & FRAME_MORE
    return packets
