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
from e1000.device.state cimport (Card, DROP_TX_DMA, DROP_TX_EMPTY, DROP_TX_OVERSIZE, ring_count, size_class, stat_index)
from e1000.regs cimport (BPTC, CRC_LENGTH, GOTCL, GPTC, ICR_TXDW, ICR_TXQE, MAX_FRAME, MIN_FRAME, MPTC, PTC64, TCTL_EN,
                         TCTL_PSP, TOTL, TPT)
from fastring.atomic cimport load_acquire32, load_relaxed64, store_release32, store_release64
from fastring.burst cimport FRAME_MORE, Frame
from fastring.memory cimport translate
from fastring.wire cimport Wire

cdef enum:
    BATCH = 64                      # descriptors gathered before the wire is called
    SHORTEST = MIN_FRAME - CRC_LENGTH

# Padding of short packets; on the wire as a piece of its own, so that host memory is only ever read.
cdef uint8_t ZEROES[64]

ctypedef struct Packet:
    uint32_t length                 # bytes on the wire without CRC; 0: nothing to send
    uint32_t padding                # of these, added by PSP
    uint32_t frame_end              # Frames of the batch up to and with this packet
    uint32_t desc_end               # descriptors of the batch up to and with it
    uint32_t group                  # BPTC, MPTC or 0

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
            return
        gather(card, ring, count, tail, left, &batch)
        if batch.packet_count:
            done = send(card, &batch)
            write_back(card, ring, count, &batch, done, tail)
            if done < batch.descs:
                return                          # the wire is full: it calls tx_run when it has room
        else:
            done = send_long(card, ring, count, tail, &batch)
            if done == 0:
                return                          # its last descriptor is not there yet, or the wire is full
        left -= done if done < left else left


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
    cdef uint32_t head = card.tdh, frames = 0, descs = 0, total = 0, length, first = 0, pad = 0
    cdef uint64_t word
    cdef Frame* frame
    cdef Packet* packet
    cdef int trouble = -1                       # a drop reason
    batch.packet_count = 0
    batch.descs = 0
    batch.frame_count = 0
    while head != tail and descs < BATCH and descs < left:
        word = load_relaxed64(&ring[head].word)
        batch.words[descs] = word
        descs += 1
        length = buffer_length(word)
        if length and trouble < 0:
            frame = &batch.frames[frames]
            frame.len = length
            frame.flags = FRAME_MORE
            if total + length > MAX_FRAME - CRC_LENGTH:
                trouble = DROP_TX_OVERSIZE
            else:
                frame.data = translate(card.iovas, load_relaxed64(&ring[head].address), length, False, &card.tx_data_hint)
                if frame.data == NULL:
                    trouble = DROP_TX_DMA
            frames += 1
            total += length
        head = head + 1 if head + 1 != count else 0
        if is_context(word):
            if total or trouble >= 0:
                continue                        # in mid-packet: done with together with it
        elif not word & TXD_CMD_EOP:
            continue
        elif total == 0 and trouble < 0:
            trouble = DROP_TX_EMPTY
        packet = &batch.packets[batch.packet_count]
        if trouble >= 0:
            card.drops[trouble] += 1
            trouble = -1
            frames = first
            total = 0
        elif total:
            if total < SHORTEST and card.tctl & TCTL_PSP:
                frame = &batch.frames[frames]
                frame.data = ZEROES
                frame.len = SHORTEST - total
                frames += 1
                pad = SHORTEST - total
                total = SHORTEST
            batch.frames[frames - 1].flags = 0
            packet.group = group_address(&batch.frames[first])
        packet.length = total
        packet.padding = pad
        packet.frame_end = frames
        packet.desc_end = descs
        batch.packet_count += 1
        batch.descs = descs
        batch.frame_count = first = frames
        total = pad = 0


cdef inline uint32_t group_address(const Frame* frame) noexcept nogil:
    """What the destination is: 0 one station, or the statistic that counts a multicast or a broadcast."""
    cdef const uint8_t* address = frame.data
    if not address[0] & 1:
        return 0
    if frame.len >= 6 and address[0] & address[1] & address[2] & address[3] & address[4] & address[5] == 0xFF:
        return BPTC
    return MPTC


cdef inline uint32_t transmit(Card* card, Frame* frames, uint32_t n) noexcept nogil:
    """Hand Frames to the wire. Without one they leave and nobody hears them."""
    if card.wire == NULL:
        return n
    return (<Wire>card.wire).transmit(frames, n)


cdef inline void count_packet(Card* card, uint32_t length, uint32_t padding, uint32_t group) noexcept nogil:
    """Statistics of one packet sent, `length` bytes with padding and CRC."""
    cdef uint64_t* stat = card.stat
    stat[stat_index(GPTC)] += 1
    stat[stat_index(TPT)] += 1
    stat[stat_index(GOTCL)] += length
    stat[stat_index(TOTL)] += length
    stat[stat_index(PTC64) + size_class(length)] += 1
    if group:
        stat[stat_index(group)] += 1
    if padding:
        card.tx_padded += 1
        card.tx_pad_bytes += padding


cdef uint32_t send(Card* card, Batch* batch) noexcept nogil:
    """Hand the batch to the wire; count what it took. Returns how many descriptors are done with."""
    cdef uint32_t taken = 0, i, done = 0
    cdef Packet* packet
    if batch.frame_count:
        taken = transmit(card, batch.frames, batch.frame_count)
    for i in range(batch.packet_count):
        packet = &batch.packets[i]
        if packet.frame_end > taken:
            break
        done = packet.desc_end
        if packet.length:
            count_packet(card, packet.length + CRC_LENGTH, packet.padding, packet.group)
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
    cdef uint32_t head = card.tdh, total = 0, length, causes = 0, descs = 0, pad = 0, i
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
        if transmit(card, frame, 1) == 0:
            return 0
        count_packet(card, total + CRC_LENGTH, pad, group_address(frame))
    head = card.tdh
    for i in range(descs):
        causes |= report(&ring[head], load_relaxed64(&ring[head].word))
        head = head + 1 if head + 1 != count else 0
    move_head(card, head, tail, causes)
    return descs
