"""A lock for a few instructions at a time, without the GIL; who came first has it first, so nobody waits for more than all others once.

Meant for threads that have a core each: where the next one has none, those behind it wait for that one's turn on a core, too.
"""

from libc.stdint cimport uint8_t, uint32_t

from fastring.atomic cimport cpu_relax, fetch_add32, load_acquire32, load_relaxed32, store_release32

cdef extern from "<sched.h>" nogil:
    int sched_yield()

cdef enum:
    SPINS = 256                     # before the core is left to whoever it is that holds the lock, and may have none


# Zeroes to begin with. The words lie on lines of their own: who comes does not disturb who waits.
ctypedef struct TicketLock:
    uint32_t next
    uint8_t _line[124]
    uint32_t serving


cdef inline void acquire(TicketLock* lock) noexcept nogil:
    cdef uint32_t ticket = fetch_add32(&lock.next, 1), spins = 0
    while load_acquire32(&lock.serving) != ticket:      # pairs with the release below
        spins += 1
        if spins % SPINS:
            cpu_relax()
        else:
            sched_yield()


cdef inline void release(TicketLock* lock) noexcept nogil:
    store_release32(&lock.serving, load_relaxed32(&lock.serving) + 1)
