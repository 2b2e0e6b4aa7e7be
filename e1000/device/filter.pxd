"""The address filter (§3.2.1): which destinations a card takes."""

from libc.stdint cimport uint32_t, uint64_t

from e1000.device.state cimport Card
from e1000.regs cimport MTA, RCTL_BAM, RCTL_MO_SHIFT, RCTL_MPE, RCTL_UPE

cdef extern from *:
    """
    #define FASTRING_ADDRESS_BITS 0xFFFFFFFFFFFFull
    """
    const uint64_t ADDRESS_BITS "FASTRING_ADDRESS_BITS"     # six bytes of a 64-bit word; also the broadcast address


cdef inline uint32_t multicast_hash(Card* card, uint64_t destination) noexcept nogil:
    """12 of the address's last 16 bits: 47:36, 46:35, 45:34 or 43:32 by RCTL.MO (§13.5.1)."""
    cdef uint32_t offset = card.rctl >> RCTL_MO_SHIFT & 3
    return <uint32_t>(destination >> (36 - offset if offset < 3 else 32)) & 0xFFF


cdef enum:                          # what the filter says
    NOT_OURS = 0
    EXACT = 1                       # a station address, broadcast, or when promiscuous
    INEXACT = 2                     # a multicast that only its hash let in: PIF


cdef inline uint32_t address_match(Card* card, uint64_t destination) noexcept nogil:
    """Whether and how a frame to `destination`, first byte lowest, passes."""
    cdef uint32_t i, bit
    if not destination & 1 and card.rctl & RCTL_UPE:
        return EXACT
    if destination == ADDRESS_BITS and card.rctl & (RCTL_BAM | RCTL_MPE):
        return EXACT
    for i in range(card.ra_count):
        if card.ra[i] == destination:
            return EXACT
    if destination & 1 and destination != ADDRESS_BITS:
        if card.rctl & RCTL_MPE:
            return EXACT
        bit = multicast_hash(card, destination)
        if card.regs[(MTA >> 2) + (bit >> 5)] >> (bit & 31) & 1:
            return INEXACT
    return NOT_OURS


cdef inline bint source_match(Card* card, uint64_t source) noexcept nogil:
    """Whether an address register set to look at sources (RAH.AS, §13.5.3) has this one."""
    cdef uint32_t i
    for i in range(card.source_count):
        if card.source[i] == source:
            return True
    return False
