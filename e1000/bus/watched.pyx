"""WatchedBus: a LocalBus whose register writes somebody is told of, before and after the card: e1000.checks."""

from libc.stdint cimport uint32_t

from e1000.bus.local cimport LocalBus


cdef class WatchedBus(LocalBus):
    """`watch(offset, value, written)`, if not None, is called before each 32-bit write to BAR0, `written` False, and after it.

    What it raises the write raises, or where it cannot, as in the data path, the softirq does.
    """

    cdef public object watch

    cdef void write32(self, uint32_t offset, uint32_t value) noexcept nogil:
        if self.watch is None:
            self.device.write32(offset, value)
            return
        with gil:
            try:
                self.write(offset, value)
            except BaseException as error:
                self.irq.error = error

    def write(self, offset, value, size=4):
        """Write the register at a BAR0 offset, or 1 or 2 bytes of it."""
        watch = self.watch
        if watch is None or size != 4:
            self.device.write(offset, value, size)
            return
        watch(offset, value, False)
        self.device.write(offset, value)
        watch(offset, value, True)
