"""The receive engine (§3.2): frames from the wire to descriptors.

A frame is checked, filtered, and written straight to the host's buffers when there are descriptors for it. When there are none,
a lossless wire is asked to wait; any other frame goes to the FIFO, and is missed when that is full.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from e1000.desc cimport RXD_ERROR_RXE, RXD_STAT_DD, RXD_STAT_EOP, RXD_STAT_IXSM, RXD_STAT_PIF, Desc
from e1000.device.filter cimport ADDRESS_BITS, INEXACT, NOT_OURS, address_match
from e1000.device.interrupt cimport raise_cause
from e1000.device.pci cimport received_master_abort
from e1000.device.state cimport (DROP_RX_DISABLED, DROP_RX_DMA, DROP_RX_FILTERED, DROP_RX_MISSED, DROP_RX_OVERSIZE, DROP_RX_RUNT, Card,
                                 ring_count)
from e1000.device.statistics cimport count_arrivals, count_good, count_received_kind, stat_index
from e1000.regs cimport (CRC_LENGTH, ICR_RXDMT0, ICR_RXO, ICR_RXT0, MAX_FRAME, MAX_STANDARD_FRAME, MIN_FRAME, MPC, RCTL_EN, RCTL_LPE,
                         RCTL_RDMTS_SHIFT, RCTL_SECRC, RNBC, ROC, RUC)
from fastring.atomic cimport load_acquire32, load_relaxed64, store_release32, store_release64
from fastring.burst cimport FRAME_MORE, Frame, copy_frame
from fastring.crc cimport crc32_frame
from fastring.memory cimport Region, hinted_region, translate, within
from fastring.wire cimport Wire

cdef enum:
    HEADER = 16                     # bytes of a frame the filter and the length rules look at

ctypedef struct Arrival:            # one frame at the door
    Frame* pieces
    int count
    uint32_t length                 # bytes without CRC
    const uint8_t* header           # its first bytes, contiguous
    uint64_t destination            # address, first byte lowest
    uint8_t copy[HEADER]            # of the header, when the pieces split it


cdef int rx_receive(void* context, Frame* frames, int n, bint may_refuse) noexcept nogil:
    """The wire's receive_handler."""
    cdef Card* card = <Card*>context
    cdef Ring ring
    cdef int i = 0, taken
    if not card.rctl & RCTL_EN:
        card.drops[DROP_RX_DISABLED] += count_packets(frames, n)
        return n
    open_ring(card, &ring)
    while i < n:
        i += receive_plain(card, &ring, &frames[i], n - i)
        if i < n:
            taken = receive_any(card, &ring, &frames[i], n - i, may_refuse)
            if taken == 0:
                break
            i += taken
    close_ring(card, &ring)
    return i


cdef int receive_plain(Card* card, Ring* ring, Frame* frames, int n) noexcept nogil:
    """Take frames as long as they are what nearly all are: one piece of legal length that fits a descriptor at hand, its CRC
    stripped. Stops at the first that is not, having done nothing for it. Does what receive_any would, with the sums kept aside.
    """
    cdef Region region = hinted_region(card.iovas, card.rx_data_hint)
    cdef uint32_t head = ring.head, available = ring.available, count = ring.count
    cdef uint32_t length, match, longest = MAX_STANDARD_FRAME - CRC_LENGTH
    cdef uint64_t octets = 0, destination
    cdef uint8_t* target
    cdef Desc* ring_desc = ring.desc
    cdef Desc* desc
    cdef Frame* frame = frames
    cdef int i = 0
    if card.fifo_used or not card.rctl & RCTL_SECRC or card.rx_general:
        return 0
    if card.rctl & RCTL_LPE:
        longest = MAX_FRAME - CRC_LENGTH
    if longest > card.rx_buffer_size:
        longest = card.rx_buffer_size
    while i < n and available:
        length = frame.len
        if frame.flags & FRAME_MORE or length < MIN_FRAME - CRC_LENGTH or length > longest:
            break
        destination = load_relaxed64(<const uint64_t*>frame.data) & ADDRESS_BITS
        match = address_match(card, destination)
        if match == NOT_OURS:
            break
        desc = &ring_desc[head]
        target = within(&region, load_relaxed64(&desc.address), length, True)
        if target == NULL:
            break
        copy_frame(target, frame.data, length)
        # The data before DD: pairs with the driver's acquire of DD.
        store_release64(&desc.word, length | RXD_STAT_EOP | passed_status(match))
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


cdef int receive_any(Card* card, Ring* ring, Frame* frames, int n, bint may_refuse) noexcept nogil:
    """Take the next frame, whatever it is. Returns its Frames; 0 if a lossless wire must wait."""
    cdef Arrival frame
    look_at(&frame, frames, n)
    if may_refuse and not has_room(card, ring, frame.length):
        card.rx_refused = True
        return 0
    if admit(card, &frame):
        place(card, ring, &frame)
    return frame.count


cdef inline void look_at(Arrival* frame, Frame* pieces, int n) noexcept nogil:
    """Find the frame's end and its header."""
    frame.pieces = pieces
    frame.count = 1
    frame.length = pieces.len
    frame.header = pieces.data
    while pieces[frame.count - 1].flags & FRAME_MORE and frame.count < n:
        frame.length += pieces[frame.count].len
        frame.count += 1
    if pieces.len < HEADER:
        gather_header(frame)
    frame.destination = load_relaxed64(<const uint64_t*>frame.header) & ADDRESS_BITS


cdef void gather_header(Arrival* frame) noexcept nogil:
    cdef uint32_t have = 0, part
    cdef int i
    memset(frame.copy, 0, HEADER)
    for i in range(frame.count):
        part = frame.pieces[i].len if frame.pieces[i].len < HEADER - have else HEADER - have
        memcpy(frame.copy + have, frame.pieces[i].data, part)
        have += part
    frame.header = frame.copy


cdef uint32_t count_packets(const Frame* frames, int n) noexcept nogil:
    cdef int i
    cdef uint32_t packets = 0
    for i in range(n):
        packets += not frames[i].flags & FRAME_MORE
    return packets


# --- what passes (§3.2.1, §13.4.22) ---

cdef bint admit(Card* card, const Arrival* frame) noexcept nogil:
    """Count the frame, and say whether it passes."""
    cdef uint64_t* stat = card.stat
    count_arrivals(card, 1, frame.length + CRC_LENGTH)
    if address_match(card, frame.destination) == NOT_OURS:
        card.drops[DROP_RX_FILTERED] += 1
        return False
    if frame.length < MIN_FRAME - CRC_LENGTH:
        stat[stat_index(RUC)] += 1
        card.drops[DROP_RX_RUNT] += 1
        return False
    if frame.length > MAX_STANDARD_FRAME - CRC_LENGTH and too_long(card, frame):
        stat[stat_index(ROC)] += 1
        card.drops[DROP_RX_OVERSIZE] += 1
        return False
    return True


cdef bint too_long(Card* card, const Arrival* frame) noexcept nogil:
    """Without LPE 1518 bytes, or 1522 with a VLAN tag; with it 16384."""
    cdef bint tagged = frame.header[12] == 0x81 and frame.header[13] == 0x00
    if card.rctl & RCTL_LPE:
        return frame.length > MAX_FRAME - CRC_LENGTH
    return frame.length > MAX_STANDARD_FRAME - CRC_LENGTH + 4 * tagged


# --- descriptors ---

ctypedef struct Ring:               # the receive ring during one call
    Desc* desc                      # NULL: not set up, or outside mapped memory
    uint32_t count, head
    uint32_t available              # descriptors the host has given and not got back
    uint32_t available_before
    uint32_t causes                 # of interrupts, so far


cdef void open_ring(Card* card, Ring* ring) noexcept nogil:
    cdef uint32_t tail = load_acquire32(&card.rdt)      # pairs with the driver's release of the tail
    ring.count = ring_count(card.rdlen)
    ring.head = card.rdh
    ring.available = ring.available_before = ring.causes = 0
    ring.desc = NULL
    if ring.count == 0 or ring.head >= ring.count or tail >= ring.count or ring.head == tail:
        return
    ring.desc = <Desc*>translate(card.iovas, card.rdba, card.rdlen, True, &card.rx_ring_hint)
    if ring.desc == NULL:
        received_master_abort(card)
        return
    ring.available = tail - ring.head if tail >= ring.head else tail + ring.count - ring.head
    ring.available_before = ring.available


cdef void close_ring(Card* card, Ring* ring) noexcept nogil:
    """Publish the head; RXDMT0 when what is left has fallen to the threshold (RCTL.RDMTS)."""
    cdef uint32_t threshold = ring.count >> (1 + (card.rctl >> RCTL_RDMTS_SHIFT & 3))
    store_release32(&card.rdh, ring.head)
    if ring.available <= threshold < ring.available_before:
        ring.causes |= ICR_RXDMT0
    if ring.causes:
        raise_cause(card, ring.causes)


cdef inline uint32_t needed(Card* card, uint32_t length) noexcept nogil:
    """Descriptors for a frame of `length` bytes without CRC."""
    if not card.rctl & RCTL_SECRC:
        length += CRC_LENGTH
    if length <= card.rx_buffer_size:
        return 1
    return (length + card.rx_buffer_size - 1) // card.rx_buffer_size


cdef inline bint has_room(Card* card, Ring* ring, uint32_t length) noexcept nogil:
    """A lossless wire's frame is taken when descriptors are there for it, and never waits in the FIFO."""
    return (ring.available >= needed(card, length) and card.fifo_used == 0) or needed(card, length) >= ring.count > 0


cdef void place(Card* card, Ring* ring, Arrival* frame) noexcept nogil:
    """Give an admitted frame to the host, to the FIFO, or up."""
    if card.fifo_used or ring.available < needed(card, frame.length):
        to_fifo(card, ring, frame)
    else:
        store(card, ring, frame)


cdef inline uint64_t passed_status(uint32_t match) noexcept nogil:
    """Status bits every good frame has: no checksum was looked at, and PIF when the filter is not sure."""
    return RXD_STAT_DD | RXD_STAT_IXSM | (RXD_STAT_PIF if match == INEXACT else 0)


cdef inline void advance(Ring* ring) noexcept nogil:
    """One descriptor used up."""
    ring.head = ring.head + 1 if ring.head + 1 != ring.count else 0
    ring.available -= 1
    ring.causes |= ICR_RXT0


cdef void fail_dma(Card* card, Ring* ring) noexcept nogil:
    """The buffer is not there (a master abort): the descriptor goes back with an error, and the frame is lost."""
    store_release64(&ring.desc[ring.head].word, RXD_STAT_DD | RXD_STAT_EOP | RXD_ERROR_RXE)
    received_master_abort(card)
    card.drops[DROP_RX_DMA] += 1
    advance(ring)


ctypedef struct Cursor:             # where copying a frame has got to
    Frame* piece
    Frame* last
    uint32_t offset
    Frame crc                       # behind the last piece


cdef void store(Card* card, Ring* ring, const Arrival* frame) noexcept nogil:
    """Any frame: pieces on one side, a chain of descriptors on the other, the CRC behind it unless it is stripped."""
    cdef Cursor cursor
    cdef uint8_t crc[CRC_LENGTH]
    cdef uint32_t left = frame.length, part
    cdef uint64_t status = passed_status(address_match(card, frame.destination))
    cdef uint8_t* target
    cursor.piece = frame.pieces
    cursor.last = frame.pieces + frame.count - 1
    cursor.offset = 0
    if not card.rctl & RCTL_SECRC:
        crc32_frame(frame.pieces, frame.count, crc)
        cursor.crc.data = crc
        cursor.crc.len = CRC_LENGTH
        left += CRC_LENGTH
    while left:
        part = left if left < card.rx_buffer_size else card.rx_buffer_size
        target = translate(card.iovas, load_relaxed64(&ring.desc[ring.head].address), part, True, &card.rx_data_hint)
        if target == NULL:
            fail_dma(card, ring)
            return
        copy_pieces(target, &cursor, part)
        left -= part
        store_release64(&ring.desc[ring.head].word, part | status | (0 if left else RXD_STAT_EOP))
        advance(ring)
    count_good(card, 1, frame.length + CRC_LENGTH)
    count_received_kind(card, frame.destination, frame.length + CRC_LENGTH)


cdef void copy_pieces(uint8_t* target, Cursor* cursor, uint32_t part) noexcept nogil:
    """Copy the next `part` bytes of a frame."""
    cdef uint32_t here
    while part:
        here = cursor.piece.len - cursor.offset
        if here > part:
            here = part
        memcpy(target, cursor.piece.data + cursor.offset, here)
        target += here
        part -= here
        cursor.offset += here
        if cursor.offset == cursor.piece.len:
            cursor.piece = &cursor.crc if cursor.piece == cursor.last else cursor.piece + 1
            cursor.offset = 0


# --- packet buffer: frames that wait for descriptors ---

cdef inline uint32_t record_size(uint32_t length) noexcept nogil:
    """Bytes of FIFO for a frame: a 32-bit length before it, 8-aligned, so that a length never wraps."""
    return (length + 4 + 7) & ~7u


cdef void to_fifo(Card* card, Ring* ring, const Arrival* frame) noexcept nogil:
    """Keep a frame until the host gives descriptors; MPC when there is no room, or it needs more descriptors than there can be."""
    cdef uint32_t offset = 4
    cdef int i
    if record_size(frame.length) > card.fifo_size - card.fifo_used or needed(card, frame.length) >= ring.count > 0:
        card.stat[stat_index(MPC)] += 1
        card.drops[DROP_RX_MISSED] += 1
        ring.causes |= ICR_RXO
        return
    if ring.available == 0:
        card.stat[stat_index(RNBC)] += 1
    fifo_write(card, 0, <const uint8_t*>&frame.length, 4)
    for i in range(frame.count):
        fifo_write(card, offset, frame.pieces[i].data, frame.pieces[i].len)
        offset += frame.pieces[i].len
    card.fifo_used += record_size(frame.length)


cdef void fifo_write(Card* card, uint32_t offset, const uint8_t* data, uint32_t length) noexcept nogil:
    """Write behind what is used, around the end."""
    cdef uint32_t start = (card.fifo_read + card.fifo_used + offset) % card.fifo_size
    cdef uint32_t first = card.fifo_size - start
    if first > length:
        first = length
    memcpy(card.fifo + start, data, first)
    memcpy(card.fifo, data + first, length - first)


cdef void drain_fifo(Card* card, Ring* ring) noexcept nogil:
    """Give waiting frames to the host as far as its descriptors reach."""
    cdef Frame pieces[2]
    cdef Arrival frame
    cdef uint32_t length, start
    while card.fifo_used:
        memcpy(&length, card.fifo + card.fifo_read, 4)
        if ring.available < needed(card, length):
            if ring.count == 0 or needed(card, length) < ring.count:
                break
            card.stat[stat_index(MPC)] += 1             # the ring shrank under it: it can never be delivered
            card.drops[DROP_RX_MISSED] += 1
        else:
            start = (card.fifo_read + 4) % card.fifo_size
            pieces[0].data = card.fifo + start
            pieces[0].len = length if length < card.fifo_size - start else card.fifo_size - start
            pieces[0].flags = FRAME_MORE if pieces[0].len < length else 0
            pieces[1].data = card.fifo
            pieces[1].len = length - pieces[0].len
            pieces[1].flags = 0
            look_at(&frame, pieces, 2)
            store(card, ring, &frame)
        card.fifo_read = (card.fifo_read + record_size(length)) % card.fifo_size
        card.fifo_used -= record_size(length)


cdef void empty_fifo(Card* card) noexcept nogil:
    """At a reset: the frames that wait find nobody who listens."""
    cdef uint32_t length
    while card.fifo_used:
        memcpy(&length, card.fifo + card.fifo_read, 4)
        card.fifo_read = (card.fifo_read + record_size(length)) % card.fifo_size
        card.fifo_used -= record_size(length)
        card.drops[DROP_RX_DISABLED] += 1


cdef void rx_tail_moved(Card* card) noexcept nogil:
    """The host gave descriptors: the FIFO drains, and a wire that was refused tries again."""
    cdef Ring ring
    if card.fifo_used and card.rctl & RCTL_EN:
        open_ring(card, &ring)
        drain_fifo(card, &ring)
        close_ring(card, &ring)
    if card.rx_refused:
        card.rx_refused = False
        if card.wire != NULL:
            (<Wire>card.wire).receiver_has_room()
