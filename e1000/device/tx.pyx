"""The transmit engine (§3.3): descriptors to frames on the wire.

It works in batches: gather descriptors into Frames that point into host memory, hand the batch to the wire in one call, then
write back status and counters for what the wire took. The head stays before a packet until the packet's last descriptor is there
and the wire has taken it.

Here is the plain path, for what nearly all packets are; `gather` takes any, and `segment` those that become many.

Bounded: one run visits at most one turn of the ring, whatever the host does with the tail meanwhile, and makes `tx_budget` bytes of
segments, after which the rest is owed: a timer, the next access to any register, or the DeviceThread's next round goes on with it.
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from e1000.desc cimport (TXD_CMD_DEXT, TXD_CMD_EOP, TXD_CMD_IC, TXD_CMD_IFCS, TXD_CMD_VLE, TXD_LEGACY_LENGTH, Desc)
from e1000.device.gather cimport BATCH, Batch, gather, send, send_long, write_back
from e1000.device.lock cimport lock_card, unlock_card
from e1000.device.loopback cimport loop_back
from e1000.device.pci cimport received_master_abort
from e1000.device.recorder cimport EVENT_SENT
from e1000.device.segment cimport send_segments
from e1000.device.state cimport STALL_TX, Card, DeviceLock, ring_count
from e1000.device.statistics cimport count_deferral, count_sent, count_sent_kind
from e1000.device.timers cimport arm_timer
from e1000.device.watch cimport saw, saw_frames
from e1000.device.writeback cimport move_head, report
from e1000.regs cimport BPTC, CRC_LENGTH, MAX_FRAME, MPTC, TCTL_EN
from fastring.atomic cimport load_acquire32, load_relaxed64
from fastring.burst cimport FRAME_MORE, Frame
from fastring.memory cimport ACCESS_UPDATE, Region, hinted_region, translate, within
from fastring.wire cimport Wire

cdef enum:
    BUDGET = 1 << 23                # bytes of segments a run makes: 128 packets of 64 KiB, a few milliseconds
    PLAIN = TXD_CMD_EOP | TXD_CMD_IFCS                                              # of these bits
    NOT_PLAIN = TXD_CMD_DEXT | TXD_CMD_EOP | TXD_CMD_IFCS | TXD_CMD_IC | TXD_CMD_VLE


cdef void tx_run(Card* card) noexcept nogil:
    """Send what the ring holds. Re-entered (through a wire that loops back), it only notes that there is more to do."""
    if card.tx_running:
        card.tx_again = True
        return
    if card.stalled:
        card.stalled |= STALL_TX
        return
    card.tx_running = True
    card.tx_again = True
    card.tx_owed = False
    card.tx_budget = BUDGET
    while card.tx_again:
        card.tx_again = False
        tx_turn(card)
    card.tx_running = False
    if card.tx_owed and card.clock != NULL and not card.threaded:
        tx_resume(card, TX_PAUSE)


cdef void tx_resume(Card* card, int64_t delay) noexcept nogil:
    """Go on with what is owed in so many ns; on the card's clock, which it must have."""
    arm_timer(card, &card.tx_timer, tx_timer, delay)


cdef void tx_timer(void* card) noexcept nogil:
    cdef DeviceLock* lock = lock_card(<Card*>card)
    if (<Card*>card).tx_owed:
        tx_run(<Card*>card)
    saw(<Card*>card)
    unlock_card(lock)


cdef void tx_turn(Card* card) noexcept nogil:
    """At most one turn of the ring."""
    cdef Batch batch
    cdef Desc* ring
    cdef uint32_t count = ring_count(card.tdlen), tail, left = count, done
    if not card.tctl & TCTL_EN or count == 0 or card.tdh >= count:
        return
    while left:
        tail = load_acquire32(&card.tdt)        # pairs with the driver's release of the tail
        if tail >= count or card.tdh == tail:
            return
        if card.tx_hold:
            count_deferral(card)
            return
        batch.generation = card.generation
        ring = <Desc*>translate(card.iovas, card.tdba, card.tdlen, ACCESS_UPDATE, &card.tx_ring_hint)
        if ring == NULL:
            received_master_abort(card)
            return
        if card.generation != batch.generation:
            return              # it came from elsewhere, and belongs to the card no more
        done = batch.descs = 0
        if not card.tx_general:
            done = send_plain(card, ring, count, tail, left, &batch)
        if done == 0 and batch.descs == 0:
            gather(card, ring, count, tail, left, &batch)
            if batch.packet_count:
                done = send(card, &batch)
                write_back(card, ring, count, &batch, done, tail)
            elif batch.segmented:
                done = batch.descs = send_segments(card, ring, count, tail, &batch)
            else:
                done = batch.descs = send_long(card, ring, count, tail, &batch)
        if done == 0 or done < batch.descs or card.generation != batch.generation:
            return              # the wire is full, and calls tx_run when it has room; or a packet's end is not there yet
        left -= done if done < left else left


cdef uint32_t send_plain(Card* card, Desc* ring, uint32_t count, uint32_t tail, uint32_t left, Batch* batch) noexcept nogil:
    """Send packets as long as they are what nearly all are: one legacy descriptor, long enough, its buffer in the region of the
    one before. Stops at the first that is not. Returns descriptors done with; batch.descs says how many were tried.
    """
    cdef Region region = hinted_region(card.iovas, card.tx_data_hint)
    cdef uint32_t head = card.tdh, n = 0, length, done, i, causes = 0
    cdef uint64_t word, address, octets = 0
    cdef uint8_t* data
    cdef Frame* frame = batch.frames
    cdef int taken
    if left > BATCH:
        left = BATCH
    while head != tail and n < left:
        word = load_relaxed64(&ring[head].word)
        length = word & TXD_LEGACY_LENGTH
        if word & NOT_PLAIN != PLAIN or length < SHORTEST or length > MAX_FRAME - CRC_LENGTH:
            break
        address = load_relaxed64(&ring[head].address)
        data = within(&region, address, length, False)
        if data == NULL or address == 0:
            break
        frame.data = data
        frame.len = length
        frame.flags = 0
        frame += 1
        batch.words[n] = word
        n += 1
        head += 1
        if head == count:
            head = 0
    batch.descs = n
    if n == 0:
        return 0
    taken = transmit(card, batch.frames, n)
    if taken == RING_GONE:
        return 0
    done = taken
    head = card.tdh
    for i in range(done):
        frame = &batch.frames[i]
        octets += frame.len + CRC_LENGTH
        count_sent_kind(card, frame.len + CRC_LENGTH, group_address(frame))
        causes = report(&ring[head], batch.words[i], causes)
        head = head + 1 if head + 1 != count else 0
    count_sent(card, done, octets)
    if done:
        move_head(card, head, tail, causes)
    return done


cdef uint32_t group_address(const Frame* frame) noexcept nogil:
    """What the destination is: 0 one station, or the statistic that counts a multicast or a broadcast."""
    if not frame.data[0] & 1:
        return 0
    return multicast_kind(frame)


cdef uint32_t multicast_kind(const Frame* frame) noexcept nogil:
    """BPTC if all six bytes of the address, in however many pieces, are ones."""
    cdef uint32_t seen = 0, i = 0
    while frame.data[i] == 0xFF:
        seen += 1
        if seen == 6:
            return BPTC
        i += 1
        if i == frame.len:
            if not frame.flags & FRAME_MORE:
                break
            frame += 1
            i = 0
    return MPTC


cdef int transmit(Card* card, Frame* frames, uint32_t n) noexcept nogil:
    """Hand Frames to the wire; returns how many it took. There is one: without a cable there is no link but one that loops back.

    RING_GONE: a wire in Python, or a host whose memory is elsewhere, reset the card, moved its ring or took its memory away, and neither
    may be touched any more.
    """
    cdef uint32_t generation = card.generation
    cdef int taken
    if card.loopback:
        taken = loop_back(card, frames, n)
    else:
        taken = (<Wire>card.wire).transmit(frames, n)
        saw_frames(card, EVENT_SENT, frames, taken)
    return taken if card.generation == generation else RING_GONE
