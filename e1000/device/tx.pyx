"""The transmit engine (§3.3): descriptors to frames on the wire.

It works in batches: gather descriptors into Frames that point into host memory, hand the batch to the wire in one call, then
write back status and counters for what the wire took. Each descriptor is fetched once. The head stays before a packet until
the packet's last descriptor is there and the wire has taken it.

Bounded: one run visits at most one turn of the ring, whatever the host does with the tail meanwhile.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from e1000.desc cimport (TXD_CMD_DEXT, TXD_CMD_EOP, TXD_CMD_RPS, TXD_CMD_RS, TXD_DATA_LENGTH, TXD_DTYP_DATA,
                         TXD_DTYP_MASK, TXD_LEGACY_LENGTH, TXD_STA_DD, Desc)
from e1000.device.interrupt cimport raise_cause
from e1000.device.pci cimport received_master_abort
from e1000.device.state cimport Card, DROP_TX_DMA, DROP_TX_EMPTY, DROP_TX_NO_CABLE, DROP_TX_OVERSIZE, ring_count
from e1000.device.statistics cimport count_padding, count_sent, count_sent_kind
from e1000.regs cimport BPTC, CRC_LENGTH, ICR_TXDW, ICR_TXQE, MAX_FRAME, MIN_FRAME, MPTC, TCTL_EN, TCTL_PSP
from fastring.atomic cimport load_acquire32, load_relaxed64, store_release32, store_release64
from fastring.burst cimport FRAME_MORE, Frame
from fastring.memory cimport Region, hinted_region, translate, within
from fastring.wire cimport Wire

cdef enum:
    BATCH = 64                      # descriptors gathered before the wire is called
    SHORTEST = MIN_FRAME - CRC_LENGTH
    RING_GONE = -1

# Padding of short packets; on the wire as a piece of its own, so that host memory is only ever read.
cdef uint8_t ZEROES[64]

ctypedef struct Packet:
    uint32_t length                 # bytes on the wire without CRC; 0: nothing to send
    uint32_t padding                # of these, added by PSP
    uint32_t frame_end              # Frames of the batch up to and with this packet
    uint32_t desc_end               # descriptors of the batch up to and with it
    uint32_t group                  # BPTC, MPTC or 0
    int trouble                     # a drop reason, or -1

ctypedef struct Open:               # a packet being gathered
    uint32_t total                  # bytes so far
    uint32_t first                  # its first Frame in the batch
    int trouble                     # a drop reason, or -1

ctypedef struct Batch:
    uint32_t descs, frame_count, packet_count
    uint64_t words[BATCH]           # each descriptor's second word, as fetched
    Packet packets[BATCH]
    Frame frames[2 * BATCH]         # a padded packet has one more than descriptors


cdef void tx_run(Card* card) noexcept nogil:
    """Send what the ring holds. Re-entered (through a wire that loops back), it only notes that there is more to do."""
    if card.tx_running:
        card.tx_again = True
        return
    card.tx_running = True
    card.tx_again = True
    while card.tx_again:
        card.tx_again = False
        tx_turn(card)
    card.tx_running = False


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
        ring = <Desc*>translate(card.iovas, card.tdba, card.tdlen, True, &card.tx_ring_hint)
        if ring == NULL:
            received_master_abort(card)
            return
        done = batch.descs = 0
        if not card.tx_general:
            done = send_plain(card, ring, count, tail, left, &batch)
        if done == 0 and batch.descs == 0:
            gather(card, ring, count, tail, left, &batch)
            if batch.packet_count:
                done = send(card, &batch)
                write_back(card, ring, count, &batch, done, tail)
            else:
                done = batch.descs = send_long(card, ring, count, tail, &batch)
        if done == 0 or done < batch.descs:
            return              # the wire is full, and calls tx_run when it has room; or a packet's end is not there yet
        left -= done if done < left else left


cdef uint32_t send_plain(Card* card, Desc* ring, uint32_t count, uint32_t tail, uint32_t left, Batch* batch) noexcept nogil:
    """Send packets as long as they are what nearly all are: one legacy descriptor, long enough, its buffer in the region of the
    one before. Stops at the first that is not. Returns descriptors done with; batch.descs says how many were tried.
    """
    cdef Region region = hinted_region(card.iovas, card.tx_data_hint)
    cdef uint32_t head = card.tdh, n = 0, length, done, i, causes = 0
    cdef uint64_t word, octets = 0
    cdef uint8_t* data
    cdef Frame* frame = batch.frames
    cdef int taken
    if left > BATCH:
        left = BATCH
    while head != tail and n < left:
        word = load_relaxed64(&ring[head].word)
        length = word & TXD_LEGACY_LENGTH
        if word & (TXD_CMD_DEXT | TXD_CMD_EOP) != TXD_CMD_EOP or length < SHORTEST or length > MAX_FRAME - CRC_LENGTH:
            break
        data = within(&region, load_relaxed64(&ring[head].address), length, False)
        if data == NULL:
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
        causes |= report(&ring[head], batch.words[i])
        head = head + 1 if head + 1 != count else 0
    count_sent(card, done, octets)
    if done:
        move_head(card, head, tail, causes)
    return done


cdef inline uint32_t buffer_length(uint64_t word) noexcept nogil:
    """Bytes of packet in a descriptor; none in a context descriptor."""
    if not word & TXD_CMD_DEXT:
        return word & TXD_LEGACY_LENGTH
    return word & TXD_DATA_LENGTH if word & TXD_DTYP_MASK == TXD_DTYP_DATA else 0


cdef inline bint is_context(uint64_t word) noexcept nogil:
    """A context descriptor belongs to no packet, and its bit 24 (TCP) is not EOP (§3.3.6)."""
    return word & TXD_CMD_DEXT and word & TXD_DTYP_MASK != TXD_DTYP_DATA


cdef void gather(Card* card, Desc* ring, uint32_t count, uint32_t tail, uint32_t left, Batch* batch) noexcept nogil:
    """Fetch whole packets from the head on, as many as the batch, `left` and the tail allow.

    What cannot be sent, or is a context descriptor by itself, is in the batch as a packet of length 0. No packet at all: the
    first one's end was not reached.
    """
    cdef uint32_t head = card.tdh, frames = 0, descs = 0, packets = 0
    cdef uint64_t word
    cdef Open packet
    packet.total = packet.first = 0
    packet.trouble = -1
    batch.packet_count = batch.descs = batch.frame_count = 0
    if left > BATCH:
        left = BATCH
    while head != tail and descs < left:
        word = load_relaxed64(&ring[head].word)
        batch.words[descs] = word
        descs += 1
        frames += add_piece(card, &ring[head], word, &batch.frames[frames], &packet)
        head = head + 1 if head + 1 != count else 0
        if ends_packet(word, &packet):
            frames = finish(card, batch, &packet, frames, &batch.packets[packets])
            batch.packets[packets].desc_end = descs
            packets += 1
            batch.descs = descs
            batch.frame_count = frames
    batch.packet_count = packets


cdef bint add_piece(Card* card, const Desc* desc, uint64_t word, Frame* frame, Open* packet) noexcept nogil:
    """Make a Frame of a descriptor's buffer; returns whether it did. What is wrong with it spoils the packet."""
    cdef uint32_t length = buffer_length(word)
    if length == 0 or packet.trouble >= 0:
        return False
    if packet.total + length > MAX_FRAME - CRC_LENGTH:
        packet.trouble = DROP_TX_OVERSIZE
        return False
    frame.data = translate(card.iovas, load_relaxed64(&desc.address), length, False, &card.tx_data_hint)
    if frame.data == NULL:
        received_master_abort(card)
        packet.trouble = DROP_TX_DMA
        return False
    frame.len = length
    frame.flags = FRAME_MORE
    packet.total += length
    return True


cdef bint ends_packet(uint64_t word, Open* packet) noexcept nogil:
    """Whether this descriptor is a packet's last, or a context descriptor between packets."""
    if is_context(word):
        return packet.total == 0 and packet.trouble < 0     # in mid-packet: done with together with it
    if word & TXD_CMD_EOP and packet.total == 0 and packet.trouble < 0:
        packet.trouble = DROP_TX_EMPTY
    return word & TXD_CMD_EOP


cdef uint32_t finish(Card* card, Batch* batch, Open* open, uint32_t frames, Packet* packet) noexcept nogil:
    """Close the open packet, padding it or dropping it; returns the Frames in the batch."""
    packet.padding = packet.group = 0
    packet.trouble = open.trouble
    if open.trouble >= 0:
        frames = open.first
        open.total = 0
    elif open.total:
        if open.total < SHORTEST and card.tctl & TCTL_PSP:
            packet.padding = SHORTEST - open.total
            batch.frames[frames].data = ZEROES
            batch.frames[frames].len = packet.padding
            frames += 1
            open.total = SHORTEST
        batch.frames[frames - 1].flags = 0
        packet.group = group_address(&batch.frames[open.first])
    packet.length = open.total
    packet.frame_end = open.first = frames
    open.total = 0
    open.trouble = -1
    return frames


cdef inline uint32_t group_address(const Frame* frame) noexcept nogil:
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
    """Hand Frames to the wire; returns how many it took. Without one they leave and nobody hears them.

    RING_GONE: a wire in Python reset the card, moved its ring or took its memory away, and neither may be touched any more.
    """
    cdef uint32_t i, generation = card.generation
    cdef int taken
    if card.wire == NULL:
        for i in range(n):
            card.drops[DROP_TX_NO_CABLE] += not frames[i].flags & FRAME_MORE
        return n
    taken = (<Wire>card.wire).transmit(frames, n)
    return taken if card.generation == generation else RING_GONE


cdef uint32_t send(Card* card, Batch* batch) noexcept nogil:
    """Hand the batch to the wire; count what it took. Returns how many descriptors are done with."""
    cdef uint32_t i, done = 0, packets = 0
    cdef uint64_t octets = 0
    cdef Packet* packet
    cdef int taken = 0
    if batch.frame_count:
        taken = transmit(card, batch.frames, batch.frame_count)
        if taken == RING_GONE:
            return 0
    for i in range(batch.packet_count):
        packet = &batch.packets[i]
        if packet.frame_end > <uint32_t>taken:
            break
        done = packet.desc_end
        if packet.length:
            packets += 1
            octets += packet.length + CRC_LENGTH
            count_sent_kind(card, packet.length + CRC_LENGTH, packet.group)
            count_padding(card, packet.padding)
        elif packet.trouble >= 0:
            card.drops[packet.trouble] += 1     # only now: while the wire is full it is gathered again and again
    count_sent(card, packets, octets)
    return done


cdef inline uint32_t report(Desc* desc, uint64_t word) noexcept nogil:
    """Write status back where it was asked for (§3.3.1.2). Returns the interrupt cause."""
    if not word & (TXD_CMD_RS | TXD_CMD_RPS):
        return 0
    store_release64(&desc.word, word | TXD_STA_DD)      # pairs with the driver's acquire of DD
    return ICR_TXDW


cdef void move_head(Card* card, uint32_t head, uint32_t tail, uint32_t causes) noexcept nogil:
    store_release32(&card.tdh, head)
    if head == tail:
        causes |= ICR_TXQE
    if causes:
        raise_cause(card, causes)


cdef void write_back(Card* card, Desc* ring, uint32_t count, Batch* batch, uint32_t done, uint32_t tail) noexcept nogil:
    """Report the first `done` descriptors of the batch and move the head past them."""
    cdef uint32_t i, head = card.tdh, causes = 0
    if done == 0:
        return
    for i in range(done):
        causes |= report(&ring[head], batch.words[i])
        head = head + 1 if head + 1 != count else 0
    move_head(card, head, tail, causes)


cdef uint32_t send_long(Card* card, Desc* ring, uint32_t count, uint32_t tail, Batch* batch) noexcept nogil:
    """Send one packet of more descriptors than a batch holds, by way of a copy. Returns its descriptors, 0 if it must wait.

    A packet that fills the ring and still has no end can never get one: it is given up and counted.
    """
    cdef uint32_t head = card.tdh, total = 0, length, causes = 0, descs = 0, pad = 0, _i
    cdef uint64_t word = 0
    cdef uint8_t* data
    cdef int trouble = -1
    cdef Frame* frame = &batch.frames[0]
    while head != tail:
        word = load_relaxed64(&ring[head].word)
        length = buffer_length(word)
        if length and trouble < 0:
            if total + length > MAX_FRAME - CRC_LENGTH:
                trouble = DROP_TX_OVERSIZE
            else:
                data = translate(card.iovas, load_relaxed64(&ring[head].address), length, False, &card.tx_data_hint)
                if data == NULL:
                    received_master_abort(card)
                    trouble = DROP_TX_DMA
                else:
                    memcpy(card.tx_long + total, data, length)
            total += length
        head = head + 1 if head + 1 != count else 0
        descs += 1
        if word & TXD_CMD_EOP and not is_context(word):
            break
        if descs == count - 1:
            trouble = DROP_TX_OVERSIZE
    else:
        if trouble != DROP_TX_OVERSIZE or descs < count - 1:
            return 0
    if trouble < 0 and total == 0:
        trouble = DROP_TX_EMPTY
    if trouble >= 0:
        card.drops[trouble] += 1
    else:
        if total < SHORTEST and card.tctl & TCTL_PSP:
            pad = SHORTEST - total
            memset(card.tx_long + total, 0, pad)
            total = SHORTEST
        frame.data = card.tx_long
        frame.len = total
        frame.flags = 0
        if transmit(card, frame, 1) <= 0:
            return 0
        count_sent(card, 1, total + CRC_LENGTH)
        count_sent_kind(card, total + CRC_LENGTH, group_address(frame))
        count_padding(card, pad)
    head = card.tdh
    for _i in range(descs):
        causes |= report(&ring[head], load_relaxed64(&ring[head].word))
        head = head + 1 if head + 1 != count else 0
    move_head(card, head, tail, causes)
    return descs
