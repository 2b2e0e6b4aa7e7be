"""Looking at a burst's packets without copying them, for users: NumPy arrays, memoryviews; and the copy, for what may not be looked at so.

Only a burst that keeps the memory its packets lie in can be looked at: a capture's, a queue's, one made of packets. Whatever looks at it
keeps that memory, too, so it is there as long as anybody does. Packets in a driver's buffers or a wire's are gone when the sink that
is shown them returns, and nobody could take a view back from its holder: of these there is no view, and `copy_of` is the way.
"""

from collections import namedtuple

from cpython.buffer cimport PyBuffer_FillInfo
from cpython.bytes cimport PyBytes_AsString, PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t, uint32_t, uint64_t, uintptr_t
from libc.string cimport memcpy

from fastring.burst cimport FRAME_ERRORS, FRAME_MORE, NO_BUFFER, NO_IOVA, Burst, Frame

BurstView = namedtuple("BurstView", ["offset", "length", "time", "payload"])

# The fields of burst.Frame that are told; the others are padding here.
FRAME_FIELDS = {"names": ["data", "time", "length"], "formats": ["u8", "i8", "u4"], "offsets": [0, 16, 24], "itemsize": sizeof(Frame)}


cdef class PacketBytes:
    """The bytes of one packet, as a buffer that keeps their memory."""

    cdef uint8_t* data
    cdef Py_ssize_t size
    cdef object keepalive

    def __getbuffer__(self, Py_buffer* view, int flags):
        PyBuffer_FillInfo(view, self, self.data, self.size, 1, flags)


cdef class FrameTable:
    """The Frames of a burst, as a buffer; while there is a view of it the burst cannot be emptied or filled anew."""

    cdef Burst burst

    def __getbuffer__(self, Py_buffer* view, int flags):
        PyBuffer_FillInfo(view, self, self.burst.frames, self.burst.count * sizeof(Frame), 1, flags)
        self.burst.views += 1

    def __releasebuffer__(self, Py_buffer* view):
        self.burst.views -= 1


def view_of(Burst burst not None):
    """Arrays of all packets: offset in `payload`, length, time; and `payload`, the memory they lie in. Read-only; see Burst.view."""
    import numpy                # not for those who only pass bursts on
    cdef FrameTable table = FrameTable()
    cdef uint32_t i
    cdef uintptr_t base, end
    burst._check_kept()
    if burst.count == 0:
        empty = numpy.frombuffer(b"", "u1")
        return BurstView(empty.view("u8"), empty.view("u4"), empty.view("i8"), empty)
    try:
        payload = numpy.frombuffer(burst.keepalive, "u1")
    except (TypeError, ValueError, BufferError):
        raise BufferError("the packets of this burst do not lie in one piece of memory: look at those of its copy()") from None
    payload.flags.writeable = False
    base = payload.ctypes.data
    end = base + <uintptr_t>len(payload)
    for i in range(burst.count):
        if burst.frames[i].flags & FRAME_MORE:
            raise BufferError("a packet of this burst is in several pieces: look at those of its copy()")
        if not base <= <uintptr_t>burst.frames[i].data <= end - burst.frames[i].len:
            raise BufferError("the packets of this burst do not lie in one piece of memory: look at those of its copy()")
    table.burst = burst
    frames = numpy.frombuffer(table, numpy.dtype(FRAME_FIELDS))
    offset = frames["data"] - numpy.uint64(base)
    offset.flags.writeable = False
    return BurstView(offset, frames["length"], frames["time"], payload)


def payload_of(Burst burst not None, index):
    """Packet `index` as a read-only memoryview; one in several pieces is joined, which copies it. See Burst.payload."""
    cdef Py_ssize_t packets = burst.packet_count()
    cdef PacketBytes piece
    cdef Frame* frame
    if not -packets <= index < packets:
        raise IndexError(f"packet {index} of a burst of {packets}")
    burst._check_kept()
    frame = &burst.frames[burst._first_frame(index % packets)]
    if frame.flags & FRAME_MORE:
        return memoryview(burst[index])
    piece = PacketBytes()
    piece.data, piece.size, piece.keepalive = frame.data, frame.len, burst.keepalive
    return memoryview(piece)


def copy_of(Burst burst not None):
    """A burst of the same packets, each in one piece, in memory of its own."""
    cdef Burst copy = Burst(max(burst.packet_count(), 1))
    cdef uint64_t size = 0
    cdef uint32_t i, whole = burst.count
    cdef Frame* target = copy.frames
    while whole and burst.frames[whole - 1].flags & FRAME_MORE:
        whole -= 1                          # a packet without its end is none
    for i in range(whole):
        size += burst.frames[i].len
    kept = PyBytes_FromStringAndSize(NULL, size)
    cdef uint8_t* data = <uint8_t*>PyBytes_AsString(kept)
    for i in range(whole):
        if i == 0 or not burst.frames[i - 1].flags & FRAME_MORE:
            target[0] = burst.frames[i]
            target.data, target.iova, target.buffer, target.len = data, NO_IOVA, NO_BUFFER, 0
        memcpy(data, burst.frames[i].data, burst.frames[i].len)
        data += burst.frames[i].len
        target.len += burst.frames[i].len
        if not burst.frames[i].flags & FRAME_MORE:
            target.flags = burst.frames[i].flags & FRAME_ERRORS
            target += 1
    copy.count = target - copy.frames
    copy.keepalive = kept
    return copy
