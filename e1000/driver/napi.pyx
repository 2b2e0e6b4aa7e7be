"""E1000Napi: the interrupt handler and the poll (the kernel's e1000_intr and e1000_clean)."""

import errno

from e1000.regs cimport ICR, ICR_LSC, ICR_RXDMT0, ICR_RXSEQ, ICR_RXT0, ICR_TXDW, IMC, IMS

cdef enum:
    ENABLED = ICR_TXDW | ICR_LSC | ICR_RXSEQ | ICR_RXDMT0 | ICR_RXT0
    EVERY_CAUSE = 0xFFFFFFFFu

IMS_ENABLE_MASK = ENABLED


cdef void handle(void* napi) noexcept nogil:
    (<E1000Napi>napi).interrupt()


cdef class E1000Napi(Napi):
    """One NAPI context for both rings of a card. `tx` and `rx` are there while the device is open."""

    def __init__(self, Bus bus not None, *, int weight=64):
        super().__init__(weight=weight)
        self.bus = bus

    def request_irq(self):
        """Take the bus's interrupt line. Raises OSError EBUSY if it is taken."""
        if self.bus.irq.handler != NULL:
            raise OSError(errno.EBUSY, f"the interrupt line of {self.bus!r} is taken")
        self.bus.irq.request(handle, <void*>self, self)

    def free_irq(self):
        """Let the interrupt line go."""
        self.bus.irq.release()

    cdef void interrupt(self) noexcept nogil:
        """Acknowledge by reading ICR, mask, leave the work to poll."""
        cdef uint32_t causes = self.bus.read32(ICR)
        if causes == 0:
            self.spurious += 1
            return
        self.interrupts += 1
        self.bus.write32(IMC, EVERY_CAUSE)
        if causes & ICR_LSC:
            self.link_events += 1
        self.schedule()

    cdef int poll(self, int budget) noexcept nogil:
        """Completions first: they make room. Interrupts come back only if complete_done says so."""
        cdef int work
        self.tx.clean()
        work = self.rx.clean(budget)
        if work < budget and self.complete_done(work):
            self.bus.write32(IMS, ENABLED)
        return work
