"""LocalBus: driver and device in one process, an access costing a call."""

from libc.stdint cimport uint32_t

from e1000.bus.base cimport HostMemory


cdef class LocalBus(Bus):
    """Plug `device` into `memory` (a HostMemory of its own by default). Raises OSError EBUSY if it is on a bus already."""

    def __init__(self, E1000Device device not None, *, HostMemory memory=None):
        super().__init__(memory=memory)
        device.connect(self.memory.addresses, self.irq)
        self.device = device

    cdef uint32_t read32(self, uint32_t offset) noexcept nogil:
        return self.device.read32(offset)

    cdef void write32(self, uint32_t offset, uint32_t value) noexcept nogil:
        self.device.write32(offset, value)

    def read(self, offset):
        """Read the 32-bit register at a BAR0 offset."""
        return self.device.read(offset)

    def write(self, offset, value):
        """Write the 32-bit register at a BAR0 offset."""
        self.device.write(offset, value)

    def close(self):
        """Take the device off the bus; again is harmless. The memory stays its owner's."""
        if self.device.memory is self.memory.addresses:
            self.device.connect(None, None)

    def __repr__(self):
        return f"<LocalBus: {self.device}>"
