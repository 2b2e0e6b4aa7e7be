"""TxQueue: a netdev_queue's stop/wake state and byte queue limits, and what a burst is transmitted to."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t

from fastring.burst cimport Burst, Frame

cdef enum:                          # TxQueue.state, the kernel's netdev_queue_state_t
    DRV_XOFF = 1                    # the driver stopped it: ring full
    STACK_XOFF = 2                  # BQL stopped it: too many bytes in flight
    FROZEN = 4                      # the watchdog or a reset holds it


cdef class TxQueue:
    cdef readonly uint32_t state    # shared by stopper (xmit) and waker (poll): atomic
    cdef bint device_down           # under stop: do not wake
    cdef readonly int64_t trans_start       # ns, last accepted xmit
    cdef readonly uint64_t stops, wakes, restarts, requeues     # restarts: stopped, re-checked, started again
    cdef readonly uint64_t bql_stops        # times BQL stopped it
    cdef readonly uint64_t bql_excess       # bytes completed that were never sent: refused, a driver's bug
    # BQL (lib/dynamic_queue_limits.c): producer side, then completion side on a cache line of its own
    cdef uint32_t num_queued, last_obj_cnt
    cdef uint8_t _cache_line[64]
    cdef uint32_t adj_limit         # limit + num_completed
    cdef uint32_t dql_limit         # bytes
    cdef uint32_t num_completed, prev_ovlimit, prev_num_queued, prev_last_obj_cnt
    cdef uint32_t lowest_slack
    cdef int64_t slack_start_time
    cdef uint32_t max_limit, min_limit
    cdef int64_t slack_hold_time
    cdef readonly bint bql

    cdef bint stopped(self) noexcept nogil              # DRV_XOFF | STACK_XOFF | FROZEN
    cdef bint driver_stopped(self) noexcept nogil       # DRV_XOFF
    cdef void stop_queue(self) noexcept nogil
    cdef void start_queue(self) noexcept nogil
    cdef void wake_queue(self) noexcept nogil
    # netif_txq_maybe_stop: 1 enough room, 0 stopped, -1 stopped and started again. After the producer index is published.
    # `free_slots` is asked again after the fence.
    cdef int maybe_stop(self, uint32_t (*free_slots)(void*) noexcept nogil, void* ring, uint32_t stop, uint32_t start) noexcept nogil
    # __netif_txq_completed_wake: 0 woken, 1 no need, -1 no room. After the consumer index is published.
    cdef int completed_wake(self, uint32_t packets, uint32_t bytes, uint32_t free, uint32_t start, int64_t now) noexcept nogil
    cdef void sent(self, uint32_t bytes) noexcept nogil                 # netdev_tx_sent_queue
    cdef void completed(self, uint32_t packets, uint32_t bytes, int64_t now) noexcept nogil   # netdev_tx_completed_queue
    cdef void reset_bql(self) noexcept nogil                            # netdev_tx_reset_queue
    cdef bint _has_room(self) noexcept nogil
    cdef void _account(self, uint32_t count, int64_t now) noexcept nogil
    cdef uint32_t _shrink(self, uint32_t completed, uint32_t limit, int64_t now) noexcept nogil


cdef class XmitTarget:
    # Returns how many Frames it took, always whole packets; 0 with the queue awake is BUSY; or what `refusal` returns.
    cdef int xmit_burst(self, Frame* frames, int n) noexcept nogil
    # 0, or -errno: why it takes nothing, whatever the queue says.
    cdef int refusal(self) noexcept nogil
    # What `completed` is asked with: a moment in the order of what it was given, now that the last burst was.
    cdef uint64_t completion(self) noexcept nogil
    # Whether it reads nothing any more of what it was given before that moment.
    cdef bint completed(self, uint64_t completion) noexcept nogil
