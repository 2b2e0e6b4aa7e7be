"""Bus: what a driver sees of a card: registers, configuration space, memory both can reach, one interrupt line.

A bus in Cython overrides read32 and write32; a bus in Python overrides `read` and `write`. The rest is not for packets: in Python.
"""

import errno

cdef uint32_t ALL_ONES = 0xFFFFFFFFu


cdef class HostMemory:
    """The memory of one host: an Arena for what drivers allocate, and the bus addresses at which its devices reach it.

    `size`: bytes of arena; pages nobody touches cost nothing. Several buses may share one HostMemory, as cards in one machine do.
    """

    def __init__(self, *, uint64_t size=1 << 27):
        self.arena = Arena(size, name="host-memory")
        self.addresses = AddressSpace()
        self.iova = self.addresses.map(self.arena)

    def alloc_coherent(self, uint64_t size, *, uint64_t align=4096):
        """dma_alloc_coherent: zeroed memory; returns its bus address. Raises OSError ENOMEM."""
        return self.iova + self.arena.alloc(size, align=align)

    def free_coherent(self, uint64_t iova):
        """Give back what alloc_coherent returned. Raises ValueError for anything else."""
        self.arena.free(iova - self.iova)

    def map(self, buffer):
        """dma_map: make any buffer reachable (read-only if it is); returns its bus address. It is held until `unmap`."""
        return self.addresses.map(buffer)

    def unmap(self, uint64_t iova):
        """dma_unmap. Raises OSError ENOENT if nothing is mapped there."""
        self.addresses.unmap(iova)

    def close(self):
        """Unmap the arena and give its memory back; again is harmless. Raises OSError EBUSY while a device is open on it."""
        if self.arena.address:
            if self.arena._exports > 1:         # the mapping's own, and each pool's
                raise OSError(errno.EBUSY, "a device is open on this memory: stop it first")
            self.addresses.unmap(self.iova)
            self.arena.close()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    def __repr__(self):
        return f"<HostMemory: {self.arena}, {self.addresses}>"


cdef class Bus:
    """One card as its driver sees it. `memory`: where the card does DMA (a HostMemory of its own by default). `irq`: its line."""

    def __init__(self, *, HostMemory memory=None):
        self.memory = HostMemory() if memory is None else memory
        self.irq = IrqLine()

    cdef uint32_t read32(self, uint32_t offset) noexcept nogil:
        """A read that fails gives all ones, as from a card that was pulled out; the error is for whoever runs the softirq."""
        with gil:
            try:
                return self.read(offset)
            except BaseException as error:
                self.irq.error = error
        return ALL_ONES

    cdef void write32(self, uint32_t offset, uint32_t value) noexcept nogil:
        with gil:
            try:
                self.write(offset, value)
            except BaseException as error:
                self.irq.error = error

    def read(self, offset, size=4):
        """Read the register at a BAR0 offset, or 1 or 2 bytes of it."""
        raise NotImplementedError(f"{type(self).__name__} overrides neither read32 nor read")

    def write(self, offset, value, size=4):
        """Write the register at a BAR0 offset, or 1 or 2 bytes of it."""
        raise NotImplementedError(f"{type(self).__name__} overrides neither write32 nor write")

    def io_read(self, offset, size=4):
        """Read IOADDR (0) or IODATA (4) in the I/O BAR (§13.2.2)."""
        raise NotImplementedError(f"{type(self).__name__} has no I/O space")

    def io_write(self, offset, value, size=4):
        """Write IOADDR (0) or IODATA (4) in the I/O BAR (§13.2.2)."""
        raise NotImplementedError(f"{type(self).__name__} has no I/O space")

    def config_read(self, offset, size=4):
        """Read 1, 2 or 4 bytes of PCI configuration space (§4.1)."""
        raise NotImplementedError(f"{type(self).__name__} has no configuration space")

    def config_write(self, offset, value, size=4):
        """Write 1, 2 or 4 bytes of PCI configuration space (§4.1)."""
        raise NotImplementedError(f"{type(self).__name__} has no configuration space")

    def dma_set_mask(self, int bits):
        """dma_set_mask_and_coherent: the card drives so many address bits. Raises OSError EIO if some of its memory lies beyond them."""
        end = self.memory.iova + self.memory.arena.size
        if end > <object>1 << bits:
            raise OSError(errno.EIO, f"{self!r}: its memory ends at {end:#x}, which {bits} address bits do not reach")

    def close(self):
        """Take the card off the bus; again is harmless."""

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()
