"""Ring: a queue of small items between threads or processes, in several strategies behind one interface.

    lamport    one producer, one consumer; each looks at the other's index every time
    cached     the same, and looks only when what it last saw is not enough: the default
    batched    the same, and publishes only every `batch` items, at a flush, or when it would have to wait
    slotflag   the same, with ownership in each slot, as a descriptor's DD bit
    mpmc       several of both, with a sequence number in each slot
    headtail   several of both, in rte_ring's two phases; `sync`: mt, rts or hts
    locked     several of both, behind one lock: what the others are measured against

Indexes are free-running and 32-bit, so that all slots are used. The strategies are C headers, ring_*.h: small enough to be explored by a
model checker as they are, and to be inlined by whoever cimports this.

Shared between processes, a ring trusts nobody: the geometry is copied at attach, each side keeps its own index privately where it has one,
and the other's is checked before use. An impossible one is counted and lets nothing through until `reset`; no access moves outside.

Prior art: rigtorp's SPSCQueue (cached indexes, and their names), DPDK's rte_ring (bulk and burst, head and tail), io_uring (shared layout).
"""

import sys

from cpython.buffer cimport PyBUF_C_CONTIGUOUS, PyBUF_FORMAT, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.number cimport PyNumber_Index
from libc.stdint cimport uint8_t

from fastring.atomic cimport fetch_add32
from fastring.memory cimport Arena
from fastring.ring_memory cimport LESS_ONE, attach_as
from fastring.ring_waiting cimport RingWaiting

from fastring.ring_memory import BrokenRing  # no-cython-lint: for who catches it

UINT64 = {b"Q", b"L", b"@Q", b"=Q", b"<Q" if sys.byteorder == "little" else b">Q"}      # buffer formats


cdef class Ring(RingWaiting):
    """A ring of `capacity` items, a power of two. Private to this process, or in an `arena` for a peer to attach.

    strategy    lamport, cached, batched, slotflag (one producer's thread and one consumer's), mpmc, headtail, locked (several)
    sync        headtail's tails: mt, rts or hts
    item_size   bytes: 8 (an integer of 64 bits) or 16 (a descriptor)
    batch       batched: items between two publications
    wait        how `wait_for_items` and `wait_for_room` wait: poll, futex or eventfd. The last two cost each publication a full fence
                (an eventfd is for one sleeper a side: of two, one may sleep on, up to 0.1 s, beside an item)
    patience    seconds that headtail and locked wait for a thread that has begun and does not finish: then the ring is broken
    high_watermark, low_watermark
                items from which on, and down to which, the ring is `congested`; a producer that waits is content with low_watermark

    Python's push and pop are for bursts, tests and control; a data path cimports it. Raises OSError ENOMEM when the arena has no room.
    """

    @classmethod
    def create(cls, uint32_t capacity, **options):
        """A new ring: the same as ``Ring(capacity, …)``."""
        return cls(capacity, **options)

    @staticmethod
    def attach(Arena arena not None, uint64_t offset, *, eventfds=None, double patience=1.0):
        """The ring that a peer made in `arena` at its ``offset``. Take the sides that nobody else has: push, pop, or any of several.

        `eventfds`: of a ring that waits by them, its ``eventfds`` as they were passed over; they are duplicated. `patience` as in Ring.
        Raises ValueError when there is no such ring, IndexError when it would end outside the arena.
        """
        return attach_as(Ring, False, arena, offset, eventfds, patience)

    # --- from Python

    def push(self, item):
        """Append one item, an integer or, of 16 bytes, a buffer of as many; False when full. Raises BrokenRing."""
        self._check_open()
        if self.geometry.item_size != 8:
            if memoryview(item).nbytes != self.geometry.item_size:
                raise ValueError(f"an item of this ring has {self.geometry.item_size} bytes, not {memoryview(item).nbytes}")
            return self.push_bulk(item)
        cdef bint done = self.enqueue(<uint64_t>PyNumber_Index(item))
        if not done:
            self._raise_broken(True)
        return done

    def pop(self):
        """Take the oldest item, an integer or 16 bytes; None when empty. Raises BrokenRing."""
        cdef uint64_t[2] item
        self._check_open()
        if not self.dequeue_bulk(item, 1):
            self._raise_broken(False)
            return None
        return item[0] if self.geometry.item_size == 8 else (<uint8_t*>item)[:16]

    def push_bulk(self, items):
        """Append all items of a buffer, or none; whether it did. `items`: a uint64 array, or bytes in native byte order.

        Raises BrokenRing; ValueError for more items than the ring has slots: they never fit.
        """
        return bool(self._move(items, PUSH_BULK))

    def push_burst(self, items):
        """Append as many items of a buffer as there is room for; return how many. Buffer and errors as push_bulk."""
        return self._move(items, PUSH_BURST)

    def pop_bulk(self, out):
        """Fill a writable buffer whole and return True, or leave it and return False. Errors as push_bulk."""
        return bool(self._move(out, POP_BULK))

    def pop_burst(self, out):
        """Take up to as many items as fit into a writable buffer; return how many. Errors as push_bulk."""
        return self._move(out, POP_BURST)

    cdef uint32_t _move(self, object buffer, Move move) except? 0:
        cdef uint32_t n, done = 0
        cdef Py_buffer view
        self._check_open()
        PyObject_GetBuffer(buffer, &view, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT | (PyBUF_WRITABLE if move >= POP_BULK else 0))
        try:
            n = self._item_count(&view, move)
            fetch_add32(&self.inside, 1)
            with nogil:
                if move == PUSH_BULK:
                    done = self.enqueue_bulk(view.buf, n)
                elif move == PUSH_BURST:
                    done = self.enqueue_burst(view.buf, n)
                elif move == POP_BULK:
                    done = self.dequeue_bulk(view.buf, n)
                else:
                    done = self.dequeue_burst(view.buf, n)
                fetch_add32(&self.inside, LESS_ONE)
        finally:
            PyBuffer_Release(&view)
        if done == 0:
            self._raise_broken(move < POP_BULK)
        return done == n if move in (PUSH_BULK, POP_BULK) else done

    cdef uint32_t _item_count(self, Py_buffer* view, Move move) except? 0:
        cdef uint32_t size = self.geometry.item_size
        format = b"" if view.format == NULL else <bytes>view.format
        if view.len % size or not (view.itemsize == 1 or view.itemsize == 8 and format in UINT64 or view.itemsize == size == 16):
            kind = "uint64, or 8 bytes each" if size == 8 else "16 bytes each"
            raise ValueError(f"this ring's items are {kind}: not {view.len} bytes in format {format.decode()!r}")
        cdef uint64_t n = view.len // size
        if n > self.ring.capacity:
            if move in (PUSH_BULK, POP_BULK):
                raise ValueError(f"{n} items never fit at once into a ring of {self.ring.capacity}")
            n = self.ring.capacity
        return n

    # --- in place

    def reserve(self, uint32_t n):
        """Up to n slots to write items to where they will lie, as a writable view of bytes; then `commit`. Empty when full.

        For lamport, cached, batched and headtail with hts. The view ends where the slots do: after its commit another gets the rest.
        Whatever is pushed before the commit makes it void. With hts others of this side wait for it, up to `patience`; so does another
        reserve.
        Raises BrokenRing; ValueError for a strategy whose items cannot be written in place.
        """
        return self._in_place(n, True)

    def peek(self, uint32_t n):
        """Up to n of the oldest items where they lie, as a view of bytes; then `release`. Strategies and errors as reserve."""
        return self._in_place(n, False).toreadonly()

    def _in_place(self, uint32_t n, bint producer):
        cdef uint32_t got
        self._check_open()
        if self.operations.reserve == NULL:
            raise ValueError(f"{self.strategy}{'' if self.sync is None else ' with ' + self.sync} has no items in place: "
                             "lamport, cached, batched and headtail with hts have")
        cdef void* span = self.reserve_span(n, &got) if producer else self.peek_span(n, &got)
        if got == 0:
            self._raise_broken(producer)
            return memoryview(b"") if not producer else memoryview(bytearray())
        start = <uint64_t>span - <uint64_t>self.ring.slots
        return memoryview(self)[start:start + got * self.geometry.item_size]

    cdef int _check_span(self, const fr_side* side, uint32_t n, str done, str moved) except -1:
        if side.reserved and side.index != side.reserved_at:
            raise ValueError(f"{side.reserved} items {done}, but others were {moved} since: those are void")
        if n > side.reserved:
            raise ValueError(f"{side.reserved} items {done}, not {n}")
        return 0

    def commit(self, uint32_t n):
        """The first n of the reserved slots are written: the consumer gets them, and the rest is given up. ValueError for more."""
        self._check_open()
        self._check_span(&self.ring.producer, n, "are reserved", "pushed")
        self.commit_span(n)

    def release(self, uint32_t n):
        """The first n of the items that were looked at are done with: their slots are free. ValueError for more."""
        self._check_open()
        self._check_span(&self.ring.consumer, n, "were looked at", "popped")
        self.release_span(n)
