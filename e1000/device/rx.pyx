"""The receive engine (§3.2): frames from the wire to descriptors.

A frame is judged, and written straight to the host's buffers when there are descriptors for it. When there are none, a lossless
wire is asked to wait; any other frame goes to the FIFO, and is missed when that is full.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from e1000.desc cimport RXD_STAT_EOP, RXD_STAT_IXSM, Desc
from e1000.device.arrival cimport (HEADER, NO_CONTROL, PASSES, PAUSE, TYPE_OFFSET, Arrival, count_arrival, judge, load_be16,
                                   load_type, look_at)
from e1000.device.far cimport write_out
from e1000.device.filter cimport ADDRESS_BITS, NOT_OURS, address_match
from e1000.device.flow cimport flow_received, flow_settle
from e1000.device.moderation cimport raise_receive
from e1000.device.pci cimport received_master_abort
from e1000.device.rx_checksum cimport checksum_bits
from e1000.device.rx_fifo cimport drain_fifo, resize_fifo, to_fifo
from e1000.device.rx_store cimport ENOUGH, NOT_YET, Ring, Room, count_stored, describe, passed_status, room_for, store
from e1000.device.state cimport (DROP_RX_DISABLED, FIFO_SIZE, GENERAL_CHECKSUM, GENERAL_PAUSE, GENERAL_VLAN, NO_TYPE, STALL_RX,
                                 STALL_STOPPED, Card, ring_count)
from e1000.device.statistics cimport count_arrivals, count_good, count_received_kind
from e1000.regs cimport (CRC_LENGTH, CTRL, CTRL_RFCE, CTRL_VME, FCT, ICR_RXDMT0, ICR_RXT0, MAX_FRAME, MAX_STANDARD_FRAME, MIN_FRAME, PBA,
                         RCTL_CFIEN, RCTL_EN, RCTL_LPE, RCTL_RDMTS_SHIFT, RCTL_SECRC, RCTL_VFE, VET)
from fastring.atomic cimport load_acquire32, load_relaxed64, store_release32, store_release64
from fastring.burst cimport FRAME_ERRORS, FRAME_MORE, Frame, copy_frame, packets_in
from fastring.checksum cimport swap16
from fastring.memory cimport ACCESS_UPDATE, Region, hinted_region, translate, within
from fastring.wire cimport Wire

cdef enum:
    OFFLOADS = GENERAL_CHECKSUM | GENERAL_VLAN | GENERAL_PAUSE      # what the plain path can do, if it looks at each packet
    PBA_UNIT = 1024
    PBA_SIZE = 0x7F


cdef int rx_receive(void* context, Frame* frames, int n, bint may_refuse) noexcept nogil:
    """The wire's receive_handler."""
    cdef Card* card = <Card*>context
    cdef Ring ring
    cdef int i = 0, taken
    if not card.rctl & RCTL_EN:
        card.drops[DROP_RX_DISABLED] += packets_in(frames, n)
        return n
    if card.stalled & STALL_STOPPED:
        return while_stopped(card, frames, n, may_refuse)
    open_ring(card, &ring)
    while i < n:
        i += receive_plain(card, &ring, &frames[i], n - i)
        if i < n:
            taken = receive_any(card, &ring, &frames[i], n - i, may_refuse)
            if taken == 0:
                break
            i += taken
    close_ring(card, &ring)
    if card.flow:
        flow_settle(card)
    return i


cdef int while_stopped(Card* card, Frame* frames, int n, bint may_refuse) noexcept nogil:
    """What comes to a card that is stopped waits on a wire that can, or is dropped."""
    if may_refuse:
        card.rx_refused = True
        card.stalled |= STALL_RX
        return 0
    card.drops[DROP_RX_DISABLED] += packets_in(frames, n)
    return n


cdef int receive_plain(Card* card, Ring* ring, Frame* frames, int n) noexcept nogil:
    """Take frames as long as they are what nearly all are: one piece of legal length that fits a descriptor at hand, its CRC
    stripped. Stops at the first that is not, having done nothing for it. Does what receive_any would, with the sums kept aside.
    """
    if card.fifo_used or not card.rctl & RCTL_SECRC or card.rx_general & ~<uint32_t>OFFLOADS:
        return 0
    if card.rx_general:
        return take_plain(card, ring, frames, n, True)
    return take_plain(card, ring, frames, n, False)


cdef inline int take_plain(Card* card, Ring* ring, Frame* frames, int n, bint offloads) noexcept nogil:
    """`offloads`, a constant: look at each frame's type, and verify its checksums."""
    cdef Region region = buffer_region(card)
    cdef uint32_t head = ring.head, available = ring.available, count = ring.count
    cdef uint32_t length, match, longest = MAX_STANDARD_FRAME - CRC_LENGTH, type
    cdef uint64_t octets = 0, destination, status
    cdef uint8_t* target
    cdef Desc* ring_desc = ring.desc
    cdef Desc* desc
    cdef Frame* frame = frames
    cdef int i = 0
    if card.rctl & RCTL_LPE:
        longest = MAX_FRAME - CRC_LENGTH
    if longest > card.rx_buffer_size:
        longest = card.rx_buffer_size
    while i < n and available:
        length = frame.len
        if frame.flags & (FRAME_MORE | FRAME_ERRORS) or length < MIN_FRAME - CRC_LENGTH or length > longest:
            break
        destination = load_relaxed64(<const uint64_t*>frame.data) & ADDRESS_BITS
        match = address_match(card, destination)
        if match == NOT_OURS:
            break
        if offloads:
            type = load_type(frame.data + TYPE_OFFSET)
            if type == card.vlan_type or type == card.control_type:
                break
        desc = &ring_desc[head]
        target = within(&region, load_relaxed64(&desc.address), length, True)
        if target == NULL:
            break
        status = RXD_STAT_IXSM
        if offloads and card.rx_checksums:
            status = checksum_bits(card, frame.data, length if length < HEADER else HEADER, frame, 1, length, 0, NULL)
        copy_frame(target, frame.data, length)
        # The data before DD: pairs with the driver's acquire of DD.
        store_release64(&desc.word, length | RXD_STAT_EOP | passed_status(match) | status)
        octets += length + CRC_LENGTH
        count_received_kind(card, destination, length + CRC_LENGTH)
        head += 1
        if head == count:
            head = 0
        available -= 1
        frame += 1
        i += 1
    ring.head = head
    ring.available = available
    if i:
        ring.causes |= ICR_RXT0
        count_arrivals(card, i, octets)
        count_good(card, i, octets)
    return i


cdef inline Region buffer_region(Card* card) noexcept nogil:
    """The memory region of the buffer before, without bus address 0: that makes a null descriptor, for the general path."""
    cdef Region region = hinted_region(card.iovas, card.rx_data_hint)
    if region.start == 0 and region.size:
        return Region(1, region.size - 1, region.host + 1, region.writable)
    return region


cdef int receive_any(Card* card, Ring* ring, Frame* frames, int n, bint may_refuse) noexcept nogil:
    """Take the next frame, whatever it is. Returns its Frames; 0 if a lossless wire must wait.

    What a lossless wire brings is taken when there are descriptors for it, or never will be, and does not wait in the FIFO.
    """
    cdef Arrival frame
    cdef Room room
    look_at(&frame, frames, n)
    judge(card, &frame)
    if frame.fate != PASSES:
        admit(card, ring, &frame)
        return frame.count
    room = room_for(card, ring, frame.length - frame.stripped)
    if may_refuse and (room == NOT_YET or room == ENOUGH and card.fifo_used):
        card.rx_refused = True
        return 0
    admit(card, ring, &frame)
    describe(card, &frame)
    if room == ENOUGH and not card.fifo_used:
        count_stored(card, &frame)
        store(card, ring, &frame)
    else:
        to_fifo(card, ring, &frame, room)
    return frame.count


cdef void admit(Card* card, Ring* ring, const Arrival* frame) noexcept nogil:
    """The frame is the card's now: it is counted, and obeyed if it is a MAC control frame."""
    count_arrival(card, frame, &ring.causes)
    if frame.control != NO_CONTROL:
        flow_received(card, frame.control == PAUSE, load_be16(frame.header + TYPE_OFFSET + 4))


# --- the ring ---

cdef void open_ring(Card* card, Ring* ring) noexcept nogil:
    cdef uint32_t tail = load_acquire32(&card.rdt)      # pairs with the driver's release of the tail
    cdef uint32_t generation = card.generation
    ring.count = ring_count(card.rdlen)
    ring.head = card.rdh
    ring.available = ring.available_before = ring.causes = 0
    ring.desc = NULL
    if ring.count == 0 or ring.head >= ring.count or tail >= ring.count or ring.head == tail:
        return
    if card.stalled:
        card.stalled |= STALL_RX
        return
    ring.desc = <Desc*>translate(card.iovas, card.rdba, card.rdlen, ACCESS_UPDATE, &card.rx_ring_hint)
    if ring.desc == NULL:
        received_master_abort(card)
        return
    if card.generation != generation:
        return                          # it came from elsewhere, and belongs to the card no more
    ring.available = tail - ring.head if tail >= ring.head else tail + ring.count - ring.head
    ring.available_before = ring.available


cdef void close_ring(Card* card, Ring* ring) noexcept nogil:
    """Publish the head; RXDMT0 when what is left has fallen to the threshold (RCTL.RDMTS)."""
    cdef uint32_t threshold = ring.count >> (1 + (card.rctl >> RCTL_RDMTS_SHIFT & 3))
    if write_out(card):
        return
    store_release32(&card.rdh, ring.head)
    if ring.available <= threshold < ring.available_before:
        ring.causes |= ICR_RXDMT0
    if ring.causes:
        raise_receive(card, ring.causes)


cdef void rx_tail_moved(Card* card) noexcept nogil:
    """The host gave descriptors: the FIFO drains, and a wire that was refused tries again."""
    cdef Ring ring
    if card.stalled:
        card.stalled |= STALL_RX
        return
    if card.fifo_used and card.rctl & RCTL_EN:
        open_ring(card, &ring)
        drain_fifo(card, &ring)
        close_ring(card, &ring)
        if card.flow:
            flow_settle(card)
    if card.rx_refused:
        card.rx_refused = False
        if card.wire != NULL:
            (<Wire>card.wire).receiver_has_room()


# --- registers ---

cdef void rx_configure(Card* card) noexcept nogil:
    """Work out what the plain path has to look for, when a register that says so was written."""
    cdef uint32_t vet = card.regs[VET >> 2], fct = card.regs[FCT >> 2], ctrl = card.regs[CTRL >> 2]
    card.vlan_type = card.control_type = NO_TYPE
    card.rx_general &= ~<uint32_t>OFFLOADS
    if vet and (ctrl & CTRL_VME or card.rctl & (RCTL_VFE | RCTL_CFIEN)):
        card.vlan_type = swap16(vet)
        card.rx_general |= GENERAL_VLAN
    if fct and ctrl & CTRL_RFCE:
        card.control_type = swap16(fct)
        card.rx_general |= GENERAL_PAUSE
    if card.rx_checksums:
        card.rx_general |= GENERAL_CHECKSUM


cdef void resize_packet_buffer(Card* card, uint32_t value) noexcept nogil:
    """PBA: the FIFO gets RXA KiB, rounded down to its unit of eight and at most all there is; transmission the rest (§13.4.16)."""
    card.regs[PBA >> 2] = split(value)
    resize_fifo(card, receive_part(value))


cdef bint packet_buffer_is_possible(const Card* card) noexcept nogil:
    """Of a card that comes out of a snapshot: whether the FIFO has the size that PBA says."""
    cdef uint32_t value = card.regs[PBA >> 2]
    return value == split(value) and card.fifo_size == receive_part(value)


cdef inline uint32_t split(uint32_t value) noexcept nogil:
    """PBA as it reads: the receiver's KiB, and the transmitter's, which are what is left."""
    cdef uint32_t receive = value & PBA_SIZE, most = FIFO_SIZE // PBA_UNIT
    return receive | (most - receive if receive < most else 0) << 16


cdef inline uint32_t receive_part(uint32_t value) noexcept nogil:
    """Bytes of the FIFO."""
    cdef uint32_t receive = value & PBA_SIZE, most = FIFO_SIZE // PBA_UNIT
    return (receive if receive < most else most) // 8 * 8 * PBA_UNIT
