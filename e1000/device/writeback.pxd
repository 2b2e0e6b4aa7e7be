"""What the transmit engine tells the host: status in descriptors, the head, interrupt causes (§3.3.1.2)."""

from libc.stdint cimport uint32_t, uint64_t

from e1000.desc cimport TXD_CMD_RPS, TXD_CMD_RS, TXD_CMD_TSE, TXD_DTYP_MASK, TXD_STA_DD, Desc, is_context
from e1000.device.far cimport write_out
from e1000.device.moderation cimport keep_sent, raise_transmit, written_back
from e1000.device.state cimport Card, ring_count
from e1000.device.threshold cimport write_status
from e1000.device.watch cimport RING_TX
from e1000.regs cimport ICR_TXD_LOW, ICR_TXQE, TXDCTL, TXDCTL_LWTHRESH_SHIFT
from fastring.atomic cimport load_relaxed64, store_release32, store_release64


cdef inline uint32_t report(Desc* desc, uint64_t word, uint32_t causes) noexcept nogil:
    """Write status back where it was asked for. Returns the interrupt causes after it."""
    if not word & (TXD_CMD_RS | TXD_CMD_RPS):
        return causes
    store_release64(&desc.word, word | TXD_STA_DD)      # pairs with the driver's acquire of DD
    return written_back(word, causes)


cdef inline uint32_t report_any(Card* card, Desc* ring, uint32_t slot, uint64_t word, uint32_t causes) noexcept nogil:
    """`report`, with a write-back threshold, faults, and somebody who looks on."""
    if not word & (TXD_CMD_RS | TXD_CMD_RPS):
        return causes
    if card.tx_kept.threshold:
        return keep_sent(card, slot, word, causes)
    write_status(card, RING_TX, ring, slot, word | TXD_STA_DD)
    return written_back(word, causes)


cdef inline void move_head(Card* card, uint32_t head, uint32_t tail, uint32_t causes) noexcept nogil:
    """Move the head on; TXQE at the tail, TXD_LOW when what is left has fallen to the threshold (§13.4.43).

    A threshold of 0 would tell of an empty descriptor cache, which there is not: TXQE tells the same.
    """
    cdef uint32_t low = 8 * (card.regs[TXDCTL >> 2] >> TXDCTL_LWTHRESH_SHIFT), count = ring_count(card.tdlen)
    cdef uint32_t before = tail - card.tdh if tail >= card.tdh else tail + count - card.tdh
    cdef uint32_t left = tail - head if tail >= head else tail + count - head
    if write_out(card):
        return
    card.tx_segments = 0                                # the packet at the head is another one
    store_release32(&card.tdh, head)
    if left == 0:
        causes |= ICR_TXQE
    if low and left <= low < before:
        causes |= ICR_TXD_LOW
    if causes:
        raise_transmit(card, causes)


cdef inline void load_context(Desc* contexts, uint64_t address, uint64_t word) noexcept nogil:
    """Keep a context descriptor: one for checksums, one for segmentation (§3.3.6)."""
    cdef Desc* context = &contexts[1 if word & TXD_CMD_TSE else 0]
    if not word & TXD_DTYP_MASK:
        context.address = address
        context.word = word


cdef inline void complete(Card* card, Desc* ring, uint32_t count, uint32_t descs, uint32_t tail, uint64_t status) noexcept nogil:
    """Report `descs` descriptors from the head on, which were not kept when fetched, and move the head past them.

    `status`: what the last one gets besides DD.
    """
    cdef uint32_t head = card.tdh, causes = 0, i
    cdef uint64_t word
    for i in range(descs):
        word = load_relaxed64(&ring[head].word)
        if is_context(word):
            load_context(card.tx_context, load_relaxed64(&ring[head].address), word)
        causes = report_any(card, ring, head, word | status if i + 1 == descs else word, causes)
        head = head + 1 if head + 1 != count else 0
    move_head(card, head, tail, causes)
