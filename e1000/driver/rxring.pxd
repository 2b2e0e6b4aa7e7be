"""RxRing: receive cleaning and refill."""

from cython cimport final
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from e1000.bus.base cimport Bus
from e1000.desc cimport Desc
from fastring.burst cimport Burst, BurstSink
from fastring.clock cimport Clock
from fastring.pool cimport BufferPool


@final
cdef class RxRing:
    cdef readonly Bus bus
    cdef Clock clock
    cdef public BurstSink sink
    cdef Burst burst
    cdef Desc* desc
    cdef uint64_t desc_iova
    cdef readonly BufferPool pool
    cdef uint32_t* buffers          # the pool buffer each descriptor leads to; with copybreak NO_BUFFER once it went with a burst
    cdef uint32_t missing           # of them
    cdef uint8_t* copies            # packets up to copybreak, as they lie in the burst
    cdef uint32_t copy_size         # bytes from one to the next
    cdef readonly uint32_t count
    cdef readonly uint32_t buffer_size
    cdef readonly uint32_t copybreak
    cdef readonly uint32_t fcs      # bytes of it behind each packet
    cdef uint64_t refused           # a packet with one of these errors is dropped
    cdef uint64_t* words            # the RxSkbs' that its packets go to, or NULL
    cdef uint32_t next_to_use, next_to_clean
    cdef readonly uint64_t packets, bytes, errors, alloc_failed, sink_failed
    cdef readonly uint64_t abandoned        # packets in the ring when it was closed

    cdef int clean(self, int budget) noexcept nogil
    cdef uint32_t chain_length(self) noexcept nogil
    cdef int take_plain(self, int budget) noexcept nogil
    cdef void take_chain(self, uint32_t descriptors, int64_t now) noexcept nogil
    cdef void refill(self) noexcept nogil
    cdef void hand_over(self) noexcept nogil
