"""RxRing: receive cleaning and refill (the kernel's e1000_clean_rx_irq and e1000_alloc_rx_buffers, by bursts).

What the device wrote is believed only as far as the buffer reaches: length and chain are checked before use. Everything here
runs on the poll thread.
"""

from cython cimport final
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free

from e1000.desc cimport (RXD_ERROR_CE, RXD_ERROR_CXE, RXD_ERROR_RXE, RXD_ERROR_SE, RXD_ERROR_SEQ, RXD_ERRORS, RXD_STAT_DD, RXD_STAT_EOP,
                         Desc)
from e1000.driver.rx_skb cimport RxSkbs
from e1000.regs cimport CRC_LENGTH, RDT
from fastring.atomic cimport load_acquire64
from fastring.burst cimport FRAME_MORE, Burst, Frame
from fastring.pool cimport BufferPool

cdef enum:
    REFILL = 64                     # buffers taken from the pool at a time
    LENGTH = 0xFFFF


@final
cdef class RxRing:
    """`count` descriptors in coherent memory with a pool of buffers of `buffer_size` bytes; bursts go to `sink`.

    An RxSkbs gets packets with checksum errors, too. `keep_bad`: damaged packets are received as well (rx-all); `keep_fcs`: the card
    leaves each its CRC (rx-fcs).
    """

    def __init__(self, Bus bus not None, Clock clock not None, BurstSink sink, *, uint32_t count, uint32_t buffer_size,
                 bint keep_bad=False, bint keep_fcs=False):
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
        self.buffers = <uint32_t*>calloc(count, sizeof(uint32_t))
        if self.buffers == NULL:
            raise MemoryError()
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

    def fill(self):
        """Give the device its first buffers. After RDBA, RDLEN and RDH are programmed."""
        self.refill()

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
        cdef uint32_t index = self.next_to_clean, use = self.next_to_use, length, size = self.buffer_size, count = self.count
        cdef uint64_t word, bytes = 0
        cdef int64_t now = 0
        cdef Desc* desc = self.desc
        cdef const uint32_t* buffers = self.buffers
        cdef Frame* frame = &self.burst.frames[self.burst.count]
        cdef int work = 0
        if self.words != NULL:
            return 0
        while work < budget and index != use:
            # Acquire pairs with the device's release of DD: length and data are there with it.
            word = load_acquire64(&desc[index].word)
            length = word & LENGTH
            if word & (RXD_STAT_DD | RXD_STAT_EOP | RXD_ERRORS) != RXD_STAT_DD | RXD_STAT_EOP or length - 1 >= size:    # 0, or too much
                break
            if now == 0:
                now = self.clock.realtime()
            frame.buffer = buffers[index]
            frame.data = self.pool.address(frame.buffer)
            frame.iova = self.pool.iova(frame.buffer)
            frame.time = now
            frame.len = frame.wire_len = length
            frame.flags = 0
            bytes += length
            index += 1
            if index == count:
                index = 0
            frame += 1
            work += 1
        self.next_to_clean = index
        self.burst.count += work
        self.packets += work
        self.bytes += bytes - <uint64_t>work * self.fcs
        return work

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
        cdef uint32_t ids[REFILL]
        cdef uint32_t clean = self.next_to_clean, use = self.next_to_use, count = self.count, want, got, i
        cdef Desc* desc = self.desc
        cdef uint32_t* buffers = self.buffers
        cdef uint32_t room = clean - use - 1 + (0 if clean > use else count)
        if room == 0:
            return
        while room:
            want = room if room < REFILL else REFILL
            got = self.pool.take_bulk(ids, want)
            for i in range(got):
                buffers[use] = ids[i]
                desc[use].address = self.pool.iova(ids[i])
                desc[use].word = 0
                use += 1
                if use == count:
                    use = 0
            if got < want:
                self.alloc_failed += 1
                break
            room -= got
        self.next_to_use = use
        self.bus.write32(RDT, use)                          # releases the descriptors to the device

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
        if self.desc_iova == 0:
            return
        self.burst.release()
        while self.next_to_clean != self.next_to_use:
            word = self.desc[self.next_to_clean].word
            if word & RXD_STAT_DD and word & RXD_STAT_EOP and not word & self.refused:
                self.abandoned += 1
            self.pool.give(self.buffers[self.next_to_clean])
            self.next_to_clean = self.next_to_clean + 1 if self.next_to_clean + 1 != self.count else 0
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
