"""E1000Napi: the interrupt handler and the poll (the kernel's e1000_intr and e1000_clean)."""

import errno

from e1000.regs cimport ICR, ICR_LSC, ICR_RXDMT0, ICR_RXSEQ, ICR_RXT0, ICR_TXDW, IMC, IMS, ITR

cdef enum:
    ENABLED = ICR_TXDW | ICR_LSC | ICR_RXSEQ | ICR_RXDMT0 | ICR_RXT0
    EVERY_CAUSE = 0xFFFFFFFFu

cdef enum:                          # latency ranges, the kernel's enum latency_range
    LOWEST_LATENCY
    LOW_LATENCY
    BULK_LATENCY

cdef uint32_t RATES[3]              # interrupts a second in each
RATES[:] = [70000, 20000, 4000]

IMS_ENABLE_MASK = ENABLED


cdef int update_itr(int latency, uint64_t packets, uint64_t bytes) noexcept nogil:
    """The range that suits what one interrupt brought (e1000_update_itr): few small packets want latency, many bytes throughput."""
    if packets == 0:
        return latency
    if latency == LOWEST_LATENCY:
        if bytes // packets > 8000:             # jumbo frames
            return BULK_LATENCY
        if packets < 5 and bytes > 512:
            return LOW_LATENCY
    elif latency == LOW_LATENCY:
        if bytes > 10000:
            if bytes // packets > 8000 or packets < 10 or bytes // packets > 1200:
                return BULK_LATENCY
            if packets > 35:
                return LOWEST_LATENCY
        elif bytes // packets > 2000:
            return BULK_LATENCY
        elif packets <= 2 and bytes < 512:
            return LOWEST_LATENCY
    elif bytes > 25000:
        if packets > 35:
            return LOW_LATENCY
    elif bytes < 6000:
        return LOW_LATENCY
    return latency


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
        if causes & (ICR_LSC | ICR_RXSEQ):
            self.link_events += 1
            if self.link_changed is not None:
                self.tell_link_changed()
        self.schedule()

    cdef void tell_link_changed(self) noexcept nogil:
        """What a Python callback raises is kept for Softirq.net_rx_action to raise."""
        with gil:
            try:
                self.link_changed()
            except BaseException as error:
                self.error = error

    cdef int poll(self, int budget) noexcept nogil:
        """Completions first: they make room. Interrupts come back only if complete_done says so."""
        cdef int work
        self.tx.clean()
        if self.tx.error is not None:
            self.take_error()
        work = self.rx.clean(budget)
        if work < budget and self.complete_done(work):
            if self.itr_setting & 3:
                self.set_itr()
            self.bus.write32(IMS, ENABLED)
        return work

    cdef void take_error(self) noexcept nogil:
        """What a destructor of a packet raised: for Softirq.net_rx_action to raise."""
        with gil:
            self.error, self.tx.error = self.tx.error, None

    cdef void set_itr(self) noexcept nogil:
        """Adapt the interrupt rate to what came since the last time (e1000_set_itr); towards more interrupts in steps."""
        cdef uint64_t tx_packets = self.tx.packets, tx_bytes = self.tx.bytes, rx_packets = self.rx.packets, rx_bytes = self.rx.bytes
        cdef uint32_t rate = 4000               # below 1000 Mbit/s
        if self.gigabit:
            self.tx_latency = update_itr(self.tx_latency, tx_packets - self.seen[0], tx_bytes - self.seen[1])
            self.rx_latency = update_itr(self.rx_latency, rx_packets - self.seen[2], rx_bytes - self.seen[3])
            if self.itr_setting == 3:           # conservative: without the lowest latency
                self.tx_latency = max(self.tx_latency, <int>LOW_LATENCY)
                self.rx_latency = max(self.rx_latency, <int>LOW_LATENCY)
            rate = RATES[max(self.tx_latency, self.rx_latency)]
        self.seen[:] = [tx_packets, tx_bytes, rx_packets, rx_bytes]
        if rate != self.itr:
            self.itr = min(self.itr + (rate >> 2), rate) if rate > self.itr else rate
            self.bus.write32(ITR, 1000000000 // (self.itr * 256))

    def reset_itr(self):
        """Forget what was counted, for rings that begin anew."""
        self.seen[:] = [0, 0, 0, 0]
        if self.tx is not None and self.rx is not None:
            self.seen[:] = [self.tx.packets, self.tx.bytes, self.rx.packets, self.rx.bytes]
