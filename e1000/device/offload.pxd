"""Checksums and VLAN tags put into packets (§3.5, §3.6, §9.2)."""

from libc.stdint cimport uint8_t, uint32_t

from e1000.desc cimport Desc
from e1000.device.state cimport Card
from e1000.regs cimport CTRL, CTRL_VME

cdef enum:
    ADDRESSES = 12                  # bytes before the EtherType; a shorter frame gets no tag
    TAG_LENGTH = 4                  # of an 802.1Q tag, and the room needed before a frame that may get one

cdef void insert_checksum(uint8_t* frame, uint32_t length, uint32_t start, uint32_t offset, uint32_t end) noexcept nogil
cdef void insert_checksums(uint8_t* frame, uint32_t length, const Desc* context, uint32_t options) noexcept nogil
cdef uint8_t* insert_tag(Card* card, uint8_t* frame, uint32_t tag) noexcept nogil


cdef inline bint tags_frames(Card* card) noexcept nogil:
    """Whether VLE means anything."""
    return card.regs[CTRL >> 2] & CTRL_VME != 0
