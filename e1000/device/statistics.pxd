"""Statistics (§13.7): what both engines count, and where each counter lies."""

from libc.stdint cimport uint32_t, uint64_t

from e1000.device.filter cimport ADDRESS_BITS
from e1000.device.state cimport Card
from e1000.regs cimport BPRC, DC, GORCL, GOTCL, GPRC, GPTC, MPRC, PRC64, PTC64, RCTL_BAM, TORL, TOTL, TPR, TPT


cdef inline uint32_t stat_index(uint32_t offset) noexcept nogil:
    """Slot of the statistic at a register offset."""
    return (offset - 0x4000) >> 2


cdef extern from *:
    int count_leading_zeros "__builtin_clz"(unsigned int value) nogil


cdef inline uint32_t size_class(uint32_t length) noexcept nogil:
    """0 to 5: which of PRC64..PRC1522 (PTC64..PTC1522) counts a frame of `length` bytes with CRC (§13.7.18)."""
    cdef uint32_t size
    if length <= 64:
        return 0
    size = 26 - count_leading_zeros(length)     # each class but the first begins at a power of two
    return size if size < 5 else 5


cdef inline void count_arrivals(Card* card, uint32_t packets, uint64_t octets) noexcept nogil:
    """Statistics of all that arrives, octets with CRC."""
    card.stat[stat_index(TPR)] += packets
    card.stat[stat_index(TORL)] += octets


cdef inline void count_good(Card* card, uint32_t packets, uint64_t octets) noexcept nogil:
    """Statistics of good frames."""
    card.stat[stat_index(GPRC)] += packets
    card.stat[stat_index(GORCL)] += octets


cdef inline void count_received_kind(Card* card, uint64_t destination, uint32_t length) noexcept nogil:
    """Statistics of one good frame by its length with CRC, and by its destination."""
    cdef uint64_t* stat = card.stat
    stat[stat_index(PRC64) + size_class(length)] += 1
    if destination & 1:
        if destination == ADDRESS_BITS:
            stat[stat_index(BPRC)] += card.rctl & RCTL_BAM != 0     # not while broadcasts as such are filtered out (§13.7.28)
        else:
            stat[stat_index(MPRC)] += 1


cdef inline void count_sent(Card* card, uint32_t packets, uint64_t octets) noexcept nogil:
    """Statistics of packets sent, octets with CRC."""
    cdef uint64_t* stat = card.stat
    stat[stat_index(GPTC)] += packets
    stat[stat_index(TPT)] += packets
    stat[stat_index(GOTCL)] += octets
    stat[stat_index(TOTL)] += octets


cdef inline void count_sent_kind(Card* card, uint32_t length, uint32_t group) noexcept nogil:
    """Statistics of one packet by its length with CRC, and by its destination."""
    card.stat[stat_index(PTC64) + size_class(length)] += 1
    if group:
        card.stat[stat_index(group)] += 1


cdef inline void count_deferral(Card* card) noexcept nogil:
    """What cannot be sent at once, because the link is down or paused, is deferred: once however long it waits (§13.7.12)."""
    if not card.tx_deferred:
        card.stat[stat_index(DC)] += 1
    card.tx_deferred = True


cdef inline void count_padding(Card* card, uint32_t padding) noexcept nogil:
    if padding:
        card.tx_padded += 1
        card.tx_pad_bytes += padding
