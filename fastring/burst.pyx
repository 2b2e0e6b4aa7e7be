"""Burst: the batch of packets that every layer passes on, and the two ends it travels between.

A burst is an array of Frames, each one contiguous piece of a packet; a packet in several pieces sets FRAME_MORE on all but
its last. Passing a burst on costs a pointer, never a copy.
"""

from cpython.bytes cimport PyBytes_AsString, PyBytes_FromStringAndSize
from cython cimport no_gc_clear
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy


def _octets(piece):
    """A packet, or a piece of one, as bytes."""
    if isinstance(piece, (int, str)):
        raise TypeError(f"a packet is bytes-like, not {piece!r:.60}: a sequence of packets, or one, is wanted")
    return bytes(piece)


@no_gc_clear                        # its buffers go back to the pool even out of a reference cycle
cdef class Burst:
    """Up to `capacity` Frames. A sequence of packets from Python: ``burst[i]`` is packet i as bytes, ``burst[i:j]`` a burst of these.

    Owned by one thread at a time. Frames that came from a BufferPool go back to it by `release` (or leaving ``with``).
    """

    def __cinit__(self, uint32_t capacity=256, BufferPool pool=None):
        if not 0 < capacity <= 1 << 20:
            raise ValueError(f"a burst holds 1 to 2^20 frames, not {capacity}")
        self.frames = <Frame*>calloc(capacity, sizeof(Frame))
        if self.frames == NULL:
            raise MemoryError()
        self.capacity = capacity
        self.pool = pool

    @staticmethod
    def from_mapped(buffer, *, uint64_t iova, offsets, lengths):
        """Make a burst of packets that lie in `buffer`, mapped for DMA at `iova`: a card reads them where they are.

        The burst keeps the buffer; the packets must not change while a card has them. Raises IndexError outside it.
        """
        cdef const uint8_t[::1] view = buffer
        offsets, lengths = list(offsets), list(lengths)
        cdef Burst burst = Burst(max(len(offsets), 1))
        cdef uint64_t offset, length, size = view.shape[0]
        cdef uint32_t i
        for i, (offset, length) in enumerate(zip(offsets, lengths, strict=True)):
            if not 0 < length <= 0xFFFFFFFFu or offset > size or length > size - offset:
                raise IndexError(f"packet {i}: {length} bytes at {offset} of a buffer of {size}")
            burst.frames[i] = Frame(<uint8_t*>&view[0] + offset, iova + offset, 0, length, NO_BUFFER, length, 0, 0)
        burst.count = len(offsets)
        burst.keepalive = memoryview(buffer)
        return burst

    def __dealloc__(self):
        if self.frames != NULL:
            self.release()
            free(self.frames)

    @staticmethod
    def from_packets(packets, *, times=None, errors=None):
        """Make a burst of bytes-like packets (at least one byte each), optionally with their times in nanoseconds.

        A packet may be a list or tuple of pieces, each a Frame of its own (scatter-gather). The burst keeps copies of what can change.
        `errors`: for each packet what its wire did to it, FRAME_BAD_CRC and so on, or 0.
        Raises ValueError for an empty packet or piece, or when there are not as many times or errors as packets; TypeError for what is
        not bytes-like: a number, too, of which bytes() would make zeroes.
        """
        kept = [[_octets(piece) for piece in (packet if isinstance(packet, (list, tuple)) else (packet,))] for packet in packets]
        if times is not None and len(times) != len(kept):
            raise ValueError(f"{len(kept)} packets but {len(times)} times")
        if errors is not None and (len(errors) != len(kept) or any(bits & ~FRAME_ERRORS for bits in errors)):
            raise ValueError(f"errors of {len(kept)} packets are as many combinations of FRAME_BAD_CRC and so on, not {errors!r}")
        cdef Burst burst = Burst(max(sum(map(len, kept)), 1))
        cdef Frame* frame = burst.frames
        for number, pieces in enumerate(kept):
            length = sum(map(len, pieces))
            if not all(pieces) or not 0 < length <= 0xFFFFFFFFu:
                raise ValueError(f"packet {number} is empty, or has an empty piece")
            frame.wire_len = length
            for piece in pieces:
                frame.data = <uint8_t*>PyBytes_AsString(piece)
                frame.iova = NO_IOVA
                frame.buffer = NO_BUFFER
                frame.time = 0 if times is None else times[number]
                frame.len = len(piece)
                frame.flags = FRAME_MORE
                frame += 1
            (frame - 1).flags = 0 if errors is None else errors[number]
        burst.count = frame - burst.frames
        burst.keepalive = kept
        return burst

    cdef void release(self) noexcept nogil:
        """Give the frames' buffers back to their pool and empty the burst."""
        cdef uint32_t buffers[64]
        cdef const Frame* frame = self.frames
        cdef const Frame* end = frame + self.count
        cdef uint32_t n = 0
        if self.pool is not None:
            while frame != end:
                if frame.buffer != NO_BUFFER:
                    buffers[n] = frame.buffer
                    n += 1
                    if n == 64:
                        self.pool.give_bulk(buffers, n)
                        n = 0
                frame += 1
            self.pool.give_bulk(buffers, n)
        self.count = 0

    cdef uint32_t packet_count(self) noexcept nogil:
        """Whole packets in it."""
        return packets_in(self.frames, self.count)

    def clear(self):
        """Give the frames' buffers back and empty the burst. Raises BufferError while somebody holds what `view` gave."""
        self._check_unseen()
        self.release()
        self.keepalive = None

    cdef uint32_t _first_frame(self, uint32_t packet) noexcept nogil:
        """Index of the first Frame of packet number `packet`, or count."""
        cdef uint32_t i = 0
        while i < self.count and packet:
            packet -= not self.frames[i].flags & FRAME_MORE
            i += 1
        return i

    def __len__(self):
        return self.packet_count()

    cdef int _check_kept(self) except -1:
        """Raise BufferError unless the packets' memory stays for as long as it is kept."""
        cdef uint32_t i
        for i in range(self.count):
            if self.frames[i].buffer != NO_BUFFER or self.keepalive is None:
                raise BufferError("these packets are valid until the sink that is shown them returns: look at those of the burst's copy()")
        return 0

    cdef int _check_unseen(self) except -1:
        """Raise BufferError if somebody holds a view of its Frames, which are to change."""
        if self.views:
            raise BufferError("this burst cannot be changed: there are views of it (burst.view())")
        return 0

    def view(self):
        """BurstView(offset, length, time, payload): NumPy arrays of all packets, nothing of these copied, read-only.

        Packet i is ``payload[offset[i]:][:length[i]]``; times are in ns. They stay valid whatever becomes of the burst, which cannot be
        cleared or filled anew while they live. Raises BufferError for packets that are another's (what a sink is shown), in
        pieces, or all over memory (from_packets): their `copy` can be viewed.
        """
        from fastring.burst_view import view_of
        return view_of(self)

    def payload(self, index):
        """Packet `index` as a read-only memoryview, not copied, valid whatever becomes of the burst. Raises as `view`, and IndexError."""
        from fastring.burst_view import payload_of
        return payload_of(self, index)

    def copy(self):
        """A burst of the same packets in memory of its own, each in one piece."""
        from fastring.burst_view import copy_of
        return copy_of(self)

    def _slice(self, wanted):
        """Packets of a slice without a step, as a burst that shares their memory."""
        start, stop, step = wanted.indices(self.packet_count())
        if step != 1:
            raise ValueError(f"packets are sliced one after the other, not in steps of {step}")
        self._check_kept()
        cdef uint32_t first = self._first_frame(start), count = self._first_frame(max(start, stop)) - first
        cdef Burst part = Burst(max(count, 1))
        memcpy(part.frames, &self.frames[first], count * sizeof(Frame))
        part.count = count
        part.keepalive = self.keepalive
        return part

    def __getitem__(self, index):
        if isinstance(index, slice):
            return self._slice(index)
        cdef Py_ssize_t packets = self.packet_count()
        if not -packets <= index < packets:
            raise IndexError(f"packet {index} of a burst of {packets}")
        cdef uint32_t first = self._first_frame(index % packets), i = first
        cdef uint64_t total = 0
        while True:
            total += self.frames[i].len
            if not self.frames[i].flags & FRAME_MORE:
                break
            i += 1
        packet = PyBytes_FromStringAndSize(NULL, total)
        cdef char* target = PyBytes_AsString(packet)
        while first <= i:
            memcpy(target, self.frames[first].data, self.frames[first].len)
            target += self.frames[first].len
            first += 1
        return packet

    def __iter__(self):
        for index in range(len(self)):
            yield self[index]

    @property
    def times(self):
        """Each packet's time, in nanoseconds."""
        cdef uint32_t i
        return [self.frames[i].time for i in range(self.count) if i == 0 or not self.frames[i - 1].flags & FRAME_MORE]

    @property
    def lengths(self):
        """Each packet's length, in bytes."""
        cdef uint32_t i
        cdef uint64_t total = 0
        lengths = []
        for i in range(self.count):
            total += self.frames[i].len
            if not self.frames[i].flags & FRAME_MORE:
                lengths.append(total)
                total = 0
        return lengths

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.clear()

    def __repr__(self):
        return f"<Burst: {len(self)} packets in {self.count} of {self.capacity} frames>"


cdef class BurstSource:
    """Where packets come from: a capture, a generator. Subclass in Cython and override `fill`."""

    cdef int fill(self, Burst burst, uint32_t most) noexcept nogil:
        """Fill an empty burst with whole packets, at most `most` Frames; return how many Frames, 0 at the end, < 0 on error."""
        return 0

    def read(self, Burst burst not None, most=None):
        """Fill `burst` with up to `most` Frames (default: its capacity); return how many, 0 at the end. Raises `error` if that failed."""
        cdef uint32_t wanted = burst.capacity if most is None else most
        cdef int count
        burst._check_unseen()
        with nogil:
            count = self.fill(burst, wanted)
        if count < 0:
            raise self.error if self.error is not None else RuntimeError(f"{self!r} failed and does not say why")
        return count

    @property
    def error(self):
        """Why `fill` failed, an exception to raise, or None."""
        return None


cdef class BurstSink:
    """Where packets go. Subclass in Cython and override `deliver`, or in Python and override `on_burst`."""

    cdef int deliver(self, Burst burst) noexcept nogil:
        """Consume the burst; it is the caller's again on return. Returns 0, or -1 if the sink failed (counted by the caller)."""
        with gil:
            try:
                self.on_burst(burst)
            except BaseException as error:      # a hot path cannot raise: kept for whoever runs it
                self.error = error
                return -1
        return 0

    def put(self, Burst burst not None):
        """Hand it a burst, from Python. Raises what `on_burst` raised, or RuntimeError if the sink failed otherwise."""
        cdef int status
        with nogil:
            status = self.deliver(burst)
        if status < 0:
            error, self.error = self.error, None
            raise error if error is not None else RuntimeError(f"{self!r} failed and does not say why")

    def on_burst(self, Burst burst):
        """Called with each burst, GIL held. The packets must be copied or taken before it returns."""
        raise NotImplementedError(f"{type(self).__name__} overrides neither deliver nor on_burst")


cdef class RepeatSource(BurstSource):
    """The packets of one burst over and over, `packets` in all: the simplest generator (pktgen's clone_skb)."""

    def __init__(self, Burst burst not None, *, uint64_t packets):
        cdef uint32_t i
        if burst.count == 0:
            raise ValueError("there is nothing to repeat in an empty burst")
        self.packets = Burst(burst.count)       # a copy: the burst may be cleared and used again
        for i in range(burst.count):
            if burst.frames[i].buffer != NO_BUFFER:
                raise ValueError("a pool's packets cannot be repeated: their buffers go back to the pool")
        memcpy(self.packets.frames, burst.frames, burst.count * sizeof(Frame))
        self.packets.count = burst.count
        self.packets.keepalive = burst.keepalive
        self.plain = burst.packet_count() == burst.count
        self.left = packets

    cdef int fill(self, Burst burst, uint32_t most) noexcept nogil:
        cdef uint32_t n = 0, end
        if most > burst.capacity:
            most = burst.capacity
        if self.plain:
            while self.left and n < most:
                end = self.packets.count - self.next
                if end > most - n:
                    end = most - n
                if end > self.left:
                    end = <uint32_t>self.left
                memcpy(&burst.frames[n], &self.packets.frames[self.next], end * sizeof(Frame))
                n += end
                self.left -= end
                self.next = self.next + end if self.next + end < self.packets.count else 0
            burst.count = n
            return n
        while self.left:
            end = self.next + 1
            while self.packets.frames[end - 1].flags & FRAME_MORE:
                end += 1
            if n + end - self.next > most:
                self.failed = n == 0            # not even one packet fits
                if self.failed:
                    return -1
                break
            memcpy(&burst.frames[n], &self.packets.frames[self.next], (end - self.next) * sizeof(Frame))
            n += end - self.next
            self.next = end if end < self.packets.count else 0
            self.left -= 1
        burst.count = n
        return n

    @property
    def error(self):
        """Why `fill` failed, or None."""
        if self.failed:
            return ValueError("a packet to repeat has more pieces than the burst it should go into holds")
        return None


cdef class CountingSink(BurstSink):
    """Counts packets and bytes and keeps none: what a measurement wants at the far end."""

    cdef int deliver(self, Burst burst) noexcept nogil:
        cdef uint32_t i
        cdef uint64_t packets = 0, bytes = 0
        for i in range(burst.count):
            packets += not burst.frames[i].flags & FRAME_MORE
            bytes += burst.frames[i].len
        self.packets += packets
        self.bytes += bytes
        self.bursts += 1
        return 0

    def __repr__(self):
        return f"<CountingSink: {self.packets} packets, {self.bytes} bytes in {self.bursts} bursts>"
