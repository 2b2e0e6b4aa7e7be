"""LocalBus: driver and device in one process, an access costing a call."""

from libc.stdint cimport uint32_t

from e1000.bus.base cimport HostMemory
from fastring.atomic cimport load_acquire32

cdef enum:
    WIRE_BUDGET = 64                # packets from outside between two looks at the interrupt line


cdef class LocalLine(IrqLine):
    """The card's INTA. Looking at it while it is down lets frames arrive from a wire that has to be polled."""

    cdef void look(self) noexcept nogil:
        if self.device is not None and self.device.polls and self.handler != NULL and not load_acquire32(&self.level):
            if self.device.poll_wire(WIRE_BUDGET) < 0:
                with gil:
                    self.error = self.device.wire_failed()

    cdef bint service(self) noexcept nogil:
        self.look()
        return IrqLine.service(self)

    @property
    def wire(self):
        """What frames come from that nobody in this process sends, for who waits; or None."""
        return None if self.device is None or not self.device.polls else self.device.wire


cdef class LocalBus(Bus):
    """Plug `device` into `memory` (a HostMemory of its own by default). Raises OSError EBUSY if it is on a bus already.

    `enabled`: whether memory space, I/O space and bus master are on, as after firmware and pci_enable_device; else as after RST#.
    """

    def __init__(self, E1000Device device not None, *, HostMemory memory=None, bint enabled=True):
        super().__init__(memory=memory)
        cdef LocalLine line = LocalLine()
        self.irq = line
        device.connect(self.memory.addresses, self.irq, enabled)
        self.device = line.device = device

    cdef uint32_t read32(self, uint32_t offset) noexcept nogil:
        return self.device.read32(offset)

    cdef void write32(self, uint32_t offset, uint32_t value) noexcept nogil:
        self.device.write32(offset, value)

    def read(self, offset, size=4):
        """Read the register at a BAR0 offset, or 1 or 2 bytes of it."""
        return self.device.read(offset, size)

    def write(self, offset, value, size=4):
        """Write the register at a BAR0 offset, or 1 or 2 bytes of it."""
        self.device.write(offset, value, size)

    def io_read(self, offset, size=4):
        """Read IOADDR (0) or IODATA (4) in the I/O BAR (§13.2.2)."""
        return self.device.io_read(offset, size)

    def io_write(self, offset, value, size=4):
        """Write IOADDR (0) or IODATA (4) in the I/O BAR (§13.2.2)."""
        self.device.io_write(offset, value, size)

    def config_read(self, offset, size=4):
        """Read 1, 2 or 4 bytes of PCI configuration space (§4.1)."""
        return self.device.config_read(offset, size)

    def config_write(self, offset, value, size=4):
        """Write 1, 2 or 4 bytes of PCI configuration space (§4.1)."""
        self.device.config_write(offset, value, size)

    def close(self):
        """Take the device off the bus; again is harmless. The memory stays its owner's."""
        if self.device.memory is self.memory.addresses:
            self.device.connect(None, None, True)
            (<LocalLine>self.irq).device = None

    def __repr__(self):
        return f"<LocalBus: {self.device}>"
