"""RecordRing: records of any length in a ring, between two threads or processes: packets, messages, whatever has a beginning and an end.

The ring is made of 8-byte units, and goes by `Ring`'s strategies for one producer and one consumer: lamport, cached, batched. A record is
its length and its bytes, in one piece; where it would cross the end of the slots, the rest is marked as skipped and it begins at the first.

Prior art: the kernel's BPF ring buffer (reserve and commit, a header a record), LMAX's and Aeron's ring buffers (padding at the end).
"""

from cpython.buffer cimport PyBUF_C_CONTIGUOUS, PyBUF_FORMAT, PyBUF_ND, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from libc.string cimport memcpy

from fastring.atomic cimport fetch_add32
from fastring.memory cimport Arena
from fastring.ring_geometry cimport MOST
from fastring.ring_memory cimport LESS_ONE, attach_as


cdef class RecordRing(RingWaiting):
    """A ring of `capacity` bytes, a power of two, for records of up to ``longest`` bytes, a little less than half of it.

    strategy    lamport, cached or batched; one producer's thread and one consumer's
    batch       batched: bytes between two publications, a multiple of 8
    wait, arena, patience, low_watermark, high_watermark
                as Ring's; what a ring counts (its length, its watermarks) are units of 8 bytes
    """

    def __cinit__(self, *_arguments, **_options):
        if not self.records:
            raise TypeError("RecordRing.create makes a RecordRing, of so many bytes")

    @staticmethod
    def create(uint64_t capacity, *, str strategy="cached", batch=None, **options):
        """A new ring of `capacity` bytes; options as the class has them. Raises ValueError and OSError as Ring."""
        if capacity < 8 or capacity & (capacity - 1) or capacity // 8 > MOST:
            raise ValueError(f"a RecordRing's capacity is a power of two of bytes, from 8 to {8 * MOST}, not {capacity}")
        if batch is not None and batch % 8:
            raise ValueError(f"a RecordRing's batch is a multiple of 8 bytes, not {batch}")
        return RecordRing(capacity // 8, strategy=strategy, item_size=1, batch=None if batch is None else batch // 8,
                          _records=True, **options)

    @staticmethod
    def attach(Arena arena not None, uint64_t offset, *, eventfds=None, double patience=1.0):
        """The RecordRing that a peer made in `arena` at its ``offset``. Parameters and errors as Ring.attach."""
        return attach_as(RecordRing, True, arena, offset, eventfds, patience)

    @property
    def longest(self):
        """Bytes of the longest record."""
        return longest_record(self.ring.capacity)

    cdef int _check_length(self, uint64_t length) except -1:
        self._check_open()
        if length > longest_record(self.ring.capacity):
            raise ValueError(f"a record of this ring has up to {self.longest} bytes, not {length}")
        return 0

    # --- bursts, without the GIL

    cdef uint32_t enqueue_records(self, const uint8_t* data, uint64_t stride, const uint32_t* lengths, uint32_t n) noexcept nogil:
        """Append as many of n records as there is room for. Producer's thread. A record that is too long ends it."""
        cdef uint32_t i, done = 0
        cdef uint8_t* room
        if self.block == NULL:
            return 0
        for i in range(n):
            room = record_reserve(self.ring, lengths[i])
            if room == NULL:
                break
            if lengths[i]:                      # of no bytes, data may be NULL
                memcpy(room, data, lengths[i])
            record_put(self.ring, lengths[i])
            data += stride if stride else lengths[i]
            done += 1
        if done:
            records_publish(self.ring)
            if self.rings_bells:
                ring_the_bell(&self.items_bell)
        return done

    cdef uint32_t dequeue_records(self, uint8_t* data, uint64_t size, uint64_t stride, uint32_t* lengths, uint32_t n) noexcept nogil:
        """Take up to n records as long as they fit into `size` bytes, or each into `stride`. Consumer's thread."""
        cdef uint32_t done = 0, length = 0
        cdef const uint8_t* record
        if self.block == NULL:
            return 0
        while done < n:
            record = record_peek(self.ring, &length)
            if record == NULL or length > (stride if stride else size):
                break
            if length:
                memcpy(data, record, length)
            record_take(self.ring)
            lengths[done] = length
            data += stride if stride else length
            size -= stride if stride else length
            done += 1
        if done:
            records_give_back(self.ring)
            if self.rings_bells:
                ring_the_bell(&self.room_bell)
        return done

    # --- from Python

    def push(self, const uint8_t[::1] record):
        """Append one record, a buffer of bytes; False when there is no room for it now. Raises BrokenRing, ValueError for one too long."""
        cdef uint32_t length
        cdef const uint8_t* data = &record[0] if record.shape[0] else NULL
        self._check_length(record.shape[0])
        length = record.shape[0]
        if self.enqueue_records(data, 0, &length, 1):
            return True
        self._raise_broken(True)
        return False

    def pop(self):
        """Take the oldest record as bytes; None when empty. Raises BrokenRing."""
        cdef uint32_t length
        self._check_open()
        cdef const uint8_t* record = self.peek_record(&length)
        if record == NULL:
            self._raise_broken(False)
            return None
        taken = record[:length]
        self.release_record()
        return taken

    def push_burst(self, data, lengths=None):
        """Append as many records as there is room for; return how many.

        data      a two-dimensional array of bytes, a record a row; or bytes with the records one after the other
        lengths   uint32, a record's bytes each. May be left out if each is a whole row
        Raises BrokenRing; ValueError for a record that is too long or ends outside the data: then nothing was appended.
        """
        cdef Py_buffer view
        cdef uint32_t done, n
        cdef uint64_t stride
        cdef const uint32_t[::1] sizes
        PyObject_GetBuffer(data, &view, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT | PyBUF_ND)
        try:
            stride = self._row(&view)
            if lengths is None:
                if stride == 0:
                    raise ValueError("records one after the other need their `lengths`")
                lengths = memoryview(stride.to_bytes(4, "little") * (view.len // stride)).cast("I")
            sizes = lengths
            n = sizes.shape[0]
            self._check_lengths(sizes, view.len, stride)
            self._check_open()
            if n == 0:
                return 0
            fetch_add32(&self.inside, 1)
            with nogil:
                done = self.enqueue_records(<const uint8_t*>view.buf, stride, &sizes[0], n)
                fetch_add32(&self.inside, LESS_ONE)
        finally:
            PyBuffer_Release(&view)
        if done == 0:
            self._raise_broken(True)
        return done

    def pop_burst(self, out, uint32_t[::1] lengths not None):
        """Take records until `out` or `lengths` is full or the ring empty; return how many, and leave each one's bytes in `lengths`.

        out   writable: a two-dimensional array of bytes, a record a row; or bytes, which get the records one after the other
        Raises BrokenRing; ValueError if not even the first fits into `out`.
        """
        cdef Py_buffer view
        cdef uint32_t done = 0, n, length = 0
        cdef uint64_t stride, size
        self._check_open()
        PyObject_GetBuffer(out, &view, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT | PyBUF_ND | PyBUF_WRITABLE)
        try:
            stride, size = self._row(&view), view.len
            n = min(lengths.shape[0], view.len // stride) if stride else lengths.shape[0]
            if n:
                fetch_add32(&self.inside, 1)
                with nogil:
                    done = self.dequeue_records(<uint8_t*>view.buf, size, stride, &lengths[0], n)
                    fetch_add32(&self.inside, LESS_ONE)
        finally:
            PyBuffer_Release(&view)
        if done == 0 and n:
            if self.peek_record(&length) != NULL and length > (stride or size):     # one that fits came only now
                raise ValueError(f"the next record has {length} bytes, more than the {stride or size} there are for it")
            self._raise_broken(False)
        return done

    cdef uint64_t _row(self, Py_buffer* view) except? 0:
        """Bytes of a row; 0 where there is one dimension."""
        if view.itemsize != 1 or view.ndim not in (1, 2):
            raise ValueError(f"records are bytes in one dimension or two, not {view.ndim} of {view.itemsize}-byte elements")
        return view.shape[1] if view.ndim == 2 else 0

    cdef int _check_lengths(self, const uint32_t[::1] sizes, uint64_t size, uint64_t stride) except -1:
        cdef uint64_t i, total = 0, longest = longest_record(self.ring.capacity)
        for i in range(<uint64_t>sizes.shape[0]):
            if sizes[i] > longest:
                raise ValueError(f"a record of this ring has up to {longest} bytes, not {sizes[i]} (number {i})")
            if stride and sizes[i] > stride:
                raise ValueError(f"record {i} has {sizes[i]} bytes, more than a row's {stride}")
            total += stride if stride else sizes[i]
            if total > size:
                raise ValueError(f"record {i} ends {total - size} bytes after the data")
        return 0

    # --- in place

    def reserve(self, uint64_t length):
        """Room for a record of up to `length` bytes, as a writable view; then `commit`. None when there is none now. Errors as push."""
        self._check_length(length)
        cdef uint8_t* room = self.reserve_record(length)
        if room == NULL:
            self._raise_broken(True)
            return None
        self._reserved = length
        start = <uint64_t>room - <uint64_t>self.ring.slots
        return memoryview(self)[start:start + length]

    def commit(self, uint64_t length):
        """The reserved record is written, and has `length` bytes. ValueError for more than were reserved, or if none was."""
        self._check_open()
        if self.ring.producer.reserved == 0 or length > self._reserved:
            raise ValueError(f"{self._reserved if self.ring.producer.reserved else 0} bytes are reserved, not {length}")
        self.commit_record(length)

    def peek(self):
        """The oldest record where it lies, as a view; then `release`. None when empty. Raises BrokenRing."""
        cdef uint32_t length
        self._check_open()
        cdef const uint8_t* record = self.peek_record(&length)
        if record == NULL:
            self._raise_broken(False)
            return None
        start = <uint64_t>record - <uint64_t>self.ring.slots
        return memoryview(self)[start:start + length].toreadonly()

    def release(self):
        """The record that was looked at is done with. ValueError if none was."""
        self._check_open()
        if self.ring.consumer.reserved == 0:
            raise ValueError("no record was looked at")
        self.release_record()

    def __repr__(self):
        if self.block == NULL:
            return "<RecordRing: closed>"
        place = "" if self.arena is None else f", at {self.offset:#x} of Arena {self.arena.name!r}"
        return f"<RecordRing: {8 * len(self)} of {8 * self.capacity} bytes, {self.strategy}{place}>"
