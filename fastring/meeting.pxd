"""Meeting: where the workers of a measurement begin together, and how they wait for each other then."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec

from fastring.atomic cimport cpu_relax

cdef extern from "<sched.h>" nogil:
    int sched_yield()

cdef enum:
    BETWEEN_LOOKS = 1 << 16         # waits between two looks at the clock

ctypedef struct Wait:
    uint64_t tries
    uint64_t deadline
    uint32_t spins                  # waits between two yields; 0: never


cdef inline uint64_t now() noexcept nogil:
    cdef timespec t
    clock_gettime(CLOCK_MONOTONIC, &t)
    return <uint64_t>t.tv_sec * 1_000_000_000 + <uint64_t>t.tv_nsec


cdef inline bint relax(Wait* wait) noexcept nogil:
    """Wait a moment; False when it has been too long, since the others are gone."""
    cpu_relax()
    wait.tries += 1
    if wait.spins and wait.tries % wait.spins == 0:
        sched_yield()
    return wait.tries % BETWEEN_LOOKS or now() < wait.deadline


cdef late(str what)


cdef class Meeting:
    cdef uint32_t* ready
    cdef uint32_t* there            # two lines more, for measuring the way between two cores
    cdef uint32_t* back
    cdef readonly uint32_t workers
    cdef readonly uint64_t offset
    cdef readonly object arena
    cdef object pin
    cdef uint8_t* private
    cdef Wait how
    cdef uint64_t patience

    cdef bint meet(self, Wait* wait) noexcept nogil
