"""RingMemory: what a ring is in memory: made, attached, looked at and begun anew. `fastring.ring` is what goes through it."""

import os

from cpython.buffer cimport PyBuffer_FillInfo
from cython cimport no_gc_clear
from libc.stdint cimport int32_t
from libc.stdlib cimport free
from libc.string cimport memset
from posix.stdlib cimport posix_memalign

from fastring.atomic cimport load_acquire32, load_acquire64, store_release32, store_release64
from fastring.memory cimport Arena
from fastring.ring_geometry cimport (
    BATCHED,
    CACHED,
    EVENTFD,
    HEADTAIL_HTS,
    HEADTAIL_MT,
    HEADTAIL_RTS,
    LAMPORT,
    LOCK,
    LOCKED,
    MAGIC,
    MPMC,
    POLL,
    READ_HEAD,
    READ_INDEX,
    SLOTFLAG,
    SLOTS,
    VERSION,
    WAITS_FOR_ITEMS,
    WAITS_FOR_ROOM,
    WRITE_HEAD,
    WRITE_INDEX,
    Geometry,
    Header,
    block_size,
    check_geometry,
    stride_of,
    units_of,
)

from fastring.ring_geometry import BY_NUMBER, WAITS, strategy_number

cdef extern from "<pthread.h>" nogil:
    int pthread_atfork(void (*prepare)(), void (*parent)(), void (*child)())

cdef extern from "fastring/ring_patience.h" nogil:
    void forget_self "fr_forget_self"()

cdef extern from "fastring/ring_slots.h" nogil:
    uint32_t* sequence "fr_sequence"(fr_ring* ring, uint32_t position)
    uint64_t* slot_item "fr_slot_item"(fr_ring* ring, uint32_t position)
    void slotflag_settle "fr_slotflag_settle"(fr_ring* ring)

cdef extern from "fastring/ring_operations.h" nogil:
    const fr_ring_operations fr_lamport_operations, fr_cached_operations, fr_batched_operations, fr_slotflag_operations
    const fr_ring_operations fr_mpmc_operations, fr_mt_operations, fr_rts_operations, fr_hts_operations, fr_locked_operations
    const fr_ring_operations fr_closed_operations

pthread_atfork(NULL, NULL, forget_self)


class BrokenRing(RuntimeError):
    """The other side published what no honest peer can have. What was in the ring is lost; no memory is. `Ring.reset` starts anew."""


cdef const fr_ring_operations* operations_of(uint32_t strategy) noexcept:
    if strategy == LAMPORT:
        return &fr_lamport_operations
    if strategy == CACHED:
        return &fr_cached_operations
    if strategy == BATCHED:
        return &fr_batched_operations
    if strategy == SLOTFLAG:
        return &fr_slotflag_operations
    if strategy == MPMC:
        return &fr_mpmc_operations
    if strategy == HEADTAIL_MT:
        return &fr_mt_operations
    if strategy == HEADTAIL_RTS:
        return &fr_rts_operations
    if strategy == HEADTAIL_HTS:
        return &fr_hts_operations
    if strategy == LOCKED:
        return &fr_locked_operations
    return &fr_closed_operations


cdef int64_t nanoseconds(str what, double seconds, double most) except -1:
    """Of a time that users give, no less than 0. Raises ValueError for what is no number."""
    if seconds != seconds:
        raise ValueError(f"{what} is a number of seconds, not {seconds}")
    return <int64_t>(1e9 * min(max(seconds, 0.0), most))


@no_gc_clear                        # the arena tells to the end whose the block is: one in it is never freed
cdef class RingMemory:
    """The base of Ring; made by it alone."""

    def __cinit__(self, uint32_t capacity, *, str strategy="cached", sync=None, uint32_t item_size=8, batch=None, str wait="poll",
                  Arena arena=None, object low_watermark=None, object high_watermark=None, double patience=1.0,
                  _attach=None, bint _records=False):
        cdef const Header* header
        self.operations = &fr_closed_operations
        self.items_bell.eventfd = self.room_bell.eventfd = -1
        self.records = _records
        if posix_memalign(<void**>&self.ring, 128, sizeof(fr_ring)):
            raise MemoryError()
        memset(self.ring, 0, sizeof(fr_ring))
        self.ring.patience = nanoseconds("patience", patience, 3600.0)
        if _attach is None:
            self._create(capacity, strategy_number(strategy, sync), item_size, batch, wait, arena)
        else:
            header = <const Header*>arena.at(_attach, SLOTS)
            self.geometry = header.geometry
            check_geometry(&self.geometry, self.records)
            self.block = arena.at(_attach, block_size(&self.geometry))
            self.offset = _attach
        self._created = _attach is None
        self.arena = arena
        self._pin = None if arena is None else memoryview(arena)
        self._point()
        if self._created:
            self._clear()
            (<Header*>self.block).version = VERSION
            (<Header*>self.block).geometry = self.geometry
            store_release64(&(<Header*>self.block).magic, MAGIC)    # the ring is whole before it can be attached: acquired in attach
        self._use()

    def _create(self, uint32_t capacity, uint32_t strategy, uint32_t item_size, batch, str wait, Arena arena):
        if wait not in WAITS:
            raise ValueError(f"a ring waits by {', '.join(WAITS)}, not by {wait!r}")
        if arena is not None and not arena.writable:
            raise ValueError("a ring needs a writable Arena: both sides publish an index")
        if batch is None:
            batch = min(32, capacity) if strategy == BATCHED else 0
        self.geometry = Geometry(strategy, item_size, capacity, batch, max(1, capacity // 8), WAITS[wait])
        check_geometry(&self.geometry, self.records)
        cdef uint64_t size = block_size(&self.geometry)
        if wait == "eventfd":                   # first: what fails after the allocation leaves it behind
            self.items_bell.eventfd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
            self.room_bell.eventfd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        if arena is not None:
            self.offset = arena.alloc(size, align=128)
            self.block = arena.at(self.offset, size)
        elif posix_memalign(<void**>&self.block, 128, size):
            self.block = NULL
            raise MemoryError()
        else:
            memset(self.block, 0, size)

    cdef void _point(self) noexcept:
        """Where things lie, by the copied geometry."""
        cdef uint8_t* block = self.block
        cdef fr_ring* ring = self.ring
        ring.slots = <uint64_t*>(block + SLOTS)
        ring.write_index = <uint32_t*>(block + WRITE_INDEX)
        ring.read_index = <uint32_t*>(block + READ_INDEX)
        ring.write_head = <uint32_t*>(block + WRITE_HEAD)
        ring.read_head = <uint32_t*>(block + READ_HEAD)
        ring.write_pair = <uint64_t*>(block + WRITE_INDEX)
        ring.read_pair = <uint64_t*>(block + READ_INDEX)
        ring.write_head_pair = <uint64_t*>(block + WRITE_HEAD)
        ring.read_head_pair = <uint64_t*>(block + READ_HEAD)
        ring.lock = <uint32_t*>(block + LOCK)
        ring.capacity = self.geometry.capacity
        ring.mask = ring.capacity - 1
        ring.units = units_of(&self.geometry)
        ring.stride = stride_of(&self.geometry)
        ring.batch = self.geometry.batch
        ring.looks = self.geometry.strategy == LAMPORT
        ring.distance = self.geometry.distance
        self.items_bell.armed = <uint32_t*>(block + WAITS_FOR_ITEMS)
        self.room_bell.armed = <uint32_t*>(block + WAITS_FOR_ROOM)

    cdef void _clear(self) noexcept:
        """Empty the shared block: nothing has ever gone through."""
        cdef uint32_t i
        memset(self.block + WRITE_INDEX, 0, WAITS_FOR_ITEMS - WRITE_INDEX)
        if self.geometry.strategy in (SLOTFLAG, MPMC):
            for i in range(self.ring.capacity):
                store_release32(sequence(self.ring, i), 2 * i)

    cdef int _use(self) except -1:
        """Take over the block's indexes, checked: from here on the distance between ours is never above the capacity."""
        cdef fr_ring* ring = self.ring
        cdef uint32_t capacity = ring.capacity, tries = 0
        cdef uint32_t read = load_acquire32(ring.read_index), write = load_acquire32(ring.write_index)
        if self.geometry.strategy == SLOTFLAG and 0 < <int32_t>(read - write) <= <int32_t>capacity:
            write = read                        # a producer was killed, or is, between its items and its index
        while write - read > capacity:          # the peer may be moving both; a broken one never agrees
            tries += 1
            if tries > 1000:
                raise BrokenRing(f"the indexes of this ring are impossible: write {write}, read {read}, capacity {capacity}")
            read = load_acquire32(ring.read_index)
            write = load_acquire32(ring.write_index)
        memset(&ring.producer, 0, sizeof(fr_side))
        memset(&ring.consumer, 0, sizeof(fr_side))
        ring.producer.index = ring.producer.published = ring.consumer.other = write
        ring.consumer.index = ring.consumer.published = ring.producer.other = read
        if self.geometry.strategy == SLOTFLAG:
            slotflag_settle(ring)
        if self.geometry.strategy == BATCHED and load_acquire32(ring.read_head) - read <= write - read:
            ring.consumer.index = load_acquire32(ring.read_head)    # taken by the last consumer, if not given back
        self.operations = operations_of(self.geometry.strategy)
        self.rings_bells = self.geometry.wait != POLL
        if self.geometry.strategy == CACHED and self.geometry.item_size == 8 and not self.rings_bells:
            self.inlined = ring
        return 0

    cdef int _check_open(self) except -1:
        if self.block == NULL:
            raise ValueError("the ring is closed")
        return 0

    cdef uint32_t _ready(self, bint items) noexcept nogil:
        """Items there, or slots free, as everybody sees it."""
        return ready(self.ring, items)

    def __getbuffer__(self, Py_buffer* buffer, int flags):
        self._check_open()
        PyBuffer_FillInfo(buffer, self, self.ring.slots, 8 * <Py_ssize_t>self.ring.stride * self.ring.capacity, False, flags)
        self._exports += 1

    def __releasebuffer__(self, Py_buffer* buffer):
        self._exports -= 1

    @property
    def eventfds(self):
        """Of a ring that waits by eventfd, the two descriptors: readable when items are there, and when there is room. Else None."""
        return None if self.geometry.wait != EVENTFD or self.block == NULL else (self.items_bell.eventfd, self.room_bell.eventfd)

    # --- looking

    @property
    def strategy(self):
        """Its name."""
        return BY_NUMBER[self.geometry.strategy][0]

    @property
    def sync(self):
        """headtail's: mt, rts or hts; None for the others."""
        return BY_NUMBER[self.geometry.strategy][1]

    @property
    def wait(self):
        """poll, futex or eventfd."""
        return next(name for name, number in WAITS.items() if number == self.geometry.wait)

    @property
    def item_size(self):
        """Bytes of an item."""
        return self.geometry.item_size

    @property
    def batch(self):
        """`batched`: items between two publications; 0 for the others."""
        return self.geometry.batch

    @property
    def capacity(self):
        """Slots; 0 once closed."""
        return 0 if self.block == NULL else self.geometry.capacity

    @property
    def write_index(self):
        """Items ever published, modulo 2^32."""
        return load_acquire32(self.ring.write_index) if self.block != NULL else 0

    @property
    def read_index(self):
        """Items ever taken, modulo 2^32."""
        return load_acquire32(self.ring.read_index) if self.block != NULL else 0

    def __len__(self):
        return 0 if self.block == NULL else self._ready(True)

    @property
    def free_count(self):
        """Slots free now."""
        return 0 if self.block == NULL else self._ready(False)

    @property
    def broken(self):
        """How often the other side published what is impossible."""
        return self.ring.producer.breaks + self.ring.consumer.breaks

    # --- starting anew, and ending

    def reset(self):
        """Empty the ring and begin anew, as after BrokenRing. The other side has stopped, and attaches again or resets nothing."""
        cdef uint32_t producer = self.ring.producer.breaks, consumer = self.ring.consumer.breaks
        self._check_open()
        self._clear()
        self._use()
        self.ring.producer.breaks, self.ring.consumer.breaks = producer, consumer

    def recover(self):
        """Give up what killed producers and consumers of mpmc or headtail had claimed; all others have stopped. Returns the items kept.

        What a producer had not published is lost; what a consumer had not given back is there again. Other strategies need nothing.
        """
        cdef fr_ring* ring = self.ring
        self._check_open()
        if self.geometry.strategy == MPMC:
            kept = [(<uint8_t*>slot_item(ring, p))[:self.geometry.item_size] for p in self._published()]
            self._clear()
            self._use()
            for item in kept:
                self.operations.enqueue_bulk(ring, <const uint64_t*><const uint8_t*>item, 1)
        elif self.geometry.strategy == HEADTAIL_MT:
            ring.write_head[0] = ring.write_index[0]
            ring.read_head[0] = ring.read_index[0]
        elif self.geometry.strategy == HEADTAIL_RTS:
            ring.write_head_pair[0] = ring.write_pair[0]
            ring.read_head_pair[0] = ring.read_pair[0]
        elif self.geometry.strategy == HEADTAIL_HTS:
            (<uint32_t*>ring.write_pair)[1] = ring.write_index[0]
            (<uint32_t*>ring.read_pair)[1] = ring.read_index[0]
        store_release32(ring.lock, 0)
        return len(self)

    def _published(self):
        """mpmc: positions whose items are whole and not given back, oldest first."""
        cdef uint32_t position = load_acquire32(self.ring.write_index) - self.ring.capacity, i
        positions = []
        for i in range(self.ring.capacity):
            if load_acquire32(sequence(self.ring, position + i)) == <uint32_t>(2 * (position + i) + 1):
                positions.append(<uint32_t>(position + i))
        return positions

    def close(self):
        """Let go of the memory; again is harmless. The maker gives it back to the arena: after the peer has stopped.

        Raises BufferError while views of its slots are alive, or a thread is in one of its calls.
        """
        if self._exports:
            raise BufferError(f"the ring has {self._exports} live views")
        if load_acquire32(&self.inside):
            raise BufferError("a thread is in a call of the ring, or waits at it")
        if self.block == NULL:
            return
        self.operations = &fr_closed_operations
        self.inlined = NULL
        self.rings_bells = False
        if self._pin is not None:               # now: without a GIL, to drop another thread's takes until that looks
            self._pin.release()
            self._pin = None
        if self.arena is None:
            free(self.block)
        elif self._created:
            self.arena.free(self.offset)
        self.block = NULL
        self._close_eventfds()

    def _close_eventfds(self):
        for fd in (self.items_bell.eventfd, self.room_bell.eventfd):
            if fd >= 0:
                os.close(fd)
        self.items_bell.eventfd = self.room_bell.eventfd = -1

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    def __dealloc__(self):
        if self.ring == NULL:                   # an argument of a wrong type: __cinit__ never ran, and 0 is somebody's descriptor
            return
        self._close_eventfds()
        if self.arena is None:
            free(self.block)
        free(self.ring)

    def __repr__(self):
        if self.block == NULL:
            return "<Ring: closed>"
        place = "" if self.arena is None else f", at {self.offset:#x} of Arena {self.arena.name!r}"
        kind = self.strategy + ("" if self.sync is None else f" ({self.sync})")
        return f"<Ring: {len(self)} of {self.capacity} items, {kind}{place}>"


cdef RingMemory attach_as(object kind, bint records, Arena arena, uint64_t offset, object eventfds, double patience):
    """The ring at `offset` as a `kind`, if it is one."""
    cdef const Header* header
    cdef RingMemory ring
    if offset % 128:
        raise ValueError(f"a ring starts at a multiple of 128 bytes, not at {offset:#x}")
    if not arena.writable:
        raise ValueError("a ring needs a writable Arena: both sides publish an index")
    header = <const Header*>arena.at(offset, SLOTS)
    if load_acquire64(&header.magic) != MAGIC:
        raise ValueError(f"there is no ring at offset {offset:#x} of {arena!r}")
    if header.version != VERSION:
        raise ValueError(f"the ring at offset {offset:#x} has version {header.version}; this fastring speaks version {VERSION}")
    ring = kind(0, arena=arena, patience=patience, _attach=offset, _records=records)
    if (eventfds is None) == (ring.geometry.wait == EVENTFD):
        raise ValueError(f"a ring that waits by {ring.wait} is attached {'with' if eventfds is None else 'without'} eventfds")
    if eventfds is not None:
        ring.items_bell.eventfd, ring.room_bell.eventfd = map(os.dup, eventfds)
    return ring
