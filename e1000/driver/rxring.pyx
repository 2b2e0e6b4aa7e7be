"""RxRing: receive cleaning and refill (the kernel's e1000_clean_rx_irq and e1000_alloc_rx_buffers, by bursts).

What the device wrote is believed only as far as the buffer reaches: length and chain are checked before use. Everything here
runs on the poll thread.
"""

from cython cimport final
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memset
from posix.stdlib cimport posix_memalign

from e1000.desc cimport (RXD_ERROR_CE, RXD_ERROR_CXE, RXD_ERROR_RXE, RXD_ERROR_SE, RXD_ERROR_SEQ, RXD_ERRORS, RXD_STAT_DD, RXD_STAT_EOP,
                         Desc)
from e1000.driver.rx_skb cimport RxSkbs
from e1000.regs cimport CRC_LENGTH, RDT
from fastring.atomic cimport load_acquire64
from fastring.burst cimport FRAME_MORE, NO_BUFFER, NO_IOVA, Burst, Frame, copy_frame
from fastring.pool cimport BufferPool

cdef enum:
    REFILL = 64                     # buffers taken from the pool at a time
    LENGTH = 0xFFFF
    LINE = 64


cdef inline int take_packets(RxRing ring, int budget, const bint copying) noexcept nogil:
    """RxRing.take_plain, compiled once for each `copying`: whether packets up to copybreak are copied."""
    cdef uint32_t index = ring.next_to_clean, use = ring.next_to_use, length, size = ring.buffer_size, count = ring.count, taken = 0
    cdef uint64_t word, bytes = 0
    cdef int64_t now = 0
    cdef Desc* desc = ring.desc
    cdef uint32_t* buffers = ring.buffers
    cdef Frame* frame = &ring.burst.frames[ring.burst.count]
    cdef int work = 0
    while work < budget and index != use:
        # Acquire pairs with the device's release of DD: length and data are there with it.
        word = load_acquire64(&desc[index].word)
        length = word & LENGTH
        if word & (RXD_STAT_DD | RXD_STAT_EOP | RXD_ERRORS) != RXD_STAT_DD | RXD_STAT_EOP or length - 1 >= size:    # 0, or too much
            break
        if now == 0:
            now = ring.clock.realtime()
        if copying and length <= ring.copybreak:
            copy_small(ring, frame, index, length)
        else:
            frame.buffer = buffers[index]
            frame.data = ring.pool.address(frame.buffer)
            frame.iova = ring.pool.iova(frame.buffer)
            if copying:
                buffers[index] = NO_BUFFER
                taken += 1
        frame.time = now
        frame.len = frame.wire_len = length
        frame.flags = 0
        bytes += length
        index += 1
        if index == count:
            index = 0
        frame += 1
        work += 1
    ring.next_to_clean = index
    ring.missing += taken
    ring.burst.count += work
    ring.packets += work
    ring.bytes += bytes - <uint64_t>work * ring.fcs
    return work


cdef inline void copy_small(RxRing ring, Frame* frame, uint32_t index, uint32_t length) noexcept nogil:
    """Copy it to memory of the burst's, which whoever passes it on has to copy again. The buffer stays the descriptor's."""
    frame.data = ring.copies + <size_t>(frame - ring.burst.frames) * ring.copy_size
    copy_frame(frame.data, ring.pool.address(ring.buffers[index]), length)
    frame.buffer = NO_BUFFER
    frame.iova = NO_IOVA


cdef inline uint32_t refill_all(RxRing ring, uint32_t room) noexcept nogil:
    """Give `room` descriptors buffers, none having one; returns next_to_use."""
    cdef uint32_t ids[REFILL]
    cdef uint32_t use = ring.next_to_use, want, got, i
    cdef Desc* desc = ring.desc
    while room:
        want = room if room < REFILL else REFILL
        got = ring.pool.take_bulk(ids, want)
        for i in range(got):
            ring.buffers[use] = ids[i]
            desc[use].address = ring.pool.iova(ids[i])
            desc[use].word = 0
            use += 1
            if use == ring.count:
                use = 0
        if got < want:
            ring.alloc_failed += 1
            break
        room -= got
    return use


cdef uint32_t refill_missing(RxRing ring, uint32_t room) noexcept nogil:
    """The same where some kept theirs."""
    cdef uint32_t ids[REFILL]
    cdef uint32_t use = ring.next_to_use, left = 0
    cdef Desc* desc = ring.desc
    while room:
        if ring.buffers[use] == NO_BUFFER:
            if left == 0:
                left = ring.pool.take_bulk(ids, min(room, ring.missing, <uint32_t>REFILL))
                if left == 0:
                    ring.alloc_failed += 1
                    break
                ring.missing -= left
            left -= 1
            ring.buffers[use] = ids[left]
        desc[use].address = ring.pool.iova(ring.buffers[use])
        desc[use].word = 0
        room -= 1
        use += 1
        if use == ring.count:
            use = 0
    if left:                # the descriptor that stays free had none either
        ring.pool.give_bulk(ids, left)
        ring.missing += left
    return use


@final
cdef class RxRing:
    """`count` descriptors in coherent memory with a pool of buffers of `buffer_size` bytes; bursts go to `sink`.

    `copybreak`: packets of one buffer up to so many bytes are copied to the burst, and their buffer stays in the ring
    (e1000_copybreak). An RxSkbs, which copies all, gets packets with checksum errors, too. `keep_bad`: damaged packets are received
    as well (rx-all); `keep_fcs`: the card leaves each its CRC (rx-fcs).
    """

    def __init__(self, Bus bus not None, Clock clock not None, BurstSink sink, *, uint32_t count, uint32_t buffer_size,
                 uint32_t copybreak=0, bint keep_bad=False, bint keep_fcs=False):
        self.bus = bus
        self.clock = clock
        self.sink = sink
        self.count = count
        self.buffer_size = buffer_size
        self.fcs = CRC_LENGTH if keep_fcs else 0
        self.refused = RXD_ERRORS
        if isinstance(sink, RxSkbs):
            self.words = (<RxSkbs>sink).words
            self.refused = RXD_ERROR_CE | RXD_ERROR_SE | RXD_ERROR_SEQ | RXD_ERROR_CXE | RXD_ERROR_RXE     # E1000_RXD_ERR_FRAME_ERR_MASK
        if keep_bad:
            self.refused = 0
        self.copybreak = min(copybreak, buffer_size)
        self.copy_size = (self.copybreak + LINE - 1) // LINE * LINE
        self.buffers = <uint32_t*>malloc(count * sizeof(uint32_t))
        if self.buffers == NULL or posix_memalign(<void**>&self.copies, LINE, <size_t>count * self.copy_size):
            raise MemoryError()
        memset(self.buffers, 0xFF, count * sizeof(uint32_t))        # NO_BUFFER
        self.missing = count
        self.desc_iova = bus.memory.alloc_coherent(count * sizeof(Desc))
        try:        # as many buffers as the ring holds, and as many as a burst takes along
            self.pool = BufferPool(bus.memory.arena, count=2 * count, buffer_size=buffer_size, arena_iova=bus.memory.iova)
        except OSError:
            bus.memory.free_coherent(self.desc_iova)
            self.desc_iova = 0
            raise
        self.burst = Burst(count, self.pool)
        self.desc = <Desc*>bus.memory.arena.at(self.desc_iova - bus.memory.iova, count * sizeof(Desc))

    def __dealloc__(self):
        free(self.buffers)
        free(self.copies)

    def fill(self):
        """Give the device its first buffers. After RDBA, RDLEN and RDH are programmed."""
        self.refill()
        if self.copybreak and self.missing == 1:        # the descriptor that stays free keeps one for when it is another's turn
            self.missing -= self.pool.take_bulk(&self.buffers[self.next_to_use], 1)

    cdef int clean(self, int budget) noexcept nogil:
        """Take at most `budget` received packets, refill the ring, hand them over. Returns packets taken, dropped ones too."""
        cdef int work = self.take_plain(budget)
        cdef uint32_t descriptors
        while work < budget:
            descriptors = self.chain_length()
            if descriptors == 0:
                break
            self.take_chain(descriptors, self.clock.realtime())
            work += 1 + self.take_plain(budget - work - 1)
        if work:
            self.refill()
            self.hand_over()
        return work

    cdef int take_plain(self, int budget) noexcept nogil:
        """Move packets of one descriptor without errors, nearly all there are, from the ring to the burst; stop at any other.

        None of those that become SkBuffs, which need their descriptor.
        """
        if self.words != NULL:
            return 0
        return take_packets(self, budget, True) if self.copybreak else take_packets(self, budget, False)

    cdef uint32_t chain_length(self) noexcept nogil:
        """Descriptors of the packet at next_to_clean; 0 if there is none, or its end is not written yet."""
        cdef uint32_t i = self.next_to_clean, length = 0
        cdef uint64_t word
        while i != self.next_to_use:
            word = load_acquire64(&self.desc[i].word)
            if not word & RXD_STAT_DD:
                return 0
            length += 1
            if word & RXD_STAT_EOP:
                return length
            i = i + 1 if i + 1 != self.count else 0
        return length               # a whole ring without an end: take_chain drops it

    cdef void take_chain(self, uint32_t descriptors, int64_t now) noexcept nogil:
        """Move one packet from the ring to the burst; drop it if it is marked bad or cannot be true."""
        cdef uint32_t first = self.burst.count, i, length, index = self.next_to_clean, total = 0
        cdef uint64_t word = 0
        cdef bint bad = False
        cdef Frame* frame = &self.burst.frames[first]
        for i in range(descriptors):
            word = self.desc[index].word
            length = word & LENGTH
            bad |= length == 0 or length > self.buffer_size
            frame = &self.burst.frames[first + i]
            frame.buffer = self.buffers[index]
            frame.data = self.pool.address(frame.buffer)
            frame.iova = self.pool.iova(frame.buffer)
            if self.copybreak:
                self.buffers[index] = NO_BUFFER
                self.missing += 1
            frame.time = now
            frame.len = length
            frame.wire_len = 0
            frame.flags = FRAME_MORE
            total += length
            index = index + 1 if index + 1 != self.count else 0
        self.next_to_clean = index
        self.burst.count = first + descriptors
        frame.flags = 0
        self.burst.frames[first].wire_len = total
        if bad or total <= self.fcs or word & self.refused or not word & RXD_STAT_EOP:
            self.errors += 1
            while self.burst.count > first:
                self.burst.count -= 1
                self.pool.give(self.burst.frames[self.burst.count].buffer)
            return
        if self.words != NULL:
            self.words[first] = word
        self.packets += 1
        self.bytes += total - self.fcs

    cdef void refill(self) noexcept nogil:
        """Give the device a buffer for every free descriptor, one staying free: RDT == RDH would mean none at all."""
        cdef uint32_t clean = self.next_to_clean, use = self.next_to_use
        cdef uint32_t room = clean - use - 1 + (0 if clean > use else self.count)
        if room == 0:
            return
        self.next_to_use = refill_missing(self, room) if self.copybreak else refill_all(self, room)
        self.bus.write32(RDT, self.next_to_use)             # releases the descriptors to the device

    cdef void hand_over(self) noexcept nogil:
        """Pass the burst to the sink, and take its buffers back."""
        if self.burst.count and self.sink is not None and self.sink.deliver(self.burst) < 0:
            self.sink_failed += self.burst.packet_count()
        self.burst.release()

    def close(self):
        """Take every buffer back and free the memory; again is harmless. The device must be off the ring already.

        Packets that were not polled any more are counted in `abandoned`.
        """
        cdef uint64_t word
        cdef uint32_t i
        if self.desc_iova == 0:
            return
        self.burst.release()
        while self.next_to_clean != self.next_to_use:
            word = self.desc[self.next_to_clean].word
            if word & RXD_STAT_DD and word & RXD_STAT_EOP and not word & self.refused:
                self.abandoned += 1
            self.pool.give(self.buffers[self.next_to_clean])
            self.buffers[self.next_to_clean] = NO_BUFFER
            self.next_to_clean = self.next_to_clean + 1 if self.next_to_clean + 1 != self.count else 0
        for i in range(self.count if self.copybreak else 0):    # those of free descriptors, which kept them
            if self.buffers[i] != NO_BUFFER:
                self.pool.give(self.buffers[i])
                self.buffers[i] = NO_BUFFER
        self.pool.close()
        self.bus.memory.free_coherent(self.desc_iova)
        self.desc_iova = 0
        self.desc = NULL

    @property
    def iova(self):
        """Bus address of the descriptors."""
        return self.desc_iova

    def __repr__(self):
        return f"<RxRing: {self.count} descriptors, {self.pool}>"
