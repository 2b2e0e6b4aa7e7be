"""Filter expressions as tcpdump has them, compiled and run by libpcap, which is opened when the first is compiled.

A Program runs without the GIL through a pointer to pcap_offline_filter. It sees a packet in one piece: one that came in pieces is put
together first. What does not pass is counted, never just gone.
"""

import ctypes
import ctypes.util
import errno
import functools
import os
import struct

from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.exc cimport PyErr_CheckSignals
from libc.stdint cimport UINT64_MAX
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

from fastring.burst cimport FRAME_MORE, NO_BUFFER

NAMES = ("libpcap.so.0.8", "libpcap.so.1")      # Debian's, and everybody else's
SO_ATTACH_FILTER = 26                           # <asm-generic/socket.h>; the socket module lacks it

cdef enum:
    INSTRUCTION = 8                 # bytes of a struct bpf_insn, which is the kernel's struct sock_filter
    PATIENCE = 4096                 # bursts without a match, then a look at signals


@functools.cache
def libpcap():
    """libpcap by ctypes; raises OSError if it is not installed."""
    for name in (*NAMES, ctypes.util.find_library("pcap")):
        if name is None:
            continue
        try:
            library = ctypes.CDLL(name)
        except OSError:
            continue
        library.pcap_open_dead.restype = ctypes.c_void_p
        library.pcap_open_dead.argtypes = [ctypes.c_int, ctypes.c_int]
        library.pcap_compile.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int, ctypes.c_uint32]
        library.pcap_geterr.restype = ctypes.c_char_p
        library.pcap_geterr.argtypes = [ctypes.c_void_p]
        library.pcap_close.argtypes = [ctypes.c_void_p]
        library.pcap_close.restype = None
        library.pcap_freecode.argtypes = [ctypes.c_void_p]
        library.pcap_freecode.restype = None
        return library
    raise OSError(errno.ENOENT, "filter expressions need libpcap: apt-get install libpcap0.8")


cdef class Program:
    """A filter expression (pcap-filter(7)), compiled for packets of `linktype` (a DLT_ number; 1: Ethernet) and at most `snaplen` bytes.

    Immutable: it may run on any threads at once, without the GIL. Names of hosts are looked up, as tcpdump does.
    Raises ValueError for an expression that libpcap refuses, with what it says; OSError if there is no libpcap.
    """

    def __init__(self, str expression not None, *, int linktype=1, int snaplen=262144, bint optimize=True):
        if self.run != NULL:
            raise RuntimeError("a Program is compiled once")
        if "\0" in expression:
            raise ValueError(f"filter {expression!r}: it has a byte 0 in it")
        library = libpcap()
        self.expression = expression
        self.linktype = linktype
        dead = library.pcap_open_dead(linktype, snaplen)
        if not dead:
            raise MemoryError()
        try:
            if library.pcap_compile(dead, <size_t>&self.program, os.fsencode(expression), optimize, 0xFFFFFFFF) != 0:
                reason = library.pcap_geterr(dead).decode(errors="replace")
                raise ValueError(f"filter {expression!r}: {reason}")
        finally:
            library.pcap_close(dead)
        self.free = <free_code><size_t>ctypes.cast(library.pcap_freecode, ctypes.c_void_p).value
        self.run = <offline_filter><size_t>ctypes.cast(library.pcap_offline_filter, ctypes.c_void_p).value

    def __dealloc__(self):
        if self.program.bf_insns != NULL:
            self.free(&self.program)

    @property
    def instructions(self):
        """The compiled program: struct sock_filter of the kernel, 8 bytes each."""
        return PyBytes_FromStringAndSize(<const char*>self.program.bf_insns, <Py_ssize_t>self.program.bf_len * INSTRUCTION)

    def attach(self, socket):
        """Let the kernel filter what a socket receives (SO_ATTACH_FILTER). VLAN tags that the kernel took off are not seen there.

        Raises OSError as setsockopt(2).
        """
        instructions = ctypes.create_string_buffer(self.instructions, max(len(self.instructions), 1))
        program = struct.pack("HP", self.program.bf_len, ctypes.addressof(instructions))
        socket.setsockopt(1, SO_ATTACH_FILTER, program)         # SOL_SOCKET

    def matches(self, const uint8_t[::1] packet not None, wire_len=None):
        """Whether a packet passes; `wire_len`: its length on the wire, if it was captured short."""
        cdef pcap_pkthdr header
        cdef const uint8_t* data = &packet[0] if packet.shape[0] else <const uint8_t*>""
        header.caplen = packet.shape[0]
        header.len = packet.shape[0] if wire_len is None else wire_len
        return self.run(&self.program, &header, data) != 0

    def __repr__(self):
        return f"<Program: {self.expression!r}, {self.program.bf_len} instructions>"


cdef class Matcher:
    """Asks a Program about packets that may be in pieces. One thread at a time."""

    def __init__(self, Program program not None):
        self.program = program

    def __dealloc__(self):
        free(self.whole)

    cdef bint gather(self, const Frame* pieces, uint32_t n, uint64_t length) noexcept nogil:
        """Put a packet together; False without memory for it."""
        cdef uint32_t i
        cdef uint8_t* target
        if length > self.size:
            free(self.whole)
            self.whole = <uint8_t*>malloc(length)
            self.size = length if self.whole != NULL else 0
        if self.whole == NULL:
            return False
        target = self.whole
        for i in range(n):
            memcpy(target, pieces[i].data, pieces[i].len)
            target += pieces[i].len
        return True

    cdef bint matches(self, const Frame* pieces, uint32_t n) noexcept nogil:
        """Whether the packet of n pieces passes; one that there is no memory for does not."""
        cdef pcap_pkthdr header
        cdef const uint8_t* data = pieces.data
        cdef uint64_t length = 0
        cdef uint32_t i
        for i in range(n):
            length += pieces[i].len
        if n > 1:
            if not self.gather(pieces, n, length):
                return False
            data = self.whole
        header.caplen = <uint32_t>length
        header.len = pieces.wire_len if pieces.wire_len > length else <uint32_t>length
        return self.program.run(&self.program.program, &header, data) != 0


cdef class FilterSource(BurstSource):
    """The packets of `source` that `program` lets pass, where they lie; with `limit`, the first so many, and no more are asked for.

    One thread at a time; `error` is the source's.
    """

    def __init__(self, BurstSource source not None, Program program not None, *, limit=None):
        self.source = source
        self.matcher = Matcher(program)
        self.limit = UINT64_MAX if limit is None else limit

    cdef int fill(self, Burst burst, uint32_t most) noexcept nogil:
        cdef uint32_t bursts = 0
        cdef int got
        if most > self.limit - self.packets:
            most = <uint32_t>(self.limit - self.packets)
        while True:
            got = self.source.fill(burst, most) if most else 0
            if got <= 0:
                return got
            if self.keep_matches(burst):
                return <int>burst.count
            bursts += 1
            if bursts % PATIENCE == 0 and self.interrupted():
                return -1

    cdef uint32_t keep_matches(self, Burst burst) noexcept nogil:
        """Leave in the burst only what passes; return how many Frames that is."""
        cdef Frame* frames = burst.frames
        cdef uint32_t first = 0, kept = 0, i, j
        for i in range(burst.count):
            if frames[i].flags & FRAME_MORE:
                continue
            if self.matcher.matches(&frames[first], i + 1 - first):
                for j in range(first, i + 1):
                    frames[kept] = frames[j]
                    kept += 1
                self.packets += 1
            else:
                for j in range(first, i + 1):
                    if frames[j].buffer != NO_BUFFER and burst.pool is not None:
                        burst.pool.give_bulk(&frames[j].buffer, 1)
                self.filtered += 1
            first = i + 1
        burst.count = kept
        return kept

    cdef bint interrupted(self) noexcept nogil:
        """Whether a signal came, Ctrl-C for one, while nothing matched: what it raised is the error."""
        with gil:
            try:
                PyErr_CheckSignals()
            except BaseException as raised:
                self.problem = raised
                return True
        return False

    @property
    def error(self):
        """Why `fill` failed, or None."""
        return self.problem if self.problem is not None else self.source.error

    def __repr__(self):
        return f"<FilterSource: {self.matcher.program.expression!r}, {self.packets} packets passed, {self.filtered} did not>"


cdef class FilterSink(BurstSink):
    """Hands on to `sink` the packets that `program` lets pass. The burst stays the caller's, whole. `error` is the sink's."""

    def __init__(self, BurstSink sink not None, Program program not None):
        self.sink = sink
        self.matcher = Matcher(program)
        self.passed = Burst(256)

    cdef int deliver(self, Burst burst) noexcept nogil:
        cdef uint32_t first = 0, i
        cdef int status
        if self.passed.capacity < burst.count:
            with gil:
                try:
                    self.passed = Burst(burst.count)
                except MemoryError as error:
                    self.error = error
                    return -1
        self.passed.count = 0
        for i in range(burst.count):
            if burst.frames[i].flags & FRAME_MORE:
                continue
            if self.matcher.matches(&burst.frames[first], i + 1 - first):
                memcpy(&self.passed.frames[self.passed.count], &burst.frames[first], (i + 1 - first) * sizeof(Frame))
                self.passed.count += i + 1 - first
                self.packets += 1
            else:
                self.filtered += 1
            first = i + 1
        status = self.sink.deliver(self.passed) if self.passed.count else 0
        self.passed.count = 0                   # its Frames' buffers are the burst's
        if status < 0:
            with gil:
                self.error, self.sink.error = self.sink.error, None
        return status

    def on_burst(self, Burst burst not None):
        """`deliver`, from Python."""
        self.put(burst)

    def __repr__(self):
        return f"<FilterSink: {self.matcher.program.expression!r}, {self.packets} packets passed, {self.filtered} did not>"
