"""PacketQueue: a bounded queue of copied packets, between a sink and whoever reads when it likes.

The packets a sink is shown are valid until it returns, so each is copied into a ring of bytes, as into a packet socket's receive buffer
(packet_rcv); `take` copies them out, many at once, into memory that belongs to the burst they come in. What finds no room is dropped
and counted by the limit it met with (the kernel's SKB_DROP_REASON_SOCKET_RCVBUFF).
"""

import os

from cpython.bytes cimport PyBytes_AsString, PyBytes_FromStringAndSize
from cpython.pythread cimport (
    WAIT_LOCK, PyThread_acquire_lock, PyThread_allocate_lock, PyThread_free_lock, PyThread_release_lock,
)
from libc.stdint cimport int64_t, uint16_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

from fastring.burst cimport FRAME_ERRORS, FRAME_MORE, NO_BUFFER, NO_IOVA

cdef extern from "<unistd.h>" nogil:
    ssize_t c_write "write"(int fd, const void* data, size_t size)
    ssize_t c_read "read"(int fd, void* data, size_t size)

# What is before each packet in the ring. The rest of the ring's end that a packet did not fit into has `skips` set, if a header fits there.
cdef struct Record:
    int64_t time
    uint32_t length, wire_len
    uint16_t flags, queue
    uint32_t skips


cdef inline uint64_t record_size(uint64_t length) noexcept nogil:
    return (sizeof(Record) + length + 7) & ~<uint64_t>7


cdef class PacketQueue(BurstSink):
    """Keeps what it is given until `take`: at most `packets` of them, and `bytes`, to which each packet adds 24 and is rounded up to 8.

    A selector or an event loop can wait for it: `fileno` is readable while `low_water` packets wait (one, unless set otherwise: the
    socket option SO_RCVLOWAT), or fewer do and others found no room since the last `take`. Any threads. A packet in several pieces is
    joined. Packets offered = `packets` + the sum of `drops`. Raises ValueError for limits that hold nothing.
    """

    def __cinit__(self):
        self.event = -1
        self.least = 1

    def __init__(self, *, packets=1 << 16, bytes=1 << 24):
        if self.ring != NULL:
            raise RuntimeError("a PacketQueue is made once")
        if not 0 < packets <= 1 << 20:
            raise ValueError(f"a queue holds 1 to 2^20 packets, not {packets}")
        if not 2048 <= bytes <= 1 << 32:
            raise ValueError(f"a queue holds 2048 to 2^32 bytes, not {bytes}")
        self.packet_limit = packets
        self.byte_limit = bytes & ~7
        self.ring = <uint8_t*>malloc(self.byte_limit)
        self.lock = PyThread_allocate_lock()
        if self.ring == NULL or self.lock == NULL:
            raise MemoryError()
        self.event = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)

    def __dealloc__(self):
        if self.event >= 0:
            os.close(self.event)
        if self.lock != NULL:
            PyThread_free_lock(self.lock)
        free(self.ring)

    cdef int deliver(self, Burst burst) noexcept nogil:
        """Copy the burst's packets. Never fails: what has no room is counted."""
        cdef uint32_t first = 0, i
        if self.event < 0:
            return -1                       # never initialised
        PyThread_acquire_lock(self.lock, WAIT_LOCK)
        for i in range(burst.count):
            if burst.frames[i].flags & FRAME_MORE and i + 1 < burst.count:
                continue
            if not self.add(burst.frames + first, i + 1 - first):
                self.overflowed = True
            first = i + 1
        self.signal()
        PyThread_release_lock(self.lock)
        return 0

    cdef void signal(self) noexcept nogil:
        """Make `event` readable or not, as it should be. The lock held."""
        cdef uint64_t value = 1
        cdef bint ready = self.waiting and (self.overflowed or self.waiting >= self.least)
        if ready == self.signalled:
            return
        self.signalled = ready
        if ready:
            c_write(self.event, &value, sizeof(value))
        else:
            c_read(self.event, &value, sizeof(value))

    cdef bint add(self, const Frame* frames, uint32_t pieces) noexcept nogil:
        """Copy one packet of so many Frames, the lock held; or drop and count it."""
        cdef uint64_t length = 0, size, at, skipped = 0
        cdef uint32_t i
        cdef Record* record
        cdef uint8_t* target
        if self.waiting == self.packet_limit:
            self.over_packets += 1
            return False
        for i in range(pieces):
            length += frames[i].len
        size = record_size(length)
        at = self.tail % self.byte_limit
        if at + size > self.byte_limit:
            skipped = self.byte_limit - at
        if self.tail - self.head + skipped + size > self.byte_limit:
            self.over_bytes += 1
            return False
        if skipped >= sizeof(Record):
            (<Record*>(self.ring + at)).skips = True
        record = <Record*>(self.ring + (0 if skipped else at))
        record[0] = Record(frames[0].time, <uint32_t>length, frames[0].wire_len, frames[pieces - 1].flags & FRAME_ERRORS,
                           frames[0].queue, 0)
        target = <uint8_t*>record + sizeof(Record)
        for i in range(pieces):
            memcpy(target, frames[i].data, frames[i].len)
            target += frames[i].len
        self.tail += skipped + size
        self.waiting += 1
        self.packets += 1
        self.bytes += length
        return True

    cdef uint32_t measure(self, uint32_t most, uint64_t* size) noexcept nogil:
        """Packets that wait, at most `most`, and their bytes. The lock held."""
        cdef uint64_t position = self.head, at
        cdef uint32_t count = 0
        cdef const Record* record
        size[0] = 0
        while count < most and count < self.waiting:
            at = position % self.byte_limit
            record = <const Record*>(self.ring + at)
            if self.byte_limit - at < sizeof(Record) or record.skips:
                position += self.byte_limit - at
                continue
            size[0] += record.length
            position += record_size(record.length)
            count += 1
        return count

    cdef void move(self, Burst burst, uint8_t* target, uint64_t size, uint32_t most) noexcept nogil:
        """Move at most `most` packets of `size` bytes together to `target`, and describe them in `burst`. The lock held."""
        cdef uint64_t at
        cdef const Record* record
        cdef const uint8_t* end = target + size
        while burst.count < most and self.waiting:
            at = self.head % self.byte_limit
            record = <const Record*>(self.ring + at)
            if self.byte_limit - at < sizeof(Record) or record.skips:
                self.head += self.byte_limit - at
                continue
            if record.length > <uint64_t>(end - target):
                break
            memcpy(target, <const uint8_t*>record + sizeof(Record), record.length)
            burst.frames[burst.count] = Frame(target, NO_IOVA, record.time, record.length, NO_BUFFER, record.wire_len, record.flags,
                                              record.queue)
            burst.count += 1
            target += record.length
            self.head += record_size(record.length)
            self.waiting -= 1
        if self.waiting == 0:
            self.head = self.tail = 0
        self.overflowed = False
        self.signal()

    def take(self, uint32_t most=256):
        """The packets that have waited longest, at most `most`, as a Burst that owns them: empty if none waits. Never blocks."""
        cdef uint64_t size = 0
        cdef uint32_t count
        if self.event < 0:
            raise RuntimeError("this PacketQueue was never initialised")
        with nogil:
            PyThread_acquire_lock(self.lock, WAIT_LOCK)
            count = self.measure(most, &size)
            PyThread_release_lock(self.lock)
        cdef Burst burst = Burst(count if count else 1)
        if count == 0:
            return burst
        kept = PyBytes_FromStringAndSize(NULL, size)
        cdef uint8_t* target = <uint8_t*>PyBytes_AsString(kept)
        burst.keepalive = kept
        with nogil:                         # another thread may have taken them meanwhile: then there are others, or fewer
            PyThread_acquire_lock(self.lock, WAIT_LOCK)
            self.move(burst, target, size, count)
            PyThread_release_lock(self.lock)
        return burst

    def clear(self):
        """Forget what waits."""
        while len(self.take(self.packet_limit)):
            pass

    def fileno(self):
        """Readable while `low_water` packets wait, or fewer do and others found no room since the last `take`."""
        return self.event

    @property
    def low_water(self):
        """Packets that `fileno` waits for. Raises ValueError for what the queue can't hold."""
        return self.least

    @low_water.setter
    def low_water(self, packets):
        if not 0 < packets <= self.packet_limit:
            raise ValueError(f"a queue of at most {self.packet_limit} packets can wait for 1 to {self.packet_limit}, not {packets}")
        with nogil:
            PyThread_acquire_lock(self.lock, WAIT_LOCK)
        self.least = packets
        self.signal()
        PyThread_release_lock(self.lock)

    @property
    def drops(self):
        """Packets dropped, by the limit they met with."""
        return {name: count for name, count in (("queue_packet_limit", self.over_packets), ("queue_byte_limit", self.over_bytes)) if count}

    def __len__(self):
        return self.waiting

    def __repr__(self):
        return f"<PacketQueue: {self.waiting} packets wait, {self.packets} came, {self.over_packets + self.over_bytes} dropped>"
