"""The lock that a DeviceThread shares with all who touch its cards. Re-entrant: a wire written in Python may read a register."""

from libc.stdint cimport uint32_t

from e1000.device.state cimport Card, DeviceLock
from fastring.atomic cimport cpu_relax, exchange32, load_relaxed64, store_relaxed64, store_release32

cdef extern from "<pthread.h>" nogil:
    unsigned long pthread_self()


# An access of so many bytes, by one of the BARs or to configuration space
ctypedef uint32_t (*reader)(Card* card, uint32_t offset, uint32_t size) noexcept nogil
ctypedef void (*writer)(Card* card, uint32_t offset, uint32_t value, uint32_t size) noexcept nogil


cdef inline void acquire(DeviceLock* lock) noexcept nogil:
    """Without the GIL only: its holder may be waiting for that."""
    if load_relaxed64(&lock.owner) == pthread_self():
        lock.depth += 1
        return
    while exchange32(&lock.held, 1):
        cpu_relax()
    store_relaxed64(&lock.owner, pthread_self())
    lock.depth = 1


cdef inline void release(DeviceLock* lock) noexcept nogil:
    lock.depth -= 1
    if lock.depth == 0:
        store_relaxed64(&lock.owner, 0)
        store_release32(&lock.held, 0)      # pairs with acquire's exchange


cdef inline DeviceLock* lock_card(Card* card) noexcept nogil:
    """Keep the card's engines still until `unlock_card`. Nothing to do, and NULL, when no DeviceThread runs them."""
    cdef DeviceLock* lock = card.lock
    if lock != NULL:
        acquire(lock)
    return lock


cdef inline void unlock_card(DeviceLock* lock) noexcept nogil:
    if lock != NULL:
        release(lock)


cdef inline uint32_t read_locked(Card* card, reader read, uint32_t offset, uint32_t size) noexcept nogil:
    """What `read` finds at `offset`, the engines still meanwhile."""
    cdef DeviceLock* lock = lock_card(card)
    cdef uint32_t value = read(card, offset, size)
    unlock_card(lock)
    return value


cdef inline void write_locked(Card* card, writer write, uint32_t offset, uint32_t value, uint32_t size) noexcept nogil:
    cdef DeviceLock* lock = lock_card(card)
    write(card, offset, value, size)
    unlock_card(lock)
