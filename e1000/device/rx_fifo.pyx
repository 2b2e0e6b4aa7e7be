"""The receive FIFO: frames that wait for descriptors, in the part of the packet buffer that PBA gives them (§13.4.16).

A byte ring of records: a header, the frame as it came, padding. What was found out about a frame on arrival is kept in its header.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

from e1000.device.arrival cimport PAUSE, Arrival, look_at
from e1000.device.rx_store cimport ENOUGH, NEVER, Ring, Room, count_stored, room_for, store, take_crc
from e1000.device.state cimport DROP_RX_DISABLED, DROP_RX_MISSED, FIFO_SIZE, Card
from e1000.device.statistics cimport stat_index
from e1000.regs cimport CRC_LENGTH, ICR_RXO, MPC, RNBC
from fastring.burst cimport FRAME_ERRORS, FRAME_MORE, Frame

cdef enum:
    GRAIN = 16                      # bytes a record is a multiple of, as on silicon; its header is one

ctypedef struct Record:
    uint32_t length                 # bytes on the wire, without CRC
    uint16_t errors                 # FRAME_ERRORS
    uint16_t stripped
    uint64_t word                   # see Arrival


cdef inline uint32_t record_size(uint32_t length) noexcept nogil:
    """Bytes of FIFO for a frame, its CRC included."""
    return (<uint32_t>sizeof(Record) + length + CRC_LENGTH + GRAIN - 1) & ~<uint32_t>(GRAIN - 1)


cdef inline Record* first_record(Card* card) noexcept nogil:
    """The oldest frame's: sizes are multiples of GRAIN, so that a header never wraps."""
    return <Record*>(card.fifo + card.fifo_read)


cdef void to_fifo(Card* card, Ring* ring, const Arrival* frame, Room room) noexcept nogil:
    """Keep a frame until the host gives descriptors; MPC when it does not fit in here, or never will in the ring."""
    cdef Record record
    cdef uint32_t offset = sizeof(Record)
    cdef int i
    if record_size(frame.length) > card.fifo_size - card.fifo_used or room == NEVER:
        card.stat[stat_index(MPC)] += 1
        card.drops[DROP_RX_MISSED] += 1
        ring.causes |= ICR_RXO
        return
    if ring.available == 0 and frame.control != PAUSE:
        card.stat[stat_index(RNBC)] += 1
    record.length = frame.length
    record.errors = <uint16_t>frame.errors
    record.stripped = <uint16_t>frame.stripped
    record.word = frame.word
    write(card, 0, <const uint8_t*>&record, sizeof(Record))
    for i in range(frame.count):
        write(card, offset, frame.pieces[i].data, frame.pieces[i].len)
        offset += frame.pieces[i].len
    card.fifo_used += record_size(frame.length)
    count_stored(card, frame)


cdef void write(Card* card, uint32_t offset, const uint8_t* data, uint32_t length) noexcept nogil:
    """Write behind what is used, around the end."""
    cdef uint32_t start = (card.fifo_read + card.fifo_used + offset) % card.fifo_size
    cdef uint32_t first = card.fifo_size - start
    if first > length:
        first = length
    memcpy(card.fifo + start, data, first)
    memcpy(card.fifo, data + first, length - first)


cdef void drop_first(Card* card) noexcept nogil:
    """Be done with the oldest frame."""
    cdef uint32_t size = record_size(first_record(card).length)
    card.fifo_read = (card.fifo_read + size) % card.fifo_size
    card.fifo_used -= size


cdef void drain_fifo(Card* card, Ring* ring) noexcept nogil:
    """Give waiting frames to the host as far as its descriptors reach."""
    cdef Record* record
    cdef Room room
    while card.fifo_used:
        record = first_record(card)
        room = room_for(card, ring, record.length - record.stripped)
        if room == ENOUGH:
            store_first(card, ring, record)
        elif room == NEVER:                             # the ring is another than when it came
            card.stat[stat_index(MPC)] += 1
            card.drops[DROP_RX_MISSED] += 1
        else:
            break
        drop_first(card)


cdef void store_first(Card* card, Ring* ring, const Record* record) noexcept nogil:
    """Give the oldest frame to the host: it lies in one or two pieces."""
    cdef Frame pieces[2]
    cdef Arrival frame
    cdef uint32_t start = (card.fifo_read + <uint32_t>sizeof(Record)) % card.fifo_size
    pieces[0].data = card.fifo + start
    pieces[0].len = record.length if record.length < card.fifo_size - start else card.fifo_size - start
    pieces[0].flags = record.errors | (FRAME_MORE if pieces[0].len < record.length else 0)
    pieces[1].data = card.fifo
    pieces[1].len = record.length - pieces[0].len
    pieces[1].flags = 0
    look_at(&frame, pieces, 2)
    frame.stripped = record.stripped
    frame.word = record.word
    take_crc(card, &frame)
    store(card, ring, &frame)


cdef void empty_fifo(Card* card) noexcept nogil:
    """At a reset: the frames that wait find nobody who listens."""
    while card.fifo_used:
        drop_first(card)
        card.drops[DROP_RX_DISABLED] += 1


cdef void resize_fifo(Card* card, uint32_t size) noexcept nogil:
    """Give the FIFO another size, at most FIFO_SIZE; the newest frames that do not fit any more are missed."""
    cdef uint32_t kept = 0, used = card.fifo_used, next
    if card.fifo_used:
        rotate(card.fifo, card.fifo_size, card.fifo_read)
    card.fifo_read = card.fifo_used = 0
    card.fifo_size = size
    while kept < used:
        next = kept + record_size((<Record*>(card.fifo + kept)).length)
        if next <= size:
            card.fifo_used = next
        else:
            card.stat[stat_index(MPC)] += 1
            card.drops[DROP_RX_MISSED] += 1
        kept = next


cdef void rotate(uint8_t* bytes, uint32_t size, uint32_t first) noexcept nogil:
    """Bring byte `first` to the beginning, what was before it to the end."""
    reverse(bytes, first)
    reverse(bytes + first, size - first)
    reverse(bytes, size)


cdef void reverse(uint8_t* bytes, uint32_t size) noexcept nogil:
    cdef uint32_t i
    cdef uint8_t byte
    for i in range(size // 2):
        byte = bytes[i]
        bytes[i] = bytes[size - 1 - i]
        bytes[size - 1 - i] = byte


cdef bint fifo_is_possible(const Card* card, const uint8_t* fifo) noexcept nogil:
    """Whether `fifo`, of a snapshot, holds whole records from where `card` says to where it says, each a frame that can have come."""
    cdef Record record
    cdef uint32_t at = card.fifo_read, left = card.fifo_used, size
    if card.fifo_size > FIFO_SIZE or card.fifo_size % GRAIN or at % GRAIN or left > card.fifo_size or (at >= card.fifo_size and at):
        return False
    while left:
        memcpy(&record, fifo + at, sizeof(Record))
        if record.length > FIFO_SIZE or record.stripped > record.length or record.errors & ~<uint32_t>FRAME_ERRORS:
            return False
        size = record_size(record.length)
        if size > left:
            return False
        at = (at + size) % card.fifo_size
        left -= size
    return True
