"""TxRing: burst transmit, its completion, and the completion of what tx_skb put."""

from cython cimport final
from libc.stdint cimport uint8_t, uint32_t, uint64_t

from e1000.bus.base cimport Bus
from e1000.desc cimport TXD_CMD_IDE, TXD_CMD_RS, Desc
from fastring.atomic cimport store_release32
from fastring.burst cimport Frame
from fastring.clock cimport Clock
from fastring.txq cimport TxQueue, XmitTarget

cdef enum:
    MAX_SKB_FRAGS = 17
    STOP = MAX_SKB_FRAGS + 7        # with less room than the largest packet needs, the queue stops (e1000_xmit_frame's desc_needed)
    START = 2 * MAX_SKB_FRAGS       # and goes on when this much is free
    PACKETS = 0x7FFFFFFF            # of Chunk.packets
    SKB_SHIFT = 31                  # its top bit: it is one packet, the oldest in TxRing.skbs

ctypedef struct Chunk:              # what one descriptor with RS completes: everything since the one before
    uint32_t last                   # its index
    uint32_t packets, bytes


@final
cdef class TxRing(XmitTarget):
    cdef readonly Bus bus
    cdef readonly TxQueue queue
    cdef Clock clock
    cdef Desc* desc
    cdef uint64_t desc_iova, bounce_iova
    cdef uint8_t* bounce            # one buffer a descriptor
    cdef uint32_t bounce_size
    cdef readonly uint32_t count
    cdef uint32_t next_to_use       # written by xmit: atomic
    cdef uint32_t next_to_clean     # written by clean: atomic
    cdef Chunk* chunks              # FIFO of chunks in flight, indexes free-running
    cdef uint32_t chunk_mask
    cdef uint32_t chunk_head        # written by xmit: atomic
    cdef uint32_t chunk_tail        # clean's own
    cdef readonly uint32_t rs_every, doorbell_every
    cdef uint32_t wanted_wake       # as asked for
    cdef readonly uint32_t wake_at  # free descriptors that wake the queue; of a small ring, one that is empty
    cdef uint32_t step              # packets that a burst begins with, until a report or the doorbell is due
    cdef uint32_t epoch             # how often memory was taken
    cdef readonly bint running
    cdef public bint resetting      # closed, to be allocated again: not down
    cdef readonly bint transmitting  # inside xmit_burst
    cdef readonly uint64_t packets, bytes, busy, dropped, bounced, aborted
    cdef object skbs                # the TxBuffers in the ring, oldest first
    cdef object error               # what a packet's destructor raised in clean, for the poll to hand on
    cdef bint unrung                # descriptors that the doorbell has not told of (xmit_more)
    cdef uint64_t context[2]        # the context descriptor that the card has from us; 0 after a reset

    cdef uint32_t unused(self) noexcept nogil
    cdef int put_burst(self, Frame* frames, int n) noexcept nogil
    cdef void tell(self, uint32_t use, uint32_t bytes) noexcept nogil
    cdef void publish(self, uint32_t use, uint32_t bytes) noexcept nogil
    cdef uint32_t clean(self) noexcept nogil
    cdef void complete_skbs(self, uint32_t count) noexcept with gil


@final
cdef class TxBuffer:
    """What is kept of an SkBuff in the ring (e1000_tx_buffer)."""
    cdef object skb
    cdef list mapped                # bus addresses of memory that pieces too long for a descriptor's own buffer were copied to
    cdef uint32_t more_packets, more_bytes      # that segmentation puts on the wire beyond one packet of the skb's length


cdef inline uint32_t report(TxRing ring, uint32_t last, Chunk* chunk) noexcept nogil:
    """Ask for status on descriptor `last`, which completes the chunk; begin a new one. Returns its bytes."""
    cdef uint32_t bytes = chunk.bytes
    ring.desc[last].word |= TXD_CMD_RS | TXD_CMD_IDE
    chunk.last = last
    ring.chunks[ring.chunk_head & ring.chunk_mask] = chunk[0]
    store_release32(&ring.chunk_head, ring.chunk_head + 1)          # pairs with clean's acquire
    chunk.packets = chunk.bytes = 0
    return bytes


cdef uint32_t free_slots(void* ring) noexcept nogil
