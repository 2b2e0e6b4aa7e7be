"""Packets of any form, by batches: many descriptors, padding, checksums, tags; and what cannot be sent."""

from libc.stdint cimport uint32_t, uint64_t

from e1000.desc cimport Desc
from e1000.device.state cimport Card
from fastring.burst cimport Frame

cdef enum:
    BATCH = 64                      # descriptors gathered before the wire is called

ctypedef struct Packet:
    uint32_t length                 # bytes on the wire without CRC; 0: nothing to send
    uint32_t padding                # of these, added by PSP
    uint32_t frame_end              # Frames of the batch up to and with this packet
    uint32_t desc_end               # descriptors of the batch up to and with it
    uint32_t group                  # BPTC, MPTC or 0
    int trouble                     # a drop reason, or -1

ctypedef struct Batch:
    uint32_t descs, frame_count, packet_count
    uint32_t staged                 # bytes of card.tx_stage in use
    uint64_t status                 # what its last descriptor gets besides DD: of one packet, which something befell
    uint32_t generation             # of the card, as the ring was found
    bint segmented                  # it ends before a packet to be segmented
    Desc contexts[2]                # as the descriptors gathered so far leave them
    uint64_t addresses[BATCH]       # each descriptor's first word, as fetched
    uint64_t words[BATCH]           # and its second
    Packet packets[BATCH]
    Frame frames[2 * BATCH]         # a padded packet has one more than descriptors

cdef void gather(Card* card, Desc* ring, uint32_t count, uint32_t tail, uint32_t left, Batch* batch) noexcept nogil
cdef uint32_t send(Card* card, Batch* batch) noexcept nogil
cdef void write_back(Card* card, Desc* ring, uint32_t count, Batch* batch, uint32_t done, uint32_t tail) noexcept nogil
cdef uint32_t send_long(Card* card, Desc* ring, uint32_t count, uint32_t tail, Batch* batch) noexcept nogil
