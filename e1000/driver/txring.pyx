"""TxRing: burst transmit, and completion (the kernel's e1000_xmit_frame and e1000_clean_tx_irq, by bursts). SkBuffs: tx_skb.

Status is asked for (RS) on the last packet of every burst and every `rs_every` packets; all that a report completes is one
chunk, so that cleaning costs per chunk and not per packet. The card is told once a burst, or with `doorbell_every` within it, too. xmit and
clean may run on two threads: each index has one writer.
"""

from collections import deque

from cython cimport final
from libc.stdint cimport int32_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy

from e1000.bus.base cimport Bus
from e1000.desc cimport TXD_CMD_EOP, TXD_CMD_IFCS, TXD_STA_DD, Desc
from e1000.regs cimport MAX_TX_BUFFER, TDT
from fastring.atomic cimport load_acquire32, load_acquire64, load_relaxed32, store_release32
from fastring.burst cimport FRAME_MORE, NO_BUFFER, NO_IOVA, Frame
from fastring.clock cimport Clock
from fastring.txq cimport TxQueue, XmitTarget
from softnet.skbuff import DropReason

cdef extern from "<errno.h>":
    int EDEADLK, ENETDOWN

cdef enum:
    MAX_PIECES = MAX_SKB_FRAGS + 1  # of a packet in a burst


cdef inline bint mapped(const Frame* frame) noexcept nogil:
    """Whether the device may read it in place. A pool's buffer goes back when the burst does, so it is copied."""
    return frame.iova != NO_IOVA and frame.buffer == NO_BUFFER


cdef uint32_t put_plain(TxRing ring, uint32_t use, const Frame* frame, uint32_t most, Chunk* chunk) noexcept nogil:
    """Write the descriptors of packets as long as they are in one piece, mapped. Returns how many; the chunk knows the last."""
    cdef Desc* desc = ring.desc
    cdef uint32_t count = ring.count, n = 0, bytes = 0
    while n < most and not frame.flags & FRAME_MORE and mapped(frame) and frame.len <= MAX_TX_BUFFER:
        chunk.last = use
        desc[use].address = frame.iova
        desc[use].word = frame.len | TXD_CMD_IFCS | TXD_CMD_EOP
        bytes += frame.len
        use += 1
        if use == count:
            use = 0
        frame += 1
        n += 1
    chunk.packets += n
    chunk.bytes += bytes
    return n


cdef inline bint sendable(TxRing ring, const Frame* frame, int pieces) noexcept nogil:
    """Whether a packet fits descriptors and, where it must be copied, buffers. Softnet's MTU check makes it so."""
    cdef int i
    if pieces > MAX_PIECES:
        return False
    for i in range(pieces):
        if frame[i].len > (MAX_TX_BUFFER if mapped(&frame[i]) else ring.bounce_size):
            return False
    return True


cdef inline uint32_t put(TxRing ring, uint32_t use, const Frame* frame, int pieces, uint32_t* bytes) noexcept nogil:
    """Write one packet's descriptors, not yet published. Returns the index of its last."""
    cdef Desc* desc
    cdef int i = 0
    while True:
        desc = &ring.desc[use]
        desc.address = frame[i].iova if mapped(&frame[i]) else bounce(ring, use, &frame[i])
        desc.word = frame[i].len | TXD_CMD_IFCS | (TXD_CMD_EOP if i == pieces - 1 else 0)
        bytes[0] += frame[i].len
        i += 1
        if i == pieces:
            return use
        use = use + 1 if use + 1 != ring.count else 0


cdef inline int pieces_of(const Frame* frame, int most) noexcept nogil:
    """Frames of one packet."""
    cdef int pieces = 1
    while frame[pieces - 1].flags & FRAME_MORE and pieces < most:
        pieces += 1
    return pieces


cdef uint64_t bounce(TxRing ring, uint32_t use, const Frame* frame) noexcept nogil:
    """Copy a piece to its descriptor's own buffer; returns the bus address."""
    memcpy(ring.bounce + <uint64_t>use * ring.bounce_size, frame.data, frame.len)
    ring.bounced += 1
    return ring.bounce_iova + <uint64_t>use * ring.bounce_size


cdef uint32_t free_slots(void* ring) noexcept nogil:
    return (<TxRing>ring).unused()


@final
cdef class TxRing(XmitTarget):
    """`count` descriptors in coherent memory, and a buffer for each to copy packets into that no DMA address leads to.

    Made and closed by the adapter's open and stop; registers are programmed there.
    """

    def __init__(self, Bus bus not None, TxQueue queue not None, Clock clock not None, *, uint32_t count, uint32_t packet_size,
                 uint32_t rs_every=32, uint32_t doorbell_every=0, uint32_t wake_at=START):
        self.bus = bus
        self.queue = queue
        self.clock = clock
        self.rs_every = rs_every
        self.doorbell_every = doorbell_every
        self.wanted_wake = wake_at
        self.step = min(rs_every, doorbell_every) if doorbell_every else rs_every
        self.allocate(count, packet_size)

    def allocate(self, uint32_t count, uint32_t packet_size):
        """Take memory anew, after `close`, for so many descriptors; who holds this ring may go on. Raises OSError ENOMEM."""
        cdef uint32_t mask = (1 << (count - 1).bit_length()) - 1
        cdef Chunk* chunks = <Chunk*>calloc(mask + 1, sizeof(Chunk))
        if chunks == NULL:
            raise MemoryError()
        free(self.chunks)
        self.chunks = chunks
        self.chunk_mask = mask
        self.count = count
        self.wake_at = min(self.wanted_wake, count - 1)
        self.next_to_use = self.next_to_clean = self.chunk_head = self.chunk_tail = 0
        self.skbs = deque()
        self.context[:] = [0, 0]
        self.unrung = False
        self.epoch += 1
        self.bounce_size = (packet_size + 63) // 64 * 64
        self.desc_iova = self.bus.memory.alloc_coherent(count * sizeof(Desc))
        try:
            self.bounce_iova = self.bus.memory.alloc_coherent(<uint64_t>count * self.bounce_size)
        except OSError:
            self.bus.memory.free_coherent(self.desc_iova)
            self.desc_iova = 0
            raise
        self.desc = <Desc*>self.bus.memory.arena.at(self.desc_iova - self.bus.memory.iova, count * sizeof(Desc))
        self.bounce = self.bus.memory.arena.at(self.bounce_iova - self.bus.memory.iova, <uint64_t>count * self.bounce_size)
        self.running = True

    def __dealloc__(self):
        free(self.chunks)

    cdef inline uint32_t unused(self) noexcept nogil:
        """Free descriptors; one always stays free, or a full ring would look empty."""
        cdef uint32_t use = load_relaxed32(&self.next_to_use), clean = load_acquire32(&self.next_to_clean)
        return clean - use - 1 + (0 if clean > use else self.count)

    cdef int xmit_burst(self, Frame* frames, int n) noexcept nogil:
        """Take packets as long as there is room for the largest. Returns Frames taken; 0 with the queue awake is BUSY;
        -ENETDOWN after close (0 if it is only being reset), -EDEADLK from inside itself, by way of a wire in Python.

        A Frame with a bus address must stay as it is until completed; others are copied. Xmit thread, queue's lock held.
        """
        cdef int taken = self.refusal()
        if taken < 0 or not self.running:
            return taken
        self.transmitting = True
        taken = self.put_burst(frames, n)
        self.transmitting = False
        return taken

    cdef int refusal(self) noexcept nogil:
        if not self.running:
            return 0 if self.resetting else -ENETDOWN
        return -EDEADLK if self.transmitting else 0

    cdef uint64_t completion(self) noexcept nogil:
        return <uint64_t>self.epoch << 32 | self.chunk_head

    cdef bint completed(self, uint64_t completion) noexcept nogil:
        """Since the memory was taken anew, nothing given before is in it."""
        cdef uint32_t tail = load_acquire32(&self.chunk_tail)       # pairs with clean's release
        return completion >> 32 != self.epoch or <int32_t>(tail - <uint32_t>completion) >= 0

    cdef int put_burst(self, Frame* frames, int n) noexcept nogil:
        """Write descriptors, and hand them over; the last of them, on which the chunk is reported, always at the end."""
        cdef uint32_t use = self.next_to_use, room = self.unused(), last = use, untold = 0
        cdef uint32_t step = self.step, due = step      # packets until a report or the doorbell is
        cdef uint32_t epoch = self.epoch
        cdef Chunk chunk
        cdef uint64_t total_bytes = 0
        cdef int i = 0, pieces
        chunk.packets = chunk.bytes = 0
        if room < STOP:
            self.busy += 1                      # flow control is broken: the packets stay the caller's
            return 0
        while i < n and room >= STOP:
            pieces = put_plain(self, use, &frames[i], min(<uint32_t>(n - i), room - STOP + 1, due), &chunk)
            if pieces:
                last = chunk.last
                use = last + 1 if last + 1 != self.count else 0
                room -= pieces
                due -= pieces
            else:
                pieces = pieces_of(&frames[i], n - i)
                if sendable(self, &frames[i], pieces):
                    last = put(self, use, &frames[i], pieces, &chunk.bytes)
                    use = last + 1 if last + 1 != self.count else 0
                    room -= pieces
                    chunk.packets += 1
                    due -= 1
                else:
                    self.dropped += 1
            i += pieces
            if due:
                continue
            if chunk.packets == self.rs_every:
                total_bytes += report(self, last, &chunk)
            due = self.rs_every - chunk.packets
            if self.doorbell_every:
                untold += step
                if untold >= self.doorbell_every and room >= STOP and i < n and sendable(self, &frames[i], pieces_of(&frames[i], n - i)):
                    self.tell(use, total_bytes)
                    if self.epoch != epoch or not self.running:
                        self.aborted += chunk.packets       # a wire in Python had the card reset meanwhile
                        return i
                    total_bytes = untold = 0
                step = due = min(due, self.doorbell_every - untold if untold < self.doorbell_every else 1)
        if chunk.packets:
            total_bytes += report(self, last, &chunk)
        if total_bytes:
            self.publish(use, total_bytes)
        return i

    cdef inline void tell(self, uint32_t use, uint32_t bytes) noexcept nogil:
        """All of `publish` but its end. `bytes`: of the chunks reported in it."""
        self.queue.trans_start = self.clock.jiffies()
        if bytes:
            self.queue.sent(bytes)
        store_release32(&self.next_to_use, use)
        self.unrung = False
        self.bus.write32(TDT, use)                                  # releases the descriptors to the device

    cdef void publish(self, uint32_t use, uint32_t bytes) noexcept nogil:
        """Hand over what was put, in the kernel's order: byte limit, index, doorbell, and only then maybe stop."""
        self.tell(use, bytes)
        self.queue.maybe_stop(free_slots, <void*>self, STOP, self.wake_at)

    cdef uint32_t clean(self) noexcept nogil:
        """Complete what the device has sent; wake the queue when that made room. Returns packets. Poll thread."""
        cdef uint32_t packets = 0, bytes = 0, skbs = 0, tail = self.chunk_tail, clean = self.next_to_clean
        cdef uint32_t head = load_acquire32(&self.chunk_head)       # pairs with report's release
        cdef Chunk* chunk
        while tail != head:
            chunk = &self.chunks[tail & self.chunk_mask]
            if not load_acquire64(&self.desc[chunk.last].word) & TXD_STA_DD:
                break                                               # pairs with the device's release of DD
            packets += chunk.packets & PACKETS
            skbs += chunk.packets >> SKB_SHIFT
            bytes += chunk.bytes
            clean = chunk.last + 1 if chunk.last + 1 != self.count else 0
            tail += 1
        if packets:
            store_release32(&self.chunk_tail, tail)                 # pairs with completed's acquire
            if skbs:
                self.complete_skbs(skbs)
            store_release32(&self.next_to_clean, clean)
            self.packets += packets
            self.bytes += bytes
            self.queue.completed_wake(packets, bytes, self.unused(), self.wake_at, self.clock.jiffies())
        return packets

    cdef void complete_skbs(self, uint32_t count) noexcept with gil:
        """Free the oldest packets of the ring, whose end they reached, and count what they were on the wire."""
        cdef TxBuffer buffer
        for _ in range(count):
            buffer = self.skbs.popleft()
            self.packets += buffer.more_packets
            self.bytes += buffer.more_bytes
            try:
                buffer.release(self.bus.memory, None)
            except BaseException as error:      # a destructor's: kept for E1000Napi.poll
                self.error = error

    def abort(self):
        """Stop taking packets and give up those in flight (counted in `aborted`). The device must be off the ring already.

        Raises what a packet's destructor did, with all of it done.
        """
        cdef Chunk* chunk
        self.running = False
        self.clean()
        while self.chunk_tail != self.chunk_head:
            chunk = &self.chunks[self.chunk_tail & self.chunk_mask]
            self.aborted += chunk.packets & PACKETS
            self.chunk_tail += 1
        while self.skbs:
            try:
                (<TxBuffer>self.skbs.popleft()).release(self.bus.memory, DropReason.TX_ABORTED)
            except BaseException as error:
                self.error = error
        self.queue.reset_bql()
        if self.error is not None:
            error, self.error = self.error, None
            raise error

    def close(self):
        """Abort, and give the memory back; again is harmless."""
        if self.desc_iova:
            try:
                self.abort()
            finally:
                self.bus.memory.free_coherent(self.bounce_iova)
                self.bus.memory.free_coherent(self.desc_iova)
                self.desc_iova = 0
                self.desc = NULL

    @property
    def completed(self):
        """How many status reports have been taken: while packets are in flight, a ring that works makes it move."""
        return self.chunk_tail

    @property
    def unused_descriptors(self):
        """Descriptors free (E1000_DESC_UNUSED)."""
        return self.unused()

    @property
    def iova(self):
        """Bus address of the descriptors."""
        return self.desc_iova

    @property
    def in_flight(self):
        """Packets put and not completed."""
        cdef uint32_t tail = self.chunk_tail, packets = 0
        while tail != self.chunk_head:
            packets += self.chunks[tail & self.chunk_mask].packets & PACKETS
            tail += 1
        return packets

    def __repr__(self):
        return f"<TxRing: {self.in_flight} packets in flight, {self.unused()} of {self.count} descriptors free>"


@final
cdef class TxBuffer:
    """Made by tx_skb.start_xmit; `release` is its end."""

    def release(self, memory, reason):
        """Give its memory back and free the packet: it was sent, or without that dropped for `reason`. What a destructor raises."""
        for iova in self.mapped:
            memory.free_coherent(iova)
        skb, self.skb = self.skb, None
        if reason is None:
            skb.consume()
        else:
            skb.kfree(reason)
