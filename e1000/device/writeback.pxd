"""What the transmit engine tells the host: status in descriptors, the head, interrupt causes (§3.3.1.2)."""

from libc.stdint cimport uint32_t, uint64_t

from e1000.desc cimport TXD_CMD_RPS, TXD_CMD_RS, TXD_CMD_TSE, TXD_DTYP_MASK, TXD_STA_DD, Desc, is_context
from e1000.device.interrupt cimport raise_cause
from e1000.device.state cimport Card
from e1000.regs cimport ICR_TXDW, ICR_TXQE
from fastring.atomic cimport load_relaxed64, store_release32, store_release64


cdef inline uint32_t report(Desc* desc, uint64_t word) noexcept nogil:
    """Write status back where it was asked for. Returns the interrupt cause."""
    if not word & (TXD_CMD_RS | TXD_CMD_RPS):
        return 0
    store_release64(&desc.word, word | TXD_STA_DD)      # pairs with the driver's acquire of DD
    return ICR_TXDW


cdef inline void move_head(Card* card, uint32_t head, uint32_t tail, uint32_t causes) noexcept nogil:
    card.tx_segments = 0                                # the packet at the head is another one
    store_release32(&card.tdh, head)
    if head == tail:
        causes |= ICR_TXQE
    if causes:
        raise_cause(card, causes)


cdef inline void load_context(Desc* contexts, uint64_t address, uint64_t word) noexcept nogil:
    """Keep a context descriptor: one for checksums, one for segmentation (§3.3.6)."""
    cdef Desc* context = &contexts[1 if word & TXD_CMD_TSE else 0]
    if not word & TXD_DTYP_MASK:
        context.address = address
        context.word = word


cdef inline void complete(Card* card, Desc* ring, uint32_t count, uint32_t descs, uint32_t tail) noexcept nogil:
    """Report `descs` descriptors from the head on, which were not kept when fetched, and move the head past them."""
    cdef uint32_t head = card.tdh, causes = 0, _i
    cdef uint64_t word
    for _i in range(descs):
        word = load_relaxed64(&ring[head].word)
        if is_context(word):
            load_context(card.tx_context, load_relaxed64(&ring[head].address), word)
        causes |= report(&ring[head], word)
        head = head + 1 if head + 1 != count else 0
    move_head(card, head, tail, causes)
