"""AddressTable: where addresses were heard, as a bridge's forwarding database (net/bridge/br_fdb.c)."""

import os

from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc


cdef class AddressTable:
    """Up to `limit` addresses, each forgotten `ageing` seconds after it was heard last. Raises ValueError."""

    def __init__(self, *, limit=1024, double ageing=300.0):
        cdef uint32_t size = 16, i
        if self.entries != NULL:
            raise RuntimeError("an AddressTable is made once")
        if not 1 <= limit <= 1 << 20:
            raise ValueError(f"a switch remembers 1 to {1 << 20} addresses, not {limit}")
        if not 0 < ageing <= 1e6:
            raise ValueError(f"addresses are remembered for up to a million seconds, not {ageing}")
        while size < 2 * limit:
            size *= 2
        self.limit, self.mask, self.ageing = limit, size - 1, <int64_t>(ageing * 1e9)
        self.secret = int.from_bytes(os.urandom(8), "little") | 1
        self.oldest = self.youngest = NOBODY
        self.entries = <Address*>calloc(self.limit, sizeof(Address))
        self.buckets = <int*>malloc(size * sizeof(int))
        if self.entries == NULL or self.buckets == NULL:
            raise MemoryError()
        for i in range(size):
            self.buckets[i] = NOBODY
        for i in range(self.limit):
            self.entries[i].next = <int>i + 1
        self.entries[self.limit - 1].next = NOBODY

    def __dealloc__(self):
        free(self.entries)
        free(self.buckets)

    cdef uint32_t bucket(self, uint64_t key) noexcept nogil:
        return <uint32_t>((key ^ self.secret) * 0x9E3779B97F4A7C15u >> 32) & self.mask

    cdef int find(self, uint64_t key) noexcept nogil:
        """The entry of an address, or NOBODY."""
        cdef int entry = self.buckets[self.bucket(key)]
        while entry != NOBODY and self.entries[entry].key != key:
            entry = self.entries[entry].next
        return entry

    cdef void learn(self, uint64_t key, int port, int64_t now) noexcept nogil:
        """br_fdb_update: the address was heard at a port."""
        cdef int entry = self.find(key)
        cdef uint32_t bucket
        if entry != NOBODY:
            if self.entries[entry].port != port:
                self.moved += 1
                self.entries[entry].port = port
            if self.entries[entry].heard != now:
                self.entries[entry].heard = now
                self.leave_order(entry)
                self.join_order(entry)
            return
        if self.vacant == NOBODY:
            self.unlearned += 1
            return
        entry, bucket = self.vacant, self.bucket(key)
        self.vacant = self.entries[entry].next
        self.entries[entry].key, self.entries[entry].port, self.entries[entry].heard = key, port, now
        self.entries[entry].next = self.buckets[bucket]
        self.buckets[bucket] = entry
        self.join_order(entry)
        self.learned += 1

    cdef void forget(self, int entry) noexcept nogil:
        cdef int* link = &self.buckets[self.bucket(self.entries[entry].key)]
        while link[0] != entry:
            link = &self.entries[link[0]].next
        link[0] = self.entries[entry].next
        self.leave_order(entry)
        self.entries[entry].next = self.vacant
        self.vacant = entry
        self.learned -= 1

    cdef void age(self, int64_t now) noexcept nogil:
        """Forget what has not been heard for as long as that."""
        while self.oldest != NOBODY and self.entries[self.oldest].heard + self.ageing <= now:
            self.forget(self.oldest)

    cdef void leave_order(self, int entry) noexcept nogil:
        cdef int older = self.entries[entry].older, younger = self.entries[entry].younger
        if older == NOBODY:
            self.oldest = younger
        else:
            self.entries[older].younger = younger
        if younger == NOBODY:
            self.youngest = older
        else:
            self.entries[younger].older = older

    cdef void join_order(self, int entry) noexcept nogil:
        """As the youngest."""
        self.entries[entry].older, self.entries[entry].younger = self.youngest, NOBODY
        if self.youngest == NOBODY:
            self.oldest = entry
        else:
            self.entries[self.youngest].younger = entry
        self.youngest = entry

    cdef forget_port(self, int port):
        """Whatever was heard there."""
        cdef int entry = self.oldest, younger
        while entry != NOBODY:
            younger = self.entries[entry].younger
            if self.entries[entry].port == port:
                self.forget(entry)
            entry = younger

    cdef list list_entries(self, int64_t now):
        """(key, port, when it was heard) of what is remembered yet, the longest unheard first."""
        cdef int entry
        cdef list found = []
        self.age(now)
        entry = self.oldest
        while entry != NOBODY:
            found.append((self.entries[entry].key, self.entries[entry].port, self.entries[entry].heard))
            entry = self.entries[entry].younger
        return found
