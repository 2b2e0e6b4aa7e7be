"""Capture: a pcap or pcapng file mapped for reading, and the cursor that hands its frames on in bursts.

The file is mapped, never loaded: records are decoded where they lie and a Frame points into the mapping, so a capture larger than
memory is read in constant memory and without a copy. There is no index to build; one is made only when asked for.

A file that shrinks while it is mapped turns its last pages into SIGBUS, in whoever touches them. The reader looks at the
file's size before each burst and each window, and reports such a file; in what was handed out a moment before, zeroes stand for
the lost bytes (sigbus.h). Captures being read are flock()ed shared, and CaptureWriter refuses to overwrite them.

Prior art: libpcap (sf-pcap.c, sf-pcapng.c), whose arithmetic and tolerance this follows, and tcpreplay's preload.
"""

import os
import struct

from cpython.buffer cimport PyObject_GetBuffer
from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.exc cimport PyErr_CheckSignals
from libc.stdint cimport UINT64_MAX, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free
from libc.string cimport memset

from fastring.burst cimport NO_BUFFER, NO_IOVA, Frame
from fastring.capture_records cimport (
    AT_END, BROKEN_OFF, CAPTURED_FIRST, EITHER_FIRST, FAILED, GOT_EMPTY, GOT_FRAME, MAXIMUM_SNAPLEN, NO_MEMORY, NO_PROBLEM, ORIGINAL_FIRST,
    next_record, rewind_reader, still_whole, unharmed, whole_block,
)
from fastring.capture_summary cimport CaptureSummary, IndexEntry, fill_index

from fastring.capture_error import MODIFIED_PCAP, PCAP_MAGIC, SECTION_MAGIC, CaptureError, linktype_name, not_a_capture
from fastring.capture_spool import SPOOL_LIMIT, open_mappable, open_source

cdef enum:
    PCAP_HEADER = 24
    SLICE = 1 << 22             # records between two looks at pending signals

cdef class Capture:
    """A pcap or pcapng file, told apart by content; gzip of either, a FIFO, a device or standard input (`-`) is spooled first.

    `linktypes`: the link types taken (numbers of LINKTYPE_*), None for any. `spool_limit`: most bytes to spool;
    `spool_directory`: where (default: the system's temporary directory).
    Supports the buffer protocol (the whole file, read-only), e.g. for AddressSpace.map. Frames and cursors stay valid after close.
    Iterating yields (time in ns since 1970, packet) pairs. Any thread, one at a time; cursors are independent of each other.

    Raises CaptureError for what is no capture, or none of these link types, and OSError for what cannot be opened.
    """

    def __init__(self, path, *, linktypes=(1,), spool_directory=None, spool_limit=SPOOL_LIMIT):
        self.linktypes = None if linktypes is None else frozenset(linktypes)
        self._accept()
        self.filename, source = open_source(path)
        try:
            fd, self.compressed, self.cut_short = open_mappable(self.filename, source, spool_directory, spool_limit)
        finally:
            os.close(source)
        self._map(fd)
        head = bytes(self.data[:PCAP_HEADER])
        try:
            if head.startswith(SECTION_MAGIC):
                self._open_pcapng()
            else:
                self._open_pcap(head)
        except BaseException:
            self.mapping = None
            raise

    def _accept(self):
        memset(self.accepted, 0xFF if self.linktypes is None else 0, sizeof(self.accepted))
        for number in self.linktypes or ():
            if not 0 <= number <= 0xFFFF:
                raise ValueError(f"link types are 0 to 65535, not {number}")
            self.accepted[number >> 3] |= 1 << (number & 7)

    def _taken(self):
        return " or ".join(linktype_name(n) for n in sorted(self.linktypes or ())) or "none"

    def _map(self, fd):
        size = os.fstat(fd).st_size
        if not size:
            os.close(fd)
            raise self._refusal(0, "empty, and a capture starts with a header of at least 24 bytes")
        try:
            self.mapping = CaptureMapping(fd, size)
        except BaseException:
            os.close(fd)
            raise
        memset(&self.start, 0, sizeof(self.start))
        self.start.base = self.mapping.base
        self.start.size = size
        self.start.fd = fd
        self.start.shrunk = self.mapping.shrunk
        self.start.linktypes = self.accepted

    def _refusal(self, offset, reason):
        if self.cut_short:
            reason = f"{self.cut_short}: {reason}"
        if self.compressed:
            reason += " (offset after decompression)"
        return CaptureError(self.filename, offset, reason)

    def _broken_off_at(self, offset):
        """What to say of a compressed capture whose records end at `offset`: a CaptureError if it was cut short just there."""
        return self._refusal(offset, "the records before it are usable") if self.cut_short else None

    cdef object _error(self, RecordReader* r):
        """What stopped the reader, as an exception to raise."""
        reason = (<bytes>r.reason).decode().format(r.detail[0], r.detail[1], r.detail[2], accepted=self._taken(),
                                                   link=linktype_name(r.detail[0]))
        if r.problem == NO_MEMORY:
            return MemoryError(reason)
        if r.problem == BROKEN_OFF:
            reason += "; the records before it are usable"
        return self._refusal(r.problem_offset, reason)

    cdef int _open_pcap(self, bytes head) except -1:
        """Check a pcap's global header, as pcap_check_header of libpcap does."""
        for self.byteorder, order in (("little", "<"), ("big", ">")):
            magic = struct.unpack(order + "I", head[:4].ljust(4, b"\0"))[0]
            if magic in PCAP_MAGIC or magic in MODIFIED_PCAP:
                break
        else:
            raise self._refusal(0, not_a_capture(bytes(self.data[:64])))
        if magic in MODIFIED_PCAP:
            raise self._refusal(0, f"magic {magic:#010x} is {MODIFIED_PCAP[magic]}, and only the standard pcap "
                                   "(0xa1b2c3d4, or 0xa1b23c4d with nanoseconds) and pcapng can be read")
        if len(head) < PCAP_HEADER:
            raise self._refusal(0, f"the file header breaks off: {len(head)} of its {PCAP_HEADER} bytes are there")
        major, minor, snaplen, field = struct.unpack(order + "4xHH8xII", head)
        if not (major == 2 and minor <= 4 or major == 543 and minor == 0):
            raise self._refusal(4, f"pcap version {major}.{minor}, and 2.0 to 2.4 can be read")
        if snaplen == 0:
            raise self._refusal(16, f"snapshot length 0, and it is 1 to {MAXIMUM_SNAPLEN}")
        if field & 0x03FF0000:
            raise self._refusal(20, f"reserved bits set in the link type field {field:#010x}, and bits 16 to 25 are 0")
        self.linktype = field & 0xFFFF
        if self.linktypes is not None and self.linktype not in self.linktypes:
            raise self._refusal(20, f"link type {linktype_name(self.linktype)}, and only {self._taken()} is taken here")
        self.format = "pcap"
        self.version = (major, minor)
        self.snaplen = snaplen
        self.fcs_length = 2 * (field >> 28) if field & 0x04000000 else None        # counted in 16-bit words
        self.start.swapped = self.byteorder == "big"
        self.start.unit = PCAP_MAGIC[magic]
        self.start.snaplen = min(snaplen, MAXIMUM_SNAPLEN)
        self.start.order = CAPTURED_FIRST if major == 2 and minor == 4 else EITHER_FIRST if major == 2 and minor == 3 else ORIGINAL_FIRST
        self.start.first_record = PCAP_HEADER
        rewind_reader(&self.start)
        return 0

    cdef int _open_pcapng(self) except -1:
        """Check the first section header."""
        self.start.pcapng = True
        if not whole_block(&self.start):
            if self.start.problem == BROKEN_OFF:
                raise self._refusal(0, f"the section header breaks off: {self.size} bytes are there, and one has at least 28")
            raise self._error(&self.start)
        self.byteorder = "big" if self.start.swapped else "little"
        self.version = struct.unpack(">HH" if self.start.swapped else "<HH", self.data[12:16])
        self.format = "pcapng"
        rewind_reader(&self.start)
        return 0

    @property
    def data(self):
        """The whole file (decompressed) as a read-only memoryview."""
        return memoryview(self._opened())

    @property
    def size(self):
        """Bytes of the file, decompressed."""
        return self.start.size

    @property
    def closed(self):
        """Whether close was called."""
        return self.mapping is None

    def _opened(self):
        if self.mapping is None:
            raise ValueError(f"the capture {self.filename} is closed")
        return self.mapping

    def scan(self):
        """Walk all records once, GIL released; return a CaptureSummary.

        A file that ends inside a record is told by `broken_off`. Raises CaptureError at any other damage.
        """
        cdef CaptureMapping _held = self._opened()          # against a close meanwhile
        cdef CaptureSummary summary = CaptureSummary()
        cdef RecordReader reader = self.start
        cdef int outcome
        try:
            while True:
                with nogil:
                    outcome = summary.tally(&reader, SLICE)
                PyErr_CheckSignals()
                if not still_whole(&reader):
                    raise self._error(&reader)
                if outcome == FAILED and reader.problem != BROKEN_OFF:
                    raise self._error(&reader)
                if outcome == FAILED:
                    summary.broken_off = self._error(&reader)
                elif outcome == AT_END:
                    summary.broken_off = self._broken_off_at(reader.offset)
                if outcome != GOT_FRAME:
                    return summary
        finally:
            free(reader.interfaces)

    def index(self):
        """Every frame a cursor would yield, as a NumPy structured array: offset (of its bytes in `data`), time, caplen, wirelen, interface.

        32 bytes a frame. `interface` counts from 0 in each section. Raises CaptureError as `scan`, whose walk comes first.
        """
        import numpy                # not for those who only read
        cdef uint64_t count = self.scan().frames, done
        table = numpy.empty(count, numpy.dtype([("offset", "u8"), ("time", "i8"), ("caplen", "u4"), ("wirelen", "u4"),
                                                ("interface", "u4")], align=True))
        cdef uint8_t[::1] raw = table.view("u1")
        cdef RecordReader reader = self.start
        cdef CaptureMapping _held = self._opened()          # against a close meanwhile
        if count == 0:
            return table
        try:
            with nogil:
                done = fill_index(&reader, <IndexEntry*>&raw[0], count)
            if not still_whole(&reader):
                raise self._error(&reader)
        finally:
            free(reader.interfaces)
        return table[:done]

    def preload(self):
        """Read the whole file into memory now, and lock it there if that is allowed (RLIMIT_MEMLOCK); return whether it is.

        Raises OSError if it cannot be read, or there is no memory for it.
        """
        try:
            return self._opened().preload()
        except OSError as error:
            error.filename = self.filename
            raise

    def cursor(self, *, limit=None, loop=1):
        """A CaptureCursor at the first frame: at most `limit` frames (None: all) in `loop` passes over the file (0: for ever)."""
        return CaptureCursor(self, limit=limit, loop=loop)

    def __iter__(self):
        return self.cursor()

    def __getbuffer__(self, Py_buffer* view, int flags):
        PyObject_GetBuffer(self._opened(), view, flags)

    def close(self):
        """Let go of the file; again is harmless. It stays mapped while cursors and bursts of it live."""
        self.mapping = None

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    def __repr__(self):
        if self.mapping is None:
            return f"<Capture: {self.filename!r}, closed>"
        link = "" if self.linktype is None else f" of {linktype_name(self.linktype)}"
        return f"<Capture: {self.filename!r}, {self.format}{link}, {self.byteorder}-endian, {self.size} bytes>"


cdef class CaptureCursor(BurstSource):
    """A walk over a capture's frames, in the order of the file: what replay is fed from. Capture.cursor() makes these.

    `fill` points each Frame into the mapping and gives it the address `dma_base` + its offset in the file, if that was set.
    Records without a byte are left out, and counted in `empty`. A file that breaks off ends early, and `broken_off` tells; other
    damage makes `fill` return -1, once what lies before it was delivered, and `error` says what it is.
    One thread at a time. Iterating yields (time in ns since 1970, packet) pairs.
    """

    def __init__(self, Capture capture not None, *, limit=None, loop=1):
        if loop < 0 or (limit is not None and limit < 0):
            raise ValueError(f"a cursor makes 0 (for ever) or more passes for 0 or more frames, not {loop} for {limit}")
        self.mapping = capture._opened()
        self.capture = capture
        free(self.reader.interfaces)
        self.reader = capture.start
        self.limit = UINT64_MAX if limit is None else limit
        self.loop = loop

    def __dealloc__(self):
        free(self.reader.interfaces)

    cdef int next_frame(self, Record* record) noexcept nogil:
        """The next frame, over the ends of passes: GOT_FRAME, AT_END for good, or FAILED."""
        cdef int outcome
        while not self.finished and self.frames < self.limit:
            outcome = next_record(&self.reader, record)
            if outcome == GOT_FRAME:
                self.frames += 1
                return GOT_FRAME
            if not unharmed(&self.reader):          # zeroes look like an empty record, or damage
                return FAILED
            if outcome == GOT_EMPTY:
                self.empty += 1
                continue
            if outcome == FAILED and self.reader.problem != BROKEN_OFF:
                return FAILED
            self.loops += 1
            self.finished = self.loops == self.loop or self.frames == self.frames_before     # a pass without a frame: none ever
            self.frames_before = self.frames
            if not self.finished:
                rewind_reader(&self.reader)
        return AT_END

    cdef int fill(self, Burst burst, uint32_t most) noexcept nogil:
        cdef Record record
        cdef Frame* frame = burst.frames
        cdef uint32_t count = 0
        cdef int outcome = AT_END
        burst.release()
        if not still_whole(&self.reader):
            return FAILED
        if <void*>burst.keepalive != <void*>self.mapping:
            with gil:
                burst.keepalive = self.mapping
        if most > burst.capacity:
            most = burst.capacity
        while count < most:
            outcome = self.next_frame(&record)
            if outcome != GOT_FRAME:
                break
            frame[count] = Frame(<uint8_t*>record.data, NO_IOVA, record.time, record.caplen, NO_BUFFER, record.wirelen, 0, self.queue)
            if self.mapped_for_dma:
                frame[count].iova = self.base_iova + (record.data - self.reader.base)
            count += 1
        burst.count = count
        return FAILED if outcome == FAILED and count == 0 else <int>count

    def __iter__(self):
        return self

    def __next__(self):
        cdef Record record
        cdef int outcome = self.next_frame(&record) if still_whole(&self.reader) else FAILED
        if outcome == FAILED:
            raise self.error
        if outcome == AT_END:
            raise StopIteration
        packet = PyBytes_FromStringAndSize(<const char*>record.data, record.caplen)
        if not unharmed(&self.reader):
            raise self.error
        return record.time, packet

    def rewind(self):
        """Back to the first frame of the first pass; counters start again."""
        rewind_reader(&self.reader)
        self.frames = self.frames_before = self.loops = self.empty = 0
        self.finished = False

    @property
    def position(self):
        """Offset of the next record in the file (decompressed)."""
        return self.reader.offset

    @property
    def error(self):
        """The CaptureError that stopped the cursor, or None."""
        if self.reader.problem in (NO_PROBLEM, BROKEN_OFF):
            return None
        return self.capture._error(&self.reader)

    @property
    def broken_off(self):
        """The CaptureError of a file that ends inside a record, once the cursor got there at the end of its last pass; else None."""
        if self.reader.problem == BROKEN_OFF:
            return self.capture._error(&self.reader)
        return self.capture._broken_off_at(self.reader.offset) if self.finished else None

    @property
    def dma_base(self):
        """Bus address at which the file (the Capture, as a buffer) is mapped for DMA, or None. Set it before filling."""
        return self.base_iova if self.mapped_for_dma else None

    @dma_base.setter
    def dma_base(self, value):
        if value is not None:
            if not 0 <= value < UINT64_MAX - self.reader.size:
                raise ValueError(f"{self.reader.size} bytes at bus address {value:#x} do not fit into 64 bits")
            self.base_iova = value
        self.mapped_for_dma = value is not None

    def __repr__(self):
        state = "finished" if self.finished else f"at offset {self.position}"
        return f"<CaptureCursor: {self.capture.filename!r}, {self.frames} frames in {self.loops} whole passes, {state}>"
