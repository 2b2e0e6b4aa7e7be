"""How a frame gets into the receive ring's buffers (§3.2.2 to 3.2.5): what its descriptors say, and the copying."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memmove

from e1000.desc cimport (RXD_ERROR_CE, RXD_ERROR_CXE, RXD_ERROR_RXE, RXD_ERROR_SE, RXD_ERROR_SEQ, RXD_SPECIAL_SHIFT, RXD_STAT_DD,
                         RXD_STAT_EOP, RXD_STAT_IXSM, RXD_STAT_VP)
from e1000.device.arrival cimport PASSES, PAUSE, TYPE_OFFSET, Arrival, load_be16
from e1000.device.moderation cimport small_packet
from e1000.device.pci cimport received_master_abort
from e1000.device.rx_checksum cimport checksum_bits
from e1000.device.state cimport DROP_RX_DMA, Card
from e1000.device.statistics cimport count_good, count_received_kind
from e1000.device.threshold cimport write_received
from e1000.device.watch cimport RING_RX, saw_fetch
from e1000.regs cimport CRC_LENGTH, RCTL_SECRC
from fastring.atomic cimport load_relaxed64
from fastring.burst cimport (FRAME_ALIGNMENT, FRAME_BAD_CRC, FRAME_CARRIER, FRAME_RX_ERROR, FRAME_SEQUENCE, FRAME_SYMBOL, Frame)
from fastring.crc cimport crc32_frame
from fastring.memory cimport translate


# --- what the descriptors say ---

cdef void describe(Card* card, Arrival* frame) noexcept nogil:
    """Work out status, errors, packet checksum and VLAN tag of a frame that is to be stored."""
    take_crc(card, frame)
    frame.word = passed_status(frame.match)
    if frame.stripped:
        frame.word |= RXD_STAT_VP | <uint64_t>load_be16(frame.header + TYPE_OFFSET + 2) << RXD_SPECIAL_SHIFT
    if frame.errors:
        frame.word |= error_bits(frame.errors)
    if not card.rx_checksums:
        frame.word |= RXD_STAT_IXSM
        return
    frame.word |= checksum_bits(card, frame.header, frame.header_length if frame.broken == PASSES else 0, frame.pieces, frame.count,
                                frame.length, frame.stripped, NULL if card.rctl & RCTL_SECRC else frame.crc)


cdef uint64_t error_bits(uint32_t errors) noexcept nogil:
    """RDESC.ERRORS (§3.2.3.2)."""
    cdef uint64_t bits = 0
    if errors & (FRAME_BAD_CRC | FRAME_ALIGNMENT):
        bits |= RXD_ERROR_CE
    if errors & FRAME_SYMBOL:
        bits |= RXD_ERROR_SE
    if errors & FRAME_SEQUENCE:
        bits |= RXD_ERROR_SEQ
    if errors & FRAME_CARRIER:
        bits |= RXD_ERROR_CXE
    if errors & FRAME_RX_ERROR:
        bits |= RXD_ERROR_RXE
    return bits


cdef void take_crc(Card* card, Arrival* frame) noexcept nogil:
    """The FCS that came with the frame: of all that was on the wire, tag included, and wrong if that is what is wrong with it."""
    cdef int i
    if card.rctl & RCTL_SECRC:
        return
    crc32_frame(frame.pieces, frame.count, frame.crc)
    if frame.errors & (FRAME_BAD_CRC | FRAME_ALIGNMENT):
        for i in range(CRC_LENGTH):
            frame.crc[i] = ~frame.crc[i]


cdef void count_stored(Card* card, const Arrival* frame) noexcept nogil:
    """Count a frame as good once it is in the card's memory or the host's (§13.7); pause frames are not counted."""
    if frame.broken == PASSES and frame.control != PAUSE:
        count_good(card, 1, frame.length + CRC_LENGTH)
        count_received_kind(card, frame.destination, frame.length + CRC_LENGTH)


# --- room ---

cdef Room room_for(Card* card, Ring* ring, uint32_t length) noexcept nogil:
    """Whether there are descriptors for `length` bytes and the CRC, if it is stored."""
    cdef uint32_t wanted = 1, found = 0, index, left
    if not card.rctl & RCTL_SECRC:
        length += CRC_LENGTH
    if length > card.rx_buffer_size:
        wanted = (length + card.rx_buffer_size - 1) // card.rx_buffer_size
    skip_null(card, ring)
    index = ring.head
    left = ring.available
    while left and found < wanted:
        found += not is_null(&ring.desc[index])
        index = index + 1 if index + 1 != ring.count else 0
        left -= 1
    if found == wanted:
        return ENOUGH
    return NEVER if ring.count > 0 and (wanted >= ring.count or ring.available + 1 == ring.count) else NOT_YET


cdef inline bint is_null(const Desc* desc) noexcept nogil:
    return load_relaxed64(&desc.address) == 0


cdef void skip_null(Card* card, Ring* ring) noexcept nogil:
    """Descriptors with the address 0 hold no data: they go back done and otherwise as they were (§3.2.5)."""
    while ring.available and is_null(&ring.desc[ring.head]):
        saw_fetch(card, RING_RX, ring.head, &ring.desc[ring.head], 0)
        write_received(card, ring.desc, ring.count, ring.head, load_relaxed64(&ring.desc[ring.head].word) | RXD_STAT_DD)
        advance(ring)


# --- copying ---

ctypedef struct Cursor:             # where copying a frame has got to
    const uint8_t* data             # next byte
    uint32_t here                   # bytes left where it lies
    Frame* piece                    # next piece
    Frame* end
    uint32_t skip                   # bytes of it that were had already
    const uint8_t* crc              # behind the last piece


cdef void store(Card* card, Ring* ring, const Arrival* frame) noexcept nogil:
    """Any frame: pieces on one side, a chain of descriptors on the other, the CRC behind it unless it is stripped.

    The packet checksum is in each descriptor: it belongs into the first (§3.2.3), and status and errors into the last.
    """
    cdef Cursor cursor
    cdef uint32_t left = frame.length - frame.stripped, part, size
    cdef uint8_t* target
    start(&cursor, frame)
    if not card.rctl & RCTL_SECRC:
        left += CRC_LENGTH
    size = left
    while left:
        skip_null(card, ring)
        if ring.available == 0:             # the host made null descriptors of those that were counted
            card.drops[DROP_RX_DMA] += 1
            return
        part = left if left < card.rx_buffer_size else card.rx_buffer_size
        saw_fetch(card, RING_RX, ring.head, &ring.desc[ring.head], 0)
        target = translate(card.iovas, load_relaxed64(&ring.desc[ring.head].address), part, True, &card.rx_data_hint)
        if target == NULL:
            fail_dma(card, ring)
            return
        copy_pieces(target, &cursor, part)
        left -= part
        write_received(card, ring.desc, ring.count, ring.head, part | frame.word | (0 if left else RXD_STAT_EOP))
        advance(ring)
    ring.causes |= small_packet(card, size)


cdef void start(Cursor* cursor, const Arrival* frame) noexcept nogil:
    """Begin with the first byte; behind the addresses, a tag that is stripped is left out."""
    cursor.piece = frame.pieces
    cursor.end = frame.pieces + frame.count
    cursor.crc = &frame.crc[0]
    cursor.skip = cursor.here = 0
    if frame.stripped:
        cursor.data = frame.header
        cursor.here = TYPE_OFFSET
        cursor.skip = TYPE_OFFSET + frame.stripped
        while cursor.skip >= cursor.piece.len and cursor.piece + 1 != cursor.end:
            cursor.skip -= cursor.piece.len
            cursor.piece += 1


cdef void copy_pieces(uint8_t* target, Cursor* cursor, uint32_t part) noexcept nogil:
    """Copy the next `part` bytes of a frame."""
    cdef uint32_t here
    while part:
        if cursor.here == 0:
            next_piece(cursor)
        here = cursor.here if cursor.here < part else part
        memmove(target, cursor.data, here)
        target += here
        part -= here
        cursor.data += here
        cursor.here -= here


cdef inline void next_piece(Cursor* cursor) noexcept nogil:
    if cursor.piece == cursor.end:
        cursor.data = cursor.crc
        cursor.here = CRC_LENGTH
        return
    cursor.data = cursor.piece.data + cursor.skip
    cursor.here = cursor.piece.len - cursor.skip
    cursor.skip = 0
    cursor.piece += 1


cdef void fail_dma(Card* card, Ring* ring) noexcept nogil:
    """The buffer is not there (a master abort): the descriptor goes back with an error, and the frame is lost."""
    write_received(card, ring.desc, ring.count, ring.head, RXD_STAT_DD | RXD_STAT_EOP | RXD_ERROR_RXE)
    received_master_abort(card)
    card.drops[DROP_RX_DMA] += 1
    advance(ring)
