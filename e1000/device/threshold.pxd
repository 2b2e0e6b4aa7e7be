"""Descriptors that are done with and not yet written back (TXDCTL, RXDCTL: §3.2.5, §3.4.2)."""

from libc.stdint cimport uint32_t, uint64_t

from e1000.desc cimport Desc
from e1000.device.faults cimport delay_write_back
from e1000.device.state cimport Card, WriteBack
from e1000.device.watch cimport RING_RX, saw_write_back
from fastring.atomic cimport store_release64

cdef void flush_transmit(Card* card) noexcept nogil
cdef void flush_receive(Card* card) noexcept nogil
cdef void write_kept(Card* card, uint32_t which, WriteBack* kept, Desc* ring) noexcept nogil
cdef void update_thresholds(Card* card) noexcept nogil
cdef void derive_thresholds(Card* card) noexcept nogil
cdef bint kept_are_possible(const Card* card) noexcept nogil


cdef inline bint keep(WriteBack* kept, uint32_t slot, uint64_t word) noexcept nogil:
    """Keep a descriptor back; returns whether they are enough to be written. Thresholds are at most MOST_KEPT."""
    kept.slots[kept.count] = slot
    kept.words[kept.count] = word
    kept.count += 1
    return kept.count >= kept.threshold


cdef inline void write_status(Card* card, uint32_t which, Desc* ring, uint32_t slot, uint64_t word) noexcept nogil:
    """Write a descriptor back behind its data, unless a fault delays that."""
    if card.faults != NULL and delay_write_back(card, which, ring, slot, word):
        return
    store_release64(&ring[slot].word, word)             # pairs with the driver's acquire of DD
    saw_write_back(card, which, slot, &ring[slot], word)


cdef inline void write_received(Card* card, Desc* ring, uint32_t count, uint32_t slot, uint64_t word) noexcept nogil:
    """Write a receive descriptor back, or keep it; the ring's last one writes all (§3.2.5.1)."""
    if not card.rx_kept.threshold:
        write_status(card, RING_RX, ring, slot, word)
    elif keep(&card.rx_kept, slot, word) or slot + 1 == count:
        write_kept(card, RING_RX, &card.rx_kept, ring)
