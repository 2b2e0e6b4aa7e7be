"""TxQueue: a netdev_queue's stop/wake state and byte queue limits, and what a burst is transmitted to.

Stop/wake without a lock (the kernel's include/net/netdev_queues.h). One stopper, the transmit path, and one waker, the poll
that reclaims; they may run at once. Each first publishes its index, then has a full fence, then looks at what the other wrote:

    stopper   publish producer; set DRV_XOFF;  FENCE A;  read the consumer: room? then start again
    waker     publish consumer;                FENCE B;  read DRV_XOFF: stopped, and room? then wake

Whatever the order, one of the two sees the other, so a queue is never left stopped while there is room. Both may see it:
then a wake is early, and the transmit path checks for a full ring first.

Byte queue limits (lib/dynamic_queue_limits.c; Herbert, "Byte Queue Limits", LPC 2011) keep as few bytes in flight as keep the
device busy. The limit grows when the device ran dry while the stack was held back, and shrinks by the least slack seen
during `hold_time`. Counters are free-running 32-bit, compared by signed difference.
"""

import os

from libc.limits cimport UINT_MAX

from fastring.atomic cimport fence_full, fetch_and32, fetch_or32, load_acquire32, load_relaxed32, store_release32

cdef enum:
    MAX_OBJECT = 0x0FFFFFFF         # DQL_MAX_OBJECT: bytes in one call of sent
    MAX_LIMIT = 0x70000000          # DQL_MAX_LIMIT: half the circle, less one such object


cdef inline uint32_t _excess(uint32_t a, uint32_t b) noexcept nogil:
    """a - b where a is ahead of b on the 32-bit circle, else 0 (POSDIFF)."""
    return a - b if <int32_t>(a - b) > 0 else 0


cdef class TxQueue:
    """One transmit queue's flow control. `bql=False` leaves only stop/wake. Limits in bytes, `hold_time` in nanoseconds.

    Transmit thread: maybe_stop, stop, start, sent. Poll thread: completed_wake, wake, completed. Options: at rest.
    """

    def __cinit__(self, *, bint bql=True, limit_min=0, limit_max=MAX_LIMIT, hold_time=1_000_000_000):
        self.bql = bql
        self.limit_max = limit_max
        self.limit_min = limit_min
        self.hold_time = hold_time
        self.reset_bql()

    # --- stop and wake

    cdef bint stopped(self) noexcept nogil:
        """Whether the stack must not transmit, for whatever reason (netif_xmit_frozen_or_stopped)."""
        return load_acquire32(&self.state) != 0

    cdef bint driver_stopped(self) noexcept nogil:
        """Whether the driver stopped it (netif_tx_queue_stopped)."""
        return load_acquire32(&self.state) & DRV_XOFF != 0

    cdef void stop_queue(self) noexcept nogil:
        """Set DRV_XOFF."""
        if not fetch_or32(&self.state, DRV_XOFF) & DRV_XOFF:
            self.stops += 1

    cdef void start_queue(self) noexcept nogil:
        """Clear DRV_XOFF without a wake: the caller is the transmit path and goes on by itself."""
        fetch_and32(&self.state, ~<uint32_t>DRV_XOFF)

    cdef void wake_queue(self) noexcept nogil:
        """Clear DRV_XOFF, and count the wake if it was set."""
        if fetch_and32(&self.state, ~<uint32_t>DRV_XOFF) & DRV_XOFF:
            self.wakes += 1

    cdef int maybe_stop(self, uint32_t (*free_slots)(void*) noexcept nogil, void* ring, uint32_t stop, uint32_t start) noexcept nogil:
        """Stop if fewer than `stop` slots are free, unless `start` are by then: 1 room, 0 stopped, -1 started again."""
        if free_slots(ring) >= stop:
            return 1
        self.stop_queue()
        # Fence A: DRV_XOFF is out before the consumer index is read again. Pairs with fence B in completed_wake.
        fence_full()
        if free_slots(ring) < start:
            return 0
        self.start_queue()
        self.restarts += 1
        return -1

    cdef int completed_wake(self, uint32_t packets, uint32_t bytes, uint32_t free, uint32_t start, int64_t now) noexcept nogil:
        """Account for a completion and wake the queue if `start` slots are free: 0 woken, 1 no need, -1 no room (or no packets).

        `free` may be older than the fence: the producer only takes slots, so an old value can wake early but never miss.
        """
        self.completed(packets, bytes, now)
        if packets == 0 or free < start:
            return -1
        # Fence B: the consumer index is out before DRV_XOFF is read. Pairs with fence A in maybe_stop.
        if not self.bql or bytes == 0:
            fence_full()            # otherwise fence D, in completed, has been it
        if self.device_down or not self.driver_stopped():
            return 1
        self.wake_queue()
        return 0

    # --- byte queue limits

    cdef bint _has_room(self) noexcept nogil:
        return <int32_t>(load_acquire32(&self.adj_limit) - load_relaxed32(&self.num_queued)) >= 0

    cdef void sent(self, uint32_t bytes) noexcept nogil:
        """Count bytes given to the device; past the limit, set STACK_XOFF. Transmit thread only."""
        if not self.bql:
            return
        self.last_obj_cnt = bytes
        store_release32(&self.num_queued, self.num_queued + bytes)      # with last_obj_cnt: acquired in _account
        if self._has_room():
            return
        if not fetch_or32(&self.state, STACK_XOFF) & STACK_XOFF:
            self.bql_stops += 1
        # Fence C: STACK_XOFF is out before the limit is read again. Pairs with fence D in completed.
        fence_full()
        if self._has_room():
            fetch_and32(&self.state, ~<uint32_t>STACK_XOFF)

    cdef void completed(self, uint32_t packets, uint32_t bytes, int64_t now) noexcept nogil:
        """Count bytes the device is done with and adapt the limit; below it, clear STACK_XOFF. Poll thread only."""
        if not self.bql or bytes == 0:
            return
        self._account(bytes, now)
        # Fence D: the new limit is out before STACK_XOFF is read. Pairs with fence C in sent.
        fence_full()
        if self._has_room() and load_relaxed32(&self.state) & STACK_XOFF:
            fetch_and32(&self.state, ~<uint32_t>STACK_XOFF)

    cdef void _account(self, uint32_t count, int64_t now) noexcept nogil:
        """Complete `count` bytes and move the limit (dql_completed)."""
        cdef uint32_t num_queued = load_acquire32(&self.num_queued)
        cdef uint32_t in_flight = num_queued - self.num_completed
        cdef uint32_t limit = self.dql_limit, overlimit, completed
        cdef bint previous_done
        if count > in_flight:
            self.bql_excess += count - in_flight
            count = in_flight
        completed = self.num_completed + count
        overlimit = _excess(in_flight, limit)
        previous_done = <int32_t>(completed - self.prev_num_queued) >= 0
        if (overlimit and completed == num_queued) or (self.prev_ovlimit and previous_done):
            # The device ran dry while the stack was held back: it could have used this many more.
            limit += _excess(completed, self.prev_num_queued) + self.prev_ovlimit
            self.slack_start_time = now
            self.lowest_slack = UINT_MAX
        elif completed != num_queued and self.prev_num_queued != self.num_completed and not previous_done:
            limit = self._shrink(count, limit, now)
        limit = self.max_limit if limit >= self.max_limit else max(limit, self.min_limit)       # clamp
        if limit != self.dql_limit:
            self.dql_limit = limit
            overlimit = 0
        self.prev_ovlimit = overlimit
        self.prev_last_obj_cnt = self.last_obj_cnt
        self.prev_num_queued = num_queued
        self.num_completed = completed
        store_release32(&self.adj_limit, limit + completed)             # acquired in _has_room

    cdef uint32_t _shrink(self, uint32_t completed, uint32_t limit, int64_t now) noexcept nogil:
        """The device stayed busy since the last completion: give up the least it left unused during the hold time."""
        # Twice what was completed is kept: one interval's worth in the device, one more queued behind it.
        cdef uint32_t slack = _excess(limit + self.prev_ovlimit, 2 * completed)
        if self.prev_ovlimit:       # of the last object, what fitted below the limit was not needed either
            slack = max(slack, _excess(self.prev_last_obj_cnt, self.prev_ovlimit))
        self.lowest_slack = min(self.lowest_slack, slack)
        if now - self.slack_start_time > self.slack_hold_time:
            limit = _excess(limit, self.lowest_slack)
            self.slack_start_time = now
            self.lowest_slack = UINT_MAX
        return limit

    cdef void reset_bql(self) noexcept nogil:
        """Forget what is in flight and start over; with the device stopped and both threads at rest."""
        self.num_queued = self.last_obj_cnt = 0
        self.num_completed = self.prev_ovlimit = self.prev_num_queued = self.prev_last_obj_cnt = 0
        self.dql_limit = self.adj_limit = self.min_limit
        self.lowest_slack = UINT_MAX
        self.slack_start_time = 0
        fetch_and32(&self.state, ~<uint32_t>STACK_XOFF)

    # --- from Python

    def stop(self):
        """Stop the queue (netif_tx_stop_queue)."""
        self.stop_queue()

    def start(self):
        """Start it without a wake (netif_tx_start_queue)."""
        self.start_queue()

    def wake(self):
        """Wake it (netif_tx_wake_queue)."""
        self.wake_queue()

    def freeze(self):
        """Hold it while the watchdog or a reset works on the device (netif_tx_lock)."""
        fetch_or32(&self.state, FROZEN)

    def unfreeze(self):
        """Let go of it (netif_tx_unlock)."""
        fetch_and32(&self.state, ~<uint32_t>FROZEN)

    def txq_maybe_stop(self, free_slots, uint32_t stop, uint32_t start):
        """netif_txq_maybe_stop for a driver in Python; `free_slots()` is asked before and again after the fence.

        Returns 1 (room), 0 (stopped) or -1 (stopped and started again). Call it after the producer index is published.
        """
        ask = _AskFree(free_slots)
        result = self.maybe_stop(_ask_free, <void*>ask, stop, start)
        if ask.error is not None:
            raise ask.error
        return result

    def txq_completed_wake(self, uint32_t packets, uint32_t bytes, uint32_t free, uint32_t start, *, int64_t now=0):
        """netif_txq_completed_wake: 0 woken, 1 no need, -1 no room. Call it after the consumer index is published."""
        return self.completed_wake(packets, bytes, free, start, now)

    def tx_sent(self, uint32_t bytes):
        """Count bytes given to the device (netdev_tx_sent_queue)."""
        if bytes > MAX_OBJECT:
            raise ValueError(f"one packet or burst has at most {MAX_OBJECT} bytes, not {bytes}")
        self.sent(bytes)

    def tx_completed(self, uint32_t packets, uint32_t bytes, *, int64_t now=0):
        """Count bytes the device is done with, at time `now` in ns (netdev_tx_completed_queue)."""
        self.completed(packets, bytes, now)

    def tx_reset(self):
        """Forget what is in flight (netdev_tx_reset_queue)."""
        self.reset_bql()

    def trans_update(self, int64_t now):
        """Note an accepted transmit, for the watchdog (txq_trans_cond_update)."""
        self.trans_start = now

    def count_requeue(self):
        """Count one packet that a driver answered with BUSY."""
        self.requeues += 1

    @property
    def xmit_stopped(self):
        """Whether the stack must not transmit: DRV_XOFF, STACK_XOFF or FROZEN."""
        return bool(self.stopped())

    @property
    def down(self):
        """Whether the device is under stop: completions do not wake the queue."""
        return bool(self.device_down)

    @down.setter
    def down(self, bint value):
        self.device_down = value

    @property
    def inflight(self):
        """Bytes sent and not completed; 0 without BQL."""
        return self.num_queued - self.num_completed

    @property
    def limit(self):
        """Bytes that may be in flight. Set, it counts from the next completion on, which may move it again."""
        return self.dql_limit

    @limit.setter
    def limit(self, value):
        self.dql_limit = _checked("limit", value)

    @property
    def limit_min(self):
        """Least value of `limit`, in bytes. Takes effect at the next completion."""
        return self.min_limit

    @limit_min.setter
    def limit_min(self, value):
        self.min_limit = _checked("limit_min", value)

    @property
    def limit_max(self):
        """Greatest value of `limit`, in bytes; what is not below it becomes that, whatever limit_min says. From the next completion."""
        return self.max_limit

    @limit_max.setter
    def limit_max(self, value):
        self.max_limit = _checked("limit_max", value)

    @property
    def hold_time(self):
        """Nanoseconds that slack is watched before the limit shrinks by it."""
        return self.slack_hold_time

    @hold_time.setter
    def hold_time(self, int64_t value):
        if value < 0:
            raise ValueError(f"hold_time is 0 or more nanoseconds, not {value}")
        self.slack_hold_time = value

    def __repr__(self):
        names = [name for bit, name in ((DRV_XOFF, "DRV_XOFF"), (STACK_XOFF, "STACK_XOFF"), (FROZEN, "FROZEN")) if self.state & bit]
        bql = f", {self.inflight} of {self.dql_limit} bytes in flight" if self.bql else ""
        return f"<TxQueue: {'|'.join(names) or 'awake'}{bql}, {self.stops} stops, {self.wakes} wakes>"


cdef uint32_t _checked(str name, value) except? 0xFFFFFFFF:
    if not 0 <= value <= MAX_LIMIT:
        raise ValueError(f"{name} is 0 to {MAX_LIMIT} bytes, not {value}")
    return value


cdef class _AskFree:
    """A Python callable as maybe_stop's free_slots; after an error it reports room, and the caller raises."""
    cdef object callback, error

    def __cinit__(self, callback):
        self.callback = callback


cdef uint32_t _ask_free(void* context) noexcept nogil:
    with gil:
        ask = <_AskFree>context
        try:
            return ask.callback()
        except BaseException as error:      # maybe_stop cannot raise: kept for txq_maybe_stop
            ask.error = error
            return UINT_MAX


cdef class XmitTarget:
    """A driver's burst transmit. Subclass in Cython and override `xmit_burst`, and what else does not hold for it."""

    cdef int xmit_burst(self, Frame* frames, int n) noexcept nogil:
        """Take Frames of whole packets; return how many, 0 when stopped or busy, -errno when it takes none at all."""
        return 0

    cdef int refusal(self) noexcept nogil:
        """0, or -errno: why it takes nothing, whatever the queue says."""
        return 0

    cdef uint64_t completion(self) noexcept nogil:
        """For `completed`. Who reads packets when xmit_burst has returned overrides both."""
        return 0

    cdef bint completed(self, uint64_t completion) noexcept nogil:
        """Whether what it was given before that `completion` may be written over."""
        return True

    def xmit(self, Burst burst not None):
        """Transmit a burst from Python: how many Frames of it were taken, 0 when stopped or busy. Raises OSError for -errno.

        Not for who sends much: see fastring.transmitter.
        """
        cdef int taken
        with nogil:
            taken = self.xmit_burst(burst.frames, <int>burst.count)
        if taken < 0:
            raise OSError(-taken, os.strerror(-taken))
        return taken
