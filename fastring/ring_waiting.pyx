"""RingWaiting: a ring's watermarks, and waiting for the other side: spin, then park."""

from cpython.exc cimport PyErr_CheckSignals
from libc.stdint cimport int64_t

from fastring.atomic cimport cpu_relax, fetch_add32
from fastring.ring_geometry cimport EVENTFD
from fastring.ring_memory cimport FR_IMPATIENT, LESS_ONE, fr_bell, fr_ring, fr_side, is_broken, nanoseconds

from fastring.ring_memory import BrokenRing

cdef extern from "fastring/ring_patience.h" nogil:
    int64_t now "fr_now"()

cdef extern from "fastring/ring_wait.h" nogil:
    uint32_t arm "fr_arm"(fr_bell* bell)
    int park "fr_park"(fr_ring* ring, fr_bell* bell, bint items, uint32_t n, int64_t nanoseconds)

cdef enum:
    PARK_AT_MOST = 100_000_000      # ns: a peer that dies or lies rings no bell
    POLL_EVERY = 50_000             # ns: where no bell is rung


cdef class RingWaiting(RingMemory):
    """What Ring and RecordRing share above the memory; made by them alone. Its counts are items, or a RecordRing's units of 8 bytes."""

    def __init__(self, capacity, *, low_watermark=None, high_watermark=None, **_options):
        try:
            self.set_watermarks(low=low_watermark, high=high_watermark)
        except BaseException:
            self.close()                        # nobody else will give its memory back to the arena
            raise

    cdef int _raise_broken(self, bint producer) except -1:
        if is_broken(&self.ring.producer if producer else &self.ring.consumer):
            raise BrokenRing(self._why_broken(&self.ring.producer if producer else &self.ring.consumer))
        return 0

    cdef str _why_broken(self, const fr_side* side):
        if side.broken == FR_IMPATIENT:
            return (f"a thread or process began and did not finish within {self.ring.patience / 1e9:g} s (patience): "
                    "with all others stopped, recover() or reset() goes on")
        return (f"the peer published what is impossible: write {self.ring.write_index[0]}, read {self.ring.read_index[0]}, "
                f"capacity {self.ring.capacity}; reset() starts anew")

    def flush(self):
        """Tell the other side what `batched` has kept to itself so far. Of the sides that are this thread's: the other's may run on."""
        self._check_open()
        self.flush_writes()
        self.flush_reads()

    # --- waiting

    def wait_for_items(self, uint32_t n=1, *, timeout=None, double spin=50e-6):
        """Wait until n items are there; whether they are. Spins for `spin` seconds, then parks. Consumer's thread.

        `timeout` in seconds, or None. Raises BrokenRing, ValueError for more than the capacity.
        """
        return self._wait(True, n, timeout, spin)

    def wait_for_room(self, n=None, *, timeout=None, double spin=50e-6):
        """Wait until n slots are free, by default all above the low watermark; whether they are. Producer's thread; as wait_for_items."""
        return self._wait(False, max(1, self.ring.capacity - self._low) if n is None else n, timeout, spin)

    cdef bint _wait(self, bint items, uint32_t n, object timeout, double spin) except -1:
        cdef int64_t begun = now(), until = begun + (<int64_t>1 << 62 if timeout is None else nanoseconds("timeout", timeout, 1e9))
        cdef int64_t spun = begun + nanoseconds("spin", spin, 1.0), time, slice
        cdef fr_bell* bell = &self.items_bell if items else &self.room_bell
        self._check_open()
        if n > self.ring.capacity:
            raise ValueError(f"a ring of {self.ring.capacity} never has {n} {'items' if items else 'free slots'}")
        fetch_add32(&self.inside, 1)
        try:
            while True:
                with nogil:
                    time = now()
                    while self._ready(items) < n and time < min(spun, until):
                        cpu_relax()
                        time = now()
                    if self._ready(items) < n and time < until:
                        if items:
                            self.flush_reads()
                        else:
                            self.flush_writes()
                        slice = min(until - time, PARK_AT_MOST if self.rings_bells else POLL_EVERY)
                        park(self.ring, bell, items, n, slice)
                if self._ready(items) >= n:
                    return True
                self._raise_broken(not items)
                PyErr_CheckSignals()
                if now() >= until:
                    return False
        finally:
            fetch_add32(&self.inside, LESS_ONE)

    def arm(self, *, bint items=True):
        """Have the next publication make the eventfd readable, for an event loop; False if there is something now, and it need not wait."""
        self._check_open()
        if self.geometry.wait != EVENTFD:
            raise ValueError(f"a ring that waits by {self.wait} has no eventfd to arm: create it with wait='eventfd'")
        arm(&self.items_bell if items else &self.room_bell)
        return self._ready(items) == 0

    def set_watermarks(self, *, low=None, high=None):
        """From `high` items on the ring is congested, until only `low` are left. By default at the capacity, and half of `high`."""
        cdef uint32_t highest = self.ring.capacity if high is None else high
        cdef uint32_t lowest = highest // 2 if low is None else low
        if not 0 < highest <= self.ring.capacity or lowest >= highest:
            raise ValueError(f"watermarks are 0 <= low < high <= {self.ring.capacity}, not {lowest} and {highest}")
        self._low, self._high = lowest, highest

    @property
    def watermarks(self):
        """(low, high), in items."""
        return self._low, self._high

    @property
    def congested(self):
        """Whether the items have reached the high watermark, and not fallen to the low one since, by the looks at this property."""
        cdef uint32_t used
        self._check_open()
        used = self._ready(True)
        self._congested = used >= self._high or self._congested and used > self._low
        return self._congested
