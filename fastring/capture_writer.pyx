"""CaptureWriter: the end of a path that writes what it is given to a pcap or pcapng file.

Records are put together in one buffer, the only copy made, and go out by write(2) when it is full. An error is kept, since a hot path
cannot raise: `deliver` returns -1, what could not be written is counted, and flush or close raises.
"""

import contextlib
import errno
import fcntl
import os
import stat
import struct
import time as wall

from cpython.bytes cimport PyBytes_AsString
from libc.errno cimport EAGAIN, EINTR, EIO
from libc.errno cimport errno as c_errno
from libc.stdint cimport INT64_MAX, INT64_MIN, UINT32_MAX
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

from fastring.burst cimport FRAME_MORE, NO_BUFFER, NO_IOVA

cdef extern from "<string.h>" nogil:
    size_t strnlen(const char* text, size_t most)

cdef extern from "<poll.h>" nogil:
    int POLLOUT
    struct pollfd:
        int fd
        short events
    int poll(pollfd* fds, unsigned long count, int timeout)

cdef extern from "<unistd.h>" nogil:
    ssize_t c_write "write"(int fd, const void* data, size_t count)
    int c_close "close"(int fd)

cdef enum:
    BUFFER = 1 << 20                # holds the largest record (snaplen and header) several times
    MAXIMUM_SNAPLEN = 262144        # libpcap's
    PCAP_RECORD = 16
    ENHANCED_PACKET = 6             # block type
    ENHANCED_OVERHEAD = 32          # its fields before the packet, and the length repeated behind
    ENHANCED_DATA = 28
    OPT_COMMENT = 1                 # options of any block, of an Enhanced Packet Block
    EPB_FLAGS = 2

cdef int64_t PCAP_TIME_END = <int64_t>1000000000 << 32      # ns: its seconds are an unsigned 32-bit number

# How a record starts.
cdef struct PcapRecord:
    uint32_t seconds, nanoseconds, caplen, wirelen

cdef struct EnhancedPacket:
    uint32_t type, length, interface, time_high, time_low, caplen, wirelen


cdef inline uint32_t comment_length(const char* comment) noexcept nogil:
    return <uint32_t>strnlen(comment, LONGEST_COMMENT)


cdef uint32_t options_length(uint32_t flags, const char* comment) noexcept nogil:
    """Bytes of the options of an Enhanced Packet Block, their end included; 0 if there are none."""
    cdef uint32_t length = 0
    if flags:
        length += 8
    if comment != NULL:
        length += 4 + (comment_length(comment) + 3 & ~<uint32_t>3)
    return length + 4 if length else 0


cdef void put_options(uint8_t* target, uint32_t flags, const char* comment) noexcept nogil:
    """Write them, as long as `options_length` says."""
    cdef uint16_t header[2]
    cdef uint32_t length
    memset(target, 0, options_length(flags, comment))
    if flags:
        header[0], header[1] = EPB_FLAGS, sizeof(flags)
        memcpy(target, header, sizeof(header))
        memcpy(target + sizeof(header), &flags, sizeof(flags))
        target += 8
    if comment != NULL:
        length = comment_length(comment)
        header[0], header[1] = OPT_COMMENT, <uint16_t>length
        memcpy(target, header, sizeof(header))
        memcpy(target + sizeof(header), comment, length)


def _standard_output():
    """A descriptor of its own for standard output, whatever that is: /dev/stdout would be opened anew, and a socket cannot be."""
    try:
        fd = fcntl.fcntl(1, fcntl.F_DUPFD_CLOEXEC, 3)
    except OSError as error:
        error.filename = "standard output"
        raise
    if os.isatty(fd):
        os.close(fd)
        raise ValueError("standard output is a terminal: pipe the capture on, or name a file")
    return fd


cdef class CaptureWriter(BurstSink):
    """Write packets to `path`, as pcap or pcapng with nanosecond time stamps, in this machine's byte order; `-` is standard output.

    `format`: "pcap" or "pcapng"; by default what the name ends in, else pcap. `snaplen`: bytes kept of a packet at most (up to
    262144). `clock`: stamps packets that carry no time (Frame.time 0). An existing file is emptied only once it is open and nobody
    reads it as a Capture or writes it; standard output is written to as it is, appended to where it was opened so.

    One thread at a time. Packets offered = packets + unstampable + lost. Raises OSError (with filename) if it cannot be opened, EBUSY if
    it is being read or written; ValueError for options that make no sense, and where standard output is a terminal.
    """

    def __cinit__(self):
        self.fd = -1

    def __init__(self, path, *, format=None, snaplen=MAXIMUM_SNAPLEN, linktype=1, Clock clock=None):
        if self.buffer != NULL:
            raise RuntimeError("a CaptureWriter is made once")
        if format is not None and format not in ("pcap", "pcapng"):
            raise ValueError(f"a capture's format is 'pcap' or 'pcapng', not {format!r}")
        if not 0 < snaplen <= MAXIMUM_SNAPLEN:
            raise ValueError(f"a snaplen is 1 to {MAXIMUM_SNAPLEN} bytes, not {snaplen}")
        if not 0 <= linktype <= 0xFFFF:
            raise ValueError(f"link types are 0 to 65535, not {linktype}")
        self.filename = os.fsdecode(path)
        self.format = format or ("pcapng" if self.filename.endswith(".pcapng") else "pcap")
        self.pcapng = self.format == "pcapng"
        self.snaplen = snaplen
        self.linktype = linktype
        self.clock = clock
        self.buffer = <uint8_t*>malloc(BUFFER)
        if self.buffer == NULL:
            raise MemoryError()
        self.fd = self._open()
        header = self._header()
        memcpy(self.buffer, PyBytes_AsString(header), len(header))
        self.used = len(header)
        self.flush()                # a full disk shows here and now

    def __dealloc__(self):
        if self.fd >= 0:
            self._drain()
            c_close(self.fd)
        free(self.buffer)

    def _open(self):
        self.standard = self.filename == "-"
        if self.standard:
            self.filename = "standard output"
            fd = _standard_output()
        else:
            fd = os.open(self.filename, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY, 0o666)
        try:
            if stat.S_ISREG(os.fstat(fd).st_mode):
                try:
                    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    raise OSError(errno.EBUSY, "a capture being read or written cannot be overwritten", self.filename) from None
                except OSError:
                    pass            # a file system without locks
                if not self.standard:
                    os.ftruncate(fd, 0)
        except BaseException:
            os.close(fd)
            raise
        return fd

    def _header(self):
        """What the file begins with: pcap's global header, or a section and the description of its only interface."""
        if not self.pcapng:
            return struct.pack("=IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, self.snaplen, self.linktype)
        section = struct.pack("=IIIHHqI", 0x0A0D0D0A, 28, 0x1A2B3C4D, 1, 0, -1, 28)
        if_tsresol = struct.pack("=HHBxxxHH", 9, 1, 9, 0, 0)            # 10^-9 s, and the end of the options
        return section + struct.pack("=IIHHI", 1, 32, self.linktype, 0, self.snaplen) + if_tsresol + struct.pack("=I", 32)

    cdef int deliver(self, Burst burst) noexcept nogil:
        """Write the burst's packets. -1 if any could not be; the others are written all the same."""
        cdef uint32_t first = 0, i
        cdef int outcome = 0
        for i in range(burst.count):
            if burst.frames[i].flags & FRAME_MORE and i + 1 < burst.count:
                continue
            if self._write_packet(burst.frames + first, i + 1 - first) < 0:
                outcome = -1
            first = i + 1
        if outcome < 0:
            with gil:
                self.error = self._kept()
        return outcome

    cdef int _write_packet(self, const Frame* frames, uint32_t pieces) noexcept nogil:
        return self.write_annotated(frames, pieces, 0, NULL)

    cdef int write_annotated(self, const Frame* frames, uint32_t pieces, uint32_t flags, const char* comment) noexcept nogil:
        """Buffer one packet of so many Frames, gathered; -1 and counted if that fails.

        `flags`, `comment`: the options epb_flags and opt_comment, if not 0 and NULL; a pcap file has none.
        """
        cdef uint64_t total = 0, wirelen = frames[0].wire_len
        cdef uint32_t caplen, left, length, i, options = options_length(flags, comment) if self.pcapng else 0
        cdef int64_t time = frames[0].time
        cdef uint8_t* target
        if time == 0 and self.clock is not None:
            time = self.clock.realtime()
        for i in range(pieces):
            total += frames[i].len
        if time < 0 or (time >= PCAP_TIME_END and not self.pcapng):
            if self.unreported == 0:
                self.refused_time = time
            self.unreported += 1
            self.unstampable += 1
            return -1
        if wirelen < total:
            wirelen = total if total < UINT32_MAX else UINT32_MAX
        caplen = <uint32_t>total if total < self.snaplen else self.snaplen
        if self.fd < 0 or self.io_errno or (self.used + ENHANCED_OVERHEAD + caplen + 3 + options > BUFFER and self._drain() < 0):
            self.lost += 1
            return -1
        target = self._begin_record(time, caplen, <uint32_t>wirelen, options)
        left = caplen
        for i in range(pieces):
            length = frames[i].len if frames[i].len < left else left
            memcpy(target, frames[i].data, length)
            target += length
            left -= length
        if options:
            put_options(target + (-caplen & 3), flags, comment)
        self.packets += 1
        self.buffered_packets += 1
        self.bytes += caplen
        self.buffered_bytes += caplen
        self.truncated += caplen < total
        return 0

    cdef uint8_t* _begin_record(self, int64_t time, uint32_t caplen, uint32_t wirelen, uint32_t options) noexcept nogil:
        """Take room for a record in the buffer and fill in what is around its bytes and options; return where these go."""
        cdef uint8_t* start = self.buffer + self.used
        cdef uint32_t padding = -caplen & 3
        cdef PcapRecord record
        cdef EnhancedPacket block
        if not self.pcapng:
            record = PcapRecord(<uint32_t>(time // 1000000000), <uint32_t>(time % 1000000000), caplen, wirelen)
            memcpy(start, &record, sizeof(record))
            self.used += PCAP_RECORD + caplen
            return start + PCAP_RECORD
        block = EnhancedPacket(ENHANCED_PACKET, ENHANCED_OVERHEAD + caplen + padding + options, 0, <uint32_t>(time >> 32), <uint32_t>time,
                               caplen, wirelen)
        memcpy(start, &block, sizeof(block))
        memset(start + ENHANCED_DATA + caplen, 0, padding)
        memcpy(start + block.length - sizeof(block.length), &block.length, sizeof(block.length))
        self.used += block.length
        return start + ENHANCED_DATA

    cdef int _drain(self) noexcept nogil:
        """Write the buffer out; -1 and io_errno set, for good, if that fails. What was in it then counts as lost."""
        cdef uint32_t done = 0
        cdef ssize_t written
        cdef pollfd room = pollfd(self.fd, POLLOUT)
        while done < self.used and not self.io_errno:
            written = c_write(self.fd, self.buffer + done, self.used - done)
            if written > 0:
                done += <uint32_t>written
            elif written == 0:
                self.io_errno = EIO         # no progress and no reason: never to be tried for ever
            elif c_errno == EAGAIN:         # standard output may be non-blocking: its other owners' choice
                poll(&room, 1, -1)
            elif c_errno != EINTR:
                self.io_errno = c_errno
        if self.io_errno:
            self.lost += self.buffered_packets
            self.packets -= self.buffered_packets
            self.bytes -= self.buffered_bytes
        self.used = 0
        self.buffered_packets = 0
        self.buffered_bytes = 0
        return -1 if self.io_errno else 0

    def _kept(self):
        """What went wrong and was not raised yet, as an exception, or None. An I/O error stays."""
        if self.io_errno:
            return OSError(self.io_errno, os.strerror(self.io_errno), self.filename)
        if self.unreported:
            last = "9223372036.854775807" if self.pcapng else "4294967295.999999999"
            return ValueError(f"{self.filename}: {self.unreported} packets left out, the first of time {self.refused_time} ns: "
                              f"{self.format} holds times from 0 to {last} s after 1970")
        return ValueError(f"the capture {self.filename} is closed") if self.fd < 0 else None

    def _check(self):
        """Raise what is kept; a packet left out is reported once."""
        kept = self._kept()
        self.unreported = 0
        if kept is not None:
            raise kept

    def write(self, packet, time=None, wire_len=None, *, direction=None, comment=None):
        """Write one packet (bytes-like). `time`: ns since 1970, by default now, by the clock if there is one.

        `wire_len`: its length on the wire, if it was captured short. `direction`: "in" or "out"; `comment`: text of up to 1024 bytes of
        UTF-8; pcapng alone has room for these. Raises OSError when writing fails, ValueError for what the format cannot hold.
        """
        cdef bytes text
        cdef uint32_t flags
        cdef const uint8_t[::1] view = memoryview(packet).cast("B")
        cdef Frame frame
        if time is None:
            time = wall.time_ns() if self.clock is None else self.clock.realtime()
        if not INT64_MIN <= time <= INT64_MAX:
            raise ValueError(f"{self.filename}: a packet's time is a signed 64-bit number of ns, not {time}")
        if not 0 <= (wire_len or 0) <= UINT32_MAX or view.shape[0] > UINT32_MAX:
            raise ValueError(f"{self.filename}: a packet has less than 2^32 bytes, not {max(wire_len or 0, view.shape[0])}")
        frame = Frame(self.buffer, NO_IOVA, time, <uint32_t>view.shape[0], NO_BUFFER, wire_len or 0, 0, 0)
        if view.shape[0]:
            frame.data = <uint8_t*>&view[0]
        if direction is not None and direction not in ("in", "out"):
            raise ValueError(f"a packet's direction is 'in' or 'out', not {direction!r}")
        if not self.pcapng and (direction is not None or comment is not None):
            raise ValueError(f"{self.filename}: pcap holds neither directions nor comments")
        text = b"" if comment is None else comment.encode()
        if len(text) > LONGEST_COMMENT or b"\0" in text:
            raise ValueError(f"{self.filename}: a packet's comment has up to {LONGEST_COMMENT} bytes, none of them 0")
        flags = {None: 0, "in": EPB_INBOUND, "out": EPB_OUTBOUND}[direction]
        if self.write_annotated(&frame, 1, flags, NULL if comment is None else PyBytes_AsString(text)) < 0:
            self._check()

    def on_burst(self, Burst burst not None):
        """Write a burst's packets: `deliver`, from Python. Raises as `flush`, if any could not be written."""
        if self.deliver(burst) < 0:
            self._check()

    def flush(self):
        """Hand everything to the system. Raises OSError (with filename) if writing failed, then or before.

        Raises ValueError if packets were left out since the last time it said so, because the format cannot hold their time.
        """
        with nogil:
            if self.fd >= 0:
                self._drain()
        self._check()

    def close(self):
        """Flush and close the file; again is harmless. Raises as `flush`, the file closed all the same."""
        cdef int fd = self.fd
        if fd < 0:
            return
        try:
            self.flush()
        finally:
            self.fd = -1
            if self.standard:       # it stays open elsewhere, and the lock with it
                with contextlib.suppress(OSError):
                    fcntl.flock(fd, fcntl.LOCK_UN)
            os.close(fd)

    @property
    def closed(self):
        """Whether close was called."""
        return self.fd < 0

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    def __repr__(self):
        state = "closed" if self.fd < 0 else os.strerror(self.io_errno) if self.io_errno else "open"
        return f"<CaptureWriter: {self.filename!r}, {self.format}, {state}, {self.packets} packets of {self.bytes} bytes>"
