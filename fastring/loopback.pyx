"""LoopbackWire: what is sent comes back, as by a plug that joins a socket's two pairs.

Nothing comes back from inside a transmission: packets wait, copied, until the card polls its wire.
"""

import errno
import os

from libc.stdint cimport uint64_t
from libc.stdlib cimport free

from fastring.burst cimport FRAME_MORE, Frame
from fastring.socket_calls cimport c_read, c_write
from fastring.stored_packet cimport as_frame, free_packets, store_packet

cdef enum:
    MOST_PACKETS = 256              # under way
    MOST_BYTES = 1 << 20
    BATCH = 64


cdef class LoopbackWire(Wire):
    """At most 256 packets, or 1 MiB, are under way; then the card is held up until it takes some. Raises OSError without a descriptor."""

    def __cinit__(self):
        self.bell = -1

    def __init__(self):
        if self.bell >= 0:
            raise OSError(errno.EBUSY, "a LoopbackWire is made once")
        self.bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def __dealloc__(self):
        free_packets(self.first)
        if self.bell >= 0:
            os.close(self.bell)

    cdef int transmit(self, Frame* frames, int n) noexcept nogil:
        cdef StoredPacket* packet
        cdef bint quiet = self.first == NULL
        cdef int start = 0, end
        while start < n:
            if self.waiting >= MOST_PACKETS or self.waiting_bytes >= MOST_BYTES:
                self.refused = True
                break
            end = start + 1
            while frames[end - 1].flags & FRAME_MORE and end < n:
                end += 1
            packet = store_packet(&frames[start], end - start)
            if packet == NULL:
                self.unstorable += 1
                self.tell_drop(&frames[start], end - start, b"not storable", False)
            else:
                if self.first == NULL:
                    self.first = packet
                else:
                    self.last.next = packet
                self.last = packet
                self.waiting += 1
                self.waiting_bytes += packet.length
            start = end
        if quiet and self.first != NULL:
            self.ring()
        return start

    cdef void ring(self) noexcept nogil:
        """Have who waits at `fileno` woken."""
        cdef uint64_t one = 1
        c_write(self.bell, &one, sizeof(one))

    cdef int poll(self, int budget) noexcept nogil:
        cdef int moved = 0, taken
        cdef uint64_t rung
        if self.polling:                                # by way of a sink
            return 0
        self.polling = True
        while moved < budget and self.first != NULL:
            taken = self.give_back(budget - moved)
            if taken == 0:
                break
            moved += taken
        self.polling = False
        if moved and self.first == NULL:
            c_read(self.bell, &rung, sizeof(rung))
        if moved and self.refused:
            self.refused = False
            if self.room != NULL:
                self.room(self.context)
        return moved

    cdef int give_back(self, int most) noexcept nogil:
        """Deliver up to `most` packets, and BATCH; return how many the card took."""
        cdef Frame frames[BATCH]
        cdef StoredPacket* packet = self.first
        cdef int n = 0, taken, _
        while packet != NULL and n < BATCH and n < most:
            frames[n] = as_frame(packet)
            packet = packet.next
            n += 1
        taken = self.deliver(frames, n, True)
        for _ in range(taken):
            packet = self.first
            self.first = packet.next
            self.waiting -= 1
            self.waiting_bytes -= packet.length
            self.packets += 1
            self.bytes += packet.length
            free(packet)
        return taken

    @property
    def polled(self):
        """Yes: nothing comes back before the card looks."""
        return True

    def fileno(self):
        return self.bell if self.bell >= 0 else None

    @property
    def drops(self):
        return super().drops | ({"not_storable": self.unstorable} if self.unstorable else {})

    def capabilities(self):
        return {"mtu": None, "lossless": True}

    def __repr__(self):
        return f"<LoopbackWire: {self.waiting} packets on their way back>"
