"""The far end of the card's cable, and what must hold whatever is done to a card."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdio cimport fprintf, stderr
from libc.stdlib cimport abort, free, malloc
from libc.string cimport memcpy

from e1000.device.state cimport DROP_RX_DISABLED, FIFO_SIZE, HOLD_LINK, RAR_ENTRIES, Card
from e1000.device.statistics cimport stat_index
from e1000.regs cimport CRC_LENGTH, MAX_FRAME, TPR
from fastring.burst cimport FRAME_MORE, NO_BUFFER, NO_IOVA, Frame, packets_in

cdef enum:
    MOST_PIECES = 64


cdef void check(bint holds, const char* what) noexcept nogil:
    if not holds:
        fprintf(stderr, "fuzz: %s\n", what)
        abort()


cdef class FuzzWire(Wire):
    """Reads every byte it is given; takes as many packets as the script says; may answer, or act on the card, meanwhile."""

    cdef int transmit(self, Frame* frames, int n) noexcept nogil:
        cdef int i, taken = 0
        cdef uint32_t length = 0, j
        cdef volatile uint32_t total = 0        # so that the reads stay
        check(n > 0, "a transmission of nothing")
        for i in range(n):
            check(frames[i].len > 0, "an empty piece on the wire")
            length += frames[i].len
            for j in range(frames[i].len):
                total += frames[i].data[j]
            if not frames[i].flags & FRAME_MORE:
                check(length <= MAX_FRAME - CRC_LENGTH, "a packet too long for the wire")
                length = 0
                if self.places:
                    self.places -= 1
                    self.sent += 1
                    taken = i + 1
        check(length == 0, "half a packet on the wire")
        if self.echo and taken:
            self.echoed += packets_in(frames, taken)
            self.deliver(frames, taken, False)
        while self.acts:
            self.acts -= 1
            if not self.act():
                break
        return taken

    cdef void arrive(self, Card* card, const uint8_t* packets, const uint32_t* lengths, uint32_t count, uint32_t pieces,
                     uint32_t errors, bint may_refuse) noexcept nogil:
        """Let packets, which lie one behind the other, arrive in so many pieces, with FRAME_ERRORS. Each must be accounted for."""
        cdef Frame frames[MOST_PIECES]
        cdef uint32_t i, acts = self.acts
        cdef int n = 0, taken, j
        cdef uint64_t before = accounted(card) - self.echoed, arrived = 0      # the card may send pause frames, which come back too
        for i in range(count):
            n += cut(&frames[n], packets, lengths[i], pieces, errors)
            packets += lengths[i]
        taken = self.deliver(frames, n, may_refuse)
        check(0 <= taken <= n, "more frames taken than there were")
        check(may_refuse or taken == n, "frames refused that must be taken")
        check(taken == 0 or not frames[taken - 1].flags & FRAME_MORE, "half a packet taken")
        for j in range(n):
            arrived += j < taken and not frames[j].flags & FRAME_MORE
            free(frames[j].data)
        check(self.acts != acts or accounted(card) - self.echoed == before + arrived, "a frame went nowhere")


cdef int cut(Frame* frames, const uint8_t* packet, uint32_t length, uint32_t pieces, uint32_t errors) noexcept nogil:
    """Copy a packet into Frames, each a block of its own; returns how many."""
    cdef uint32_t i, done = 0, part
    if pieces > length:
        pieces = length
    for i in range(pieces):
        part = length // pieces if i + 1 < pieces else length - done
        frames[i].data = <uint8_t*>malloc(part)
        memcpy(frames[i].data, packet + done, part)
        frames[i].len = part
        frames[i].iova = NO_IOVA
        frames[i].buffer = NO_BUFFER
        frames[i].time = 0
        frames[i].wire_len = length if i == 0 else 0
        frames[i].queue = 0
        frames[i].flags = errors | (FRAME_MORE if i + 1 < pieces else 0)
        done += part
    return pieces


cdef uint64_t accounted(const Card* card) noexcept nogil:
    """Frames that came to the card, whatever became of them."""
    return card.stat[stat_index(TPR)] + card.drops[DROP_RX_DISABLED]


cdef void check_card(const Card* card) noexcept nogil:
    """Every index in range, between two accesses."""
    check(card.fifo_size <= FIFO_SIZE and card.fifo_used <= card.fifo_size, "FIFO overfull")
    check(card.fifo_read < FIFO_SIZE, "FIFO read out of range")
    check(card.ra_count <= RAR_ENTRIES, "too many station addresses")
    check(not card.tx_running, "the transmit engine never ended")
    check(card.wire != NULL or card.loopback or card.tx_hold & HOLD_LINK, "a transmitter that goes on without a cable")
