"""A NAPI whose events come from a thread without the GIL, as fast as it can tell of them."""

from libc.stdint cimport uint32_t, uint64_t

from fastring.atomic cimport fetch_add32, load_acquire32
from fastring.napi cimport Napi
from patience cimport PATIENCE, wait


cdef class Events(Napi):
    cdef uint32_t produced          # atomic: in the ring, and the interrupt was told
    cdef uint32_t consumed

    cdef int poll(self, int budget) noexcept nogil:
        cdef uint32_t waiting = load_acquire32(&self.produced) - self.consumed
        cdef int work = <int>min(<uint32_t>budget, waiting)
        self.consumed += work
        if work < budget:
            self.complete_done(work)
        return work

    def produce(self, uint32_t events):
        """Put events in the ring, and schedule after each; every few wait for all to be consumed. Returns how many never were."""
        cdef uint64_t idle = 0
        cdef uint32_t i
        cdef bint held
        with nogil:
            for i in range(events):
                fetch_add32(&self.produced, 1)
                held = self.softirq.take_cpu()          # as the interrupt takes the CPU from what runs there
                self.schedule()
                self.softirq.let_go(held)
                if i % 3 == 0 or i == events - 1:
                    idle = 0
                    while load_acquire32(&self.consumed) != i + 1 and idle < PATIENCE:
                        idle = wait(idle)
                    if idle >= PATIENCE:
                        break
        return self.produced - self.consumed
