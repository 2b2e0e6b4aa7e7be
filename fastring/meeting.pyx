"""Where the workers of a measurement, threads or processes, begin together. For loops that run without the interpreter.

Who has to wait says so to its core (pause), and with `spins` lets others have it every so many times, for where there are more workers than
cores. Nobody waits for ever for who is gone.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free
from libc.string cimport memset
from posix.stdlib cimport posix_memalign

from fastring.atomic cimport fetch_add32, load_acquire32
from fastring.memory cimport Arena

cdef enum:
    LINES = 128                     # two cache lines: the prefetcher fetches pairs
    BLOCK = 3 * LINES


cdef late(str what):
    """What a loop raises that waited too long."""
    return TimeoutError(f"nobody else was there any more: {what}")


cdef class Meeting:
    """Where `workers` of them begin together; made in an `arena` for other processes to attach to.

    ``seconds``: how long a loop waits for the others before it raises TimeoutError. ``spins``: waits between two yields; 0: never.
    """

    def __cinit__(self, uint32_t workers, *, Arena arena=None, offset=None, double seconds=60, uint32_t spins=0):
        cdef uint8_t* block
        if arena is None:
            if posix_memalign(<void**>&self.private, LINES, BLOCK):
                raise MemoryError()
            block = self.private
        else:
            self.pin = memoryview(arena)
            self.offset = arena.alloc(BLOCK, align=LINES) if offset is None else offset
            block = arena.at(self.offset, BLOCK)
        if offset is None:
            memset(block, 0, BLOCK)
        self.ready = <uint32_t*>block
        self.there = <uint32_t*>(block + LINES)
        self.back = <uint32_t*>(block + 2 * LINES)
        self.arena = arena
        self.workers = workers
        self.how.spins = spins
        self.patience = <uint64_t>(1e9 * seconds)

    def __dealloc__(self):
        free(self.private)

    cdef bint meet(self, Wait* wait) noexcept nogil:
        """Return when the last one is here, too; False when it does not come. `wait`: whose deadline starts."""
        wait[0] = self.how
        wait.deadline = now() + self.patience
        fetch_add32(self.ready, 1)
        while load_acquire32(self.ready) < self.workers:
            if not relax(wait):
                return False
        return True
