"""Descriptors that are done with and not yet written back (TXDCTL, RXDCTL: §3.2.5, §3.4.2).

A write-back threshold (WTHRESH) saves bus transactions: the card keeps descriptors until there are so many of them, and a delay
timer sees to it that none waits for ever. So without a clock, or with that timer's register 0, nothing is kept.
"""

from libc.stdint cimport uint32_t, uint64_t

from e1000.desc cimport Desc
from e1000.device.far cimport write_out
from e1000.device.pci cimport received_master_abort
from e1000.device.state cimport GENERAL_WRITEBACK, MOST_KEPT, Card, WriteBack, ring_count
from e1000.device.watch cimport RING_RX, RING_TX
from e1000.regs cimport DCTL_GRAN, DCTL_WTHRESH_SHIFT, RDTR, RXDCTL, TIDV, TXDCTL
from fastring.memory cimport ACCESS_STORE, translate

cdef enum:
    CACHE_LINE_SIZE = 0x0C          # in configuration space, in units of 4 bytes
    DESC_DWORDS = 4


cdef uint32_t threshold(Card* card, uint32_t control, bint timed) noexcept nogil:
    """Descriptors to keep by a TXDCTL or RXDCTL; 0 if each is written at once. A cache line of unknown size counts as one."""
    cdef uint32_t limit = control >> DCTL_WTHRESH_SHIFT & 63
    if not timed or card.clock == NULL:
        return 0
    if not control & DCTL_GRAN and card.pci.config[CACHE_LINE_SIZE] > DESC_DWORDS:
        limit *= card.pci.config[CACHE_LINE_SIZE] / DESC_DWORDS
    if limit > MOST_KEPT:
        limit = MOST_KEPT
    return limit if limit > 1 else 0


cdef void derive_thresholds(Card* card) noexcept nogil:
    """Work out what follows from registers and the cache line size."""
    card.tx_kept.threshold = threshold(card, card.regs[TXDCTL >> 2], card.regs[TIDV >> 2] != 0)
    card.rx_kept.threshold = threshold(card, card.regs[RXDCTL >> 2], card.regs[RDTR >> 2] != 0)
    card.tx_general = card.tx_general & ~<uint32_t>GENERAL_WRITEBACK | (GENERAL_WRITEBACK if card.tx_kept.threshold else 0)
    card.rx_general = card.rx_general & ~<uint32_t>GENERAL_WRITEBACK | (GENERAL_WRITEBACK if card.rx_kept.threshold else 0)


cdef bint kept_are_possible(const Card* card) noexcept nogil:
    """Whether descriptors are kept as a card can keep them: for one that comes out of a snapshot, its thresholds derived."""
    return is_possible(&card.tx_kept, ring_count(card.tdlen)) and is_possible(&card.rx_kept, ring_count(card.rdlen))


cdef bint is_possible(const WriteBack* kept, uint32_t count) noexcept nogil:
    cdef uint32_t i
    if kept.count and kept.count >= kept.threshold:
        return False
    for i in range(kept.count):
        if kept.slots[i] >= count:
            return False
    return True


cdef void update_thresholds(Card* card) noexcept nogil:
    """After a write to what they follow from; what the new ones would not keep is written."""
    derive_thresholds(card)
    if card.tx_kept.count >= card.tx_kept.threshold:
        flush_transmit(card)
    if card.rx_kept.count >= card.rx_kept.threshold:
        flush_receive(card)


cdef void write_kept(Card* card, uint32_t which, WriteBack* kept, Desc* ring) noexcept nogil:
    """Write what is kept to the ring it belongs to, in order."""
    cdef uint32_t i = 0
    while i < kept.count:               # who looks on may reset the card
        write_status(card, which, ring, kept.slots[i], kept.words[i])
        i += 1
    kept.count = 0


cdef void flush(Card* card, uint32_t which, WriteBack* kept, uint64_t base, uint32_t length, uint32_t* hint) noexcept nogil:
    """Write what is kept, if the ring can still be reached. A ring that moves has nothing kept any more (mmio.write_ring)."""
    cdef Desc* ring
    if kept.count == 0 or card.stalled:
        return
    ring = <Desc*>translate(card.iovas, base, length, ACCESS_STORE, hint)
    if ring == NULL:
        received_master_abort(card)
        kept.count = 0
    else:
        write_kept(card, which, kept, ring)
        write_out(card)


cdef void flush_transmit(Card* card) noexcept nogil:
    flush(card, RING_TX, &card.tx_kept, card.tdba, card.tdlen, &card.tx_ring_hint)


cdef void flush_receive(Card* card) noexcept nogil:
    flush(card, RING_RX, &card.rx_kept, card.rdba, card.rdlen, &card.rx_ring_hint)
