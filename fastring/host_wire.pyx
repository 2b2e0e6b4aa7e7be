"""HostWire: what wires to the world outside the process share: polling, being held up both ways, and dying.

A kind of wire overrides `send`, `pull`, `recycle` and `writable`, by its own rings or sockets, and `fileno`. Frames that the card
refuses stay staged, and are offered first at the next poll: what else waits does so in the kernel's queue, which counts what it drops.

Thread role: `transmit` on the thread of the card's engines, `poll` on the softirq's; with a DeviceThread both hold the card's lock.
"""

import os

from libc.errno cimport EOPNOTSUPP
from libc.stdint cimport uint8_t, uint32_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

from fastring.burst cimport FRAME_MORE, NO_BUFFER, NO_IOVA, packets_in


cdef class HostWire(Wire):
    """Base of the wires whose other end the host has: `tap:`, `packet:` and so on. Its frames have to be polled for."""

    def __cinit__(self):
        cdef int i
        self.staged = <Frame*>malloc(STAGED * sizeof(Frame))
        self.padded = <uint8_t*>malloc(STAGED * ETH_ZLEN)
        if self.staged == NULL or self.padded == NULL:
            raise MemoryError()
        memset(self.staged, 0, STAGED * sizeof(Frame))
        for i in range(STAGED):
            self.staged[i].iova = NO_IOVA
            self.staged[i].buffer = NO_BUFFER

    def __dealloc__(self):
        free(self.staged)
        free(self.padded)

    # --- for each kind of wire ---

    cdef int send(self, Frame* frames, int n) noexcept nogil:
        """Send n Frames; return how many of them went, whole packets only, or -errno when it cannot send any more, ever.

        What no such wire can carry (too long for its MTU) goes, too: tell `unsent`, and count it in `drops`.
        """
        return -EOPNOTSUPP

    cdef int pull(self, int most) noexcept nogil:
        """Point at most `most` of `staged` at what has arrived: data, len, time, wire_len, flags, one packet each unless FRAME_MORE.

        Return how many, 0 if nothing waits, or -errno when nothing will ever come any more. Valid until `recycle`.
        """
        return 0

    cdef void recycle(self) noexcept nogil:
        """All that was pulled is delivered: its memory may be used again."""

    cdef bint writable(self) noexcept nogil:
        """Whether a send that found no room would find some now."""
        return True

    # --- what they share ---

    cdef int transmit(self, Frame* frames, int n) noexcept nogil:
        cdef int sent = -self.dead, i
        self.unsent_packets = self.unsent_bytes = 0
        if not self.dead:
            sent = self.send(frames, n)
            if sent < 0:
                self.die(-sent)
        if sent < 0:
            return self.give_up(frames, n, &self.tx_failed, b"the wire has failed")
        self.tx_packets += packets_in(frames, sent) - self.unsent_packets
        for i in range(sent):
            self.tx_bytes += frames[i].len
        self.tx_bytes -= self.unsent_bytes
        self.blocked = sent < n
        return sent

    cdef uint32_t unsent(self, Frame* frames, int n) noexcept nogil:
        """For `send`: of what it takes, these Frames are dropped. Return how many packets that is."""
        cdef uint32_t packets = packets_in(frames, n)
        cdef int i
        self.unsent_packets += packets
        for i in range(n):
            self.unsent_bytes += frames[i].len
        return packets

    cdef int poll(self, int budget) noexcept nogil:
        cdef int moved = 0, got, left
        if self.dead:
            return -self.dead
        if self.blocked and self.writable():
            self.blocked = False
            moved = 1
            if self.room != NULL:
                self.room(self.context)
        while moved < budget:
            if self.next_staged == self.staged_count:
                left = budget - moved
                got = self.pull(left if left < STAGED else STAGED)
                if got < 0:
                    self.die(-got)
                    return got
                if got == 0:
                    break
                if self.room != NULL:       # a card's or a switch's; a WirePort is shown what the host sent
                    self.pad_short(got)
                self.next_staged = 0
                self.staged_count = got
            moved += self.offer()
            if self.next_staged < self.staged_count:
                break
        return moved

    cdef void pad_short(self, int n) noexcept nogil:
        """Lengthen packets to what Ethernet carries at least: the host's are shorter, and a card has no use for runts (eth_skb_pad)."""
        cdef Frame* last
        cdef uint8_t* copy
        cdef uint32_t length = 0
        cdef int i
        for i in range(n):
            last = &self.staged[i]
            length += last.len
            if last.flags & FRAME_MORE:
                continue
            if length < ETH_ZLEN:
                copy = self.padded + i * ETH_ZLEN
                memcpy(copy, last.data, last.len)
                memset(copy + last.len, 0, ETH_ZLEN - length)
                last.data = copy
                last.len += ETH_ZLEN - length
            length = 0

    cdef int offer(self) noexcept nogil:
        """Deliver what is staged, or what the card takes of it; return how many packets that was."""
        cdef Frame* first = &self.staged[self.next_staged]
        cdef int i, packets, taken
        self.delivering = True
        taken = self.deliver(first, self.staged_count - self.next_staged, True)
        self.delivering = False
        packets = packets_in(first, taken)
        self.rx_packets += packets
        for i in range(taken):
            self.rx_bytes += first[i].len
        self.next_staged += taken
        if self.next_staged == self.staged_count:
            self.recycle()
        return packets

    cdef int give_up(self, Frame* frames, int n, uint64_t* counter, const char* reason) noexcept nogil:
        """For `send`: drop n Frames for a reason, counted there and told; returns n."""
        counter[0] += self.unsent(frames, n)
        self.tell_drop(frames, n, reason, False)
        return n

    cdef void die(self, int error) noexcept nogil:
        self.dead = error

    @property
    def polled(self):
        """Yes: who is attached has to poll."""
        return True

    @property
    def held_up(self):
        return bool(self.blocked)

    def failure(self):
        if not self.dead:
            return None
        return OSError(self.dead, f"{self!r} has failed: {os.strerror(self.dead)}")

    @property
    def drops(self):
        return super().drops | ({"wire_failed": self.tx_failed} if self.tx_failed else {}) | self.rx_drops

    def __repr__(self):
        return f"<{type(self).__name__}>"
