"""Packets of any form, by batches: many descriptors, padding, checksums, tags; and what cannot be sent.

A packet that goes out as it is stays where it lies: its Frames point into host memory. One that the card has to change is copied
to its stage first, and then changed there: host memory is only ever read, and each byte once.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

from e1000.desc cimport (TXD_CMD_DEXT, TXD_CMD_EOP, TXD_CMD_IC, TXD_CMD_IFCS, TXD_CMD_VLE, Desc, buffer_length, is_context,
                         is_segmented, packet_options, special)
from e1000.device.faults cimport GIVEN_UP, send_befallen
from e1000.device.offload cimport ADDRESSES, TAG_LENGTH, insert_checksum, insert_checksums, insert_tag, tags_frames
from e1000.device.pci cimport received_master_abort
from e1000.device.state cimport GENERAL_FAULTS, STAGE_SIZE, Card, DROP_TX_DMA, DROP_TX_EMPTY, DROP_TX_OVERSIZE
from e1000.device.statistics cimport count_padding, count_sent, count_sent_kind
from e1000.device.tx cimport RING_GONE, SHORTEST, group_address, transmit
from e1000.device.watch cimport RING_TX, saw_fetch
from e1000.device.writeback cimport complete, load_context, move_head, report_any
from e1000.regs cimport CRC_LENGTH, MAX_FRAME, TCTL_PSP
from fastring.atomic cimport load_relaxed64
from fastring.burst cimport FRAME_MORE, Frame
from fastring.crc cimport crc32_update
from fastring.memory cimport translate

cdef enum:
    CRC_RESIDUE = 0x2144DF1C        # the CRC of any frame with its right FCS behind it

# Padding of short packets; on the wire as a piece of its own, so that host memory is only ever read.
cdef uint8_t ZEROES[64]

ctypedef struct Open:               # a packet being gathered
    uint32_t total                  # bytes so far
    uint32_t first                  # its first Frame in the batch
    int trouble                     # a drop reason, or -1
    bint begun                      # its first descriptor was seen
    uint64_t head, last             # its first descriptor's second word, and its last one's
    Desc context                    # for checksums, as it was when the packet began


cdef inline void begin(Open* packet, uint32_t first) noexcept nogil:
    packet.total = 0
    packet.first = first
    packet.trouble = -1
    packet.begun = False


cdef void gather(Card* card, Desc* ring, uint32_t count, uint32_t tail, uint32_t left, Batch* batch) noexcept nogil:
    """Fetch whole packets from the head on, as many as the batch, `left` and the tail allow, up to one to be segmented.

    What cannot be sent, or is a context descriptor by itself, is in the batch as a packet of length 0. No packet at all: the
    first one's end was not reached, or it is `segmented`.
    """
    cdef uint32_t head = card.tdh, frames = 0, descs = 0
    cdef uint64_t word, address
    cdef Open packet
    begin(&packet, 0)
    batch.packet_count = batch.descs = batch.frame_count = batch.staged = 0
    batch.segmented = False
    batch.contexts[0] = card.tx_context[0]
    batch.contexts[1] = card.tx_context[1]
    if left > BATCH:
        left = BATCH
    while head != tail and descs < left:
        word = load_relaxed64(&ring[head].word)
        address = load_relaxed64(&ring[head].address)
        saw_fetch(card, RING_TX, head, &ring[head], word)
        batch.words[descs] = word
        batch.addresses[descs] = address
        descs += 1
        head = head + 1 if head + 1 != count else 0
        if is_context(word):
            load_context(batch.contexts, address, word)
            if packet.begun:
                continue                # in mid-packet: done with together with it, and good for the next one
        else:
            if not packet.begun:
                if is_segmented(word):
                    batch.segmented = True
                    return
                packet.begun = True
                packet.head = word
                packet.context = batch.contexts[0]
            frames += add_piece(card, address, word, &batch.frames[frames], &packet)
            if not word & TXD_CMD_EOP:
                continue
        packet.last = word
        if not finish(card, batch, &packet, frames):
            return                      # the stage is full
        frames = batch.frame_count
        batch.packets[batch.packet_count - 1].desc_end = batch.descs = descs
        if card.tx_general & GENERAL_FAULTS:
            return                      # something may befall each by itself


cdef bint add_piece(Card* card, uint64_t address, uint64_t word, Frame* frame, Open* packet) noexcept nogil:
    """Make a Frame of a descriptor's buffer; returns whether it did. What is wrong with it spoils the packet."""
    cdef uint32_t length = buffer_length(address, word)
    if length == 0 or packet.trouble >= 0:
        return False
    if packet.total + length > MAX_FRAME - CRC_LENGTH:
        packet.trouble = DROP_TX_OVERSIZE
        return False
    frame.data = translate(card.iovas, address, length, False, &card.tx_data_hint)
    if frame.data == NULL:
        received_master_abort(card)
        packet.trouble = DROP_TX_DMA
        return False
    frame.len = length
    frame.flags = FRAME_MORE
    packet.total += length
    return True


cdef bint finish(Card* card, Batch* batch, Open* open, uint32_t frames) noexcept nogil:
    """Close the open packet: work on it, pad it, or drop it. False, and nothing done, if the stage has no room for it."""
    cdef Packet* packet = &batch.packets[batch.packet_count]
    packet.padding = packet.group = packet.length = 0
    if open.begun and open.total == 0 and open.trouble < 0:
        open.trouble = DROP_TX_EMPTY
    packet.trouble = open.trouble
    if open.trouble >= 0:
        frames = open.first
    elif open.total:
        if is_changed(card, open):
            if not change(card, batch, open, frames):
                return False
            frames = open.first + 1
        elif not open.last & TXD_CMD_IFCS:
            frames = strip_fcs(batch, open, frames)
        if open.total < SHORTEST and card.tctl & TCTL_PSP:
            packet.padding = SHORTEST - open.total
            batch.frames[frames].data = ZEROES
            batch.frames[frames].len = packet.padding
            frames += 1
        batch.frames[frames - 1].flags = 0
        packet.group = group_address(&batch.frames[open.first])
        packet.length = open.total + packet.padding
    packet.frame_end = batch.frame_count = frames
    batch.packet_count += 1
    begin(open, frames)
    return True


cdef inline bint is_changed(Card* card, const Open* packet) noexcept nogil:
    """Whether the card has to put a checksum or a tag into it. IC and VLE count in the last descriptor (§3.3.3.1, §3.3.7.1)."""
    return (packet_options(packet.head) != 0 or packet.last & (TXD_CMD_DEXT | TXD_CMD_IC) == TXD_CMD_IC
            or (packet.last & TXD_CMD_VLE != 0 and tags_frames(card)))


cdef bint change(Card* card, Batch* batch, Open* packet, uint32_t frames) noexcept nogil:
    """Copy a packet to the stage, unless it lies there, and put checksums and tag into it; False if the stage is full.

    What starts as a legacy packet gets the checksum of its last descriptor, if that is legacy too; CSS is the first one's (§3.3.3).
    """
    cdef Frame* frame = &batch.frames[packet.first]
    cdef uint8_t* content = card.tx_stage + batch.staged + TAG_LENGTH
    cdef uint32_t i, length = 0
    if batch.staged + TAG_LENGTH + packet.total > STAGE_SIZE:
        return False
    if frame.data != content:
        for i in range(packet.first, frames):
            memcpy(content + length, batch.frames[i].data, batch.frames[i].len)
            length += batch.frames[i].len
    batch.staged += (TAG_LENGTH + packet.total + 7) & ~7u
    if packet.head & TXD_CMD_DEXT:
        insert_checksums(content, packet.total, &packet.context, packet_options(packet.head))
    elif packet.last & (TXD_CMD_DEXT | TXD_CMD_IC) == TXD_CMD_IC:
        insert_checksum(content, packet.total, packet.head >> 40 & 0xFF, packet.last >> 16 & 0xFF, 0)
    if packet.last & TXD_CMD_VLE and tags_frames(card) and packet.total >= ADDRESSES:
        content = insert_tag(card, content, special(packet.last))
        packet.total += TAG_LENGTH
    frame.data = content
    frame.len = packet.total
    frame.flags = FRAME_MORE
    return True


cdef uint32_t strip_fcs(Batch* batch, Open* packet, uint32_t frames) noexcept nogil:
    """Without IFCS the host supplies the FCS, which no wire of ours carries. Returns the Frames left in the batch.

    Many a driver only forgets IFCS: what does not end in its right FCS goes out whole, as if it were set.
    """
    cdef uint32_t i, crc = 0, left = CRC_LENGTH
    cdef Frame* frame
    for i in range(packet.first, frames):
        crc = crc32_update(crc, batch.frames[i].data, batch.frames[i].len)
    if crc != CRC_RESIDUE or packet.total <= CRC_LENGTH:
        return frames
    packet.total -= CRC_LENGTH
    while True:
        frame = &batch.frames[frames - 1]
        if frame.len > left:
            frame.len -= left
            return frames
        left -= frame.len
        frames -= 1


cdef uint32_t send(Card* card, Batch* batch) noexcept nogil:
    """Hand the batch to the wire; count what it took. Returns how many descriptors are done with."""
    cdef uint32_t i, done = 0, packets = 0
    cdef uint64_t octets = 0
    cdef Packet* packet
    cdef int taken = 0
    batch.status = 0
    if card.generation != batch.generation:
        return 0
    if batch.frame_count:
        taken = hand_over(card, batch)
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


cdef int hand_over(Card* card, Batch* batch) noexcept nogil:
    """`transmit` of the batch. With faults it is one packet, and one that is given up counts as taken, but not as sent."""
    cdef int taken
    if not card.tx_general & GENERAL_FAULTS:
        return transmit(card, batch.frames, batch.frame_count)
    taken = send_befallen(card, batch.frames, batch.frame_count, batch.packets[0].length + CRC_LENGTH, &batch.status)
    if taken == GIVEN_UP:
        batch.packets[0].length = 0
        return batch.frame_count
    return taken


cdef void write_back(Card* card, Desc* ring, uint32_t count, Batch* batch, uint32_t done, uint32_t tail) noexcept nogil:
    """Report the first `done` descriptors of the batch and move the head past them."""
    cdef uint32_t i, head = card.tdh, causes = 0
    if done == 0:
        return
    batch.words[done - 1] |= batch.status
    for i in range(done):
        if is_context(batch.words[i]):
            load_context(card.tx_context, batch.addresses[i], batch.words[i])
        causes = report_any(card, ring, head, batch.words[i], causes)
        head = head + 1 if head + 1 != count else 0
    move_head(card, head, tail, causes)


cdef uint32_t send_long(Card* card, Desc* ring, uint32_t count, uint32_t tail, Batch* batch) noexcept nogil:
    """Send one packet of more descriptors than a batch holds, by way of a copy. Returns its descriptors, 0 if it must wait.

    A packet that fills the ring and still has no end can never get one: it is given up and counted.
    """
    cdef uint32_t head = card.tdh, descs = 0, total = 0
    cdef uint64_t word, address
    cdef Open packet
    cdef Frame* piece = &batch.frames[0]
    cdef uint8_t* content = card.tx_stage + TAG_LENGTH
    begin(&packet, 0)
    batch.packet_count = batch.staged = 0
    while head != tail:
        word = load_relaxed64(&ring[head].word)
        address = load_relaxed64(&ring[head].address)
        saw_fetch(card, RING_TX, head, &ring[head], word)
        head = head + 1 if head + 1 != count else 0
        descs += 1
        if not is_context(word):
            if not packet.begun:
                packet.begun = True
                packet.head = word
                packet.context = card.tx_context[0]
            if add_piece(card, address, word, piece, &packet):
                memcpy(content + total, piece.data, piece.len)
                total = packet.total
            packet.last = word
            if word & TXD_CMD_EOP:
                break
        if descs == count - 1:
            packet.trouble = DROP_TX_OVERSIZE
    else:
        if descs < count - 1:
            return 0
    piece.data = content
    piece.len = total
    finish(card, batch, &packet, 1)         # whose work needs no room: it lies in the stage
    batch.packets[0].desc_end = descs
    if send(card, batch) == 0:
        return 0
    complete(card, ring, count, descs, tail, batch.status)
    return descs
