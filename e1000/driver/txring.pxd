"""TxRing: burst transmit and its completion."""

from cython cimport final
from libc.stdint cimport uint8_t, uint32_t, uint64_t

from e1000.bus.base cimport Bus
from e1000.desc cimport Desc
from fastring.burst cimport Frame
from fastring.clock cimport Clock
from fastring.txq cimport TxQueue, XmitTarget

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
    cdef readonly uint32_t rs_every
    cdef readonly bint running
    cdef public bint resetting      # closed, to be allocated again: not down
    cdef readonly bint transmitting  # inside xmit_burst
    cdef readonly uint64_t packets, bytes, busy, dropped, bounced, aborted

    cdef uint32_t unused(self) noexcept nogil
    cdef int put_burst(self, Frame* frames, int n) noexcept nogil
    cdef void publish(self, uint32_t use, uint32_t bytes) noexcept nogil
    cdef uint32_t clean(self) noexcept nogil
