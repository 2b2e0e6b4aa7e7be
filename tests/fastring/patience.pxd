"""How a thread waits for another without the GIL, and for how long."""

from libc.stdint cimport uint64_t

from fastring.atomic cimport cpu_relax

cdef extern from "<sched.h>" nogil:
    int sched_yield()

cdef enum:
    PATIENCE = 100_000_000          # spins without progress before a thread calls it a hang: some seconds


cdef inline uint64_t wait(uint64_t idle) noexcept nogil:
    """One more spin; now and then the core goes to whom one waits for, who may have none."""
    if idle % 128 == 127:
        sched_yield()
    else:
        cpu_relax()
    return idle + 1
