"""Checksums and VLAN tags put into packets (§3.5, §3.6, §9.2).

All of it works on frames in the card's own memory. Offsets are the host's, who may lie: nothing is read or written outside the frame.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memmove

from e1000.desc cimport TXD_POPTS_IXSM, TXD_POPTS_TXSM, Desc
from e1000.device.state cimport Card
from e1000.regs cimport VET
from fastring.checksum cimport fold, sum_words

cdef void insert_checksum(uint8_t* frame, uint32_t length, uint32_t start, uint32_t offset, uint32_t end) noexcept nogil:
    """Sum the bytes from `start` to `end` (0: the frame's last), what lies at `offset` included, and put the checksum there.

    Offsets outside the frame: nothing is inserted (§3.3.3.1, §3.3.6). A checksum of 0 stays 0.
    """
    cdef uint16_t checksum
    end = end + 1 if 0 < end < length else length
    if start >= end or offset + 2 > length:
        return
    checksum = ~fold(sum_words(frame + start, end - start))
    memcpy(frame + offset, &checksum, 2)


cdef void insert_checksums(uint8_t* frame, uint32_t length, const Desc* context, uint32_t options) noexcept nogil:
    """What a data descriptor's POPTS ask for, where the context says; IP first, as a TCP checksum may cover anything."""
    cdef uint64_t where = context.address
    if options & TXD_POPTS_IXSM:
        insert_checksum(frame, length, where & 0xFF, where >> 8 & 0xFF, where >> 16 & 0xFFFF)
    if options & TXD_POPTS_TXSM:
        insert_checksum(frame, length, where >> 32 & 0xFF, where >> 40 & 0xFF, where >> 48)


cdef uint8_t* insert_tag(Card* card, uint8_t* frame, uint32_t tag) noexcept nogil:
    """Move the addresses into the room before the frame, and put VET's EtherType and the tag behind them. Returns the new start."""
    cdef uint32_t ethertype = card.regs[VET >> 2]
    frame -= TAG_LENGTH
    memmove(frame, frame + TAG_LENGTH, ADDRESSES)
    frame[ADDRESSES] = ethertype >> 8 & 0xFF
    frame[ADDRESSES + 1] = ethertype & 0xFF
    frame[ADDRESSES + 2] = tag >> 8
    frame[ADDRESSES + 3] = tag & 0xFF
    return frame
