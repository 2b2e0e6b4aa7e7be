"""QtestBus: the driver on QEMU's own e1000, over the qtest protocol (`Qemu`).

Registers are an exchange over a socket, 25 to 80 µs. So writes are posted, as on PCI: up to 64 travel together, ahead of the next read
or look at the interrupt line. Descriptors and packets lie in shared memory, and cost nothing.

Time. QEMU's clock stands still unless it is stepped. It follows `clock`, the Stack's, whenever the softirq finds the interrupt line down:
it is stepped by what has passed on `clock` since, and by LOOK at least. So a look lets pass whatever the card's interrupt moderation
holds back (128 µs in QEMU, even with ITR 0), `Stack.run` ends with nothing pending on either clock, and QEMU's time is never behind;
it gets ahead by as much as LOOK for each look. On a VirtualClock QEMU's seconds (one without reception after any write of RCTL, half a
one for autonegotiation) pass by `clock.advance`. A look also lets frames pass on the wire.

Death. When QEMU is gone, writes vanish and the data path reads all ones, as from a card that was pulled out; `read` and `Stack.run` raise
what Qemu says of it.
"""

import errno

from libc.stdint cimport int64_t, uint32_t

from fastring.atomic cimport load_acquire32

from e1000.bus.qemu import BAR0, IO_BAR, SLOT
from e1000.device.arguments import check_config, check_register
from fastring.clock import MonotonicClock
from fastring.irq import IrqLine as PlainLine

BAR0_SIZE, IO_BAR_SIZE = 1 << 17, 8
LOOK = 200_000                      # ns
PCI_COMMAND, PCI_BAR0, PCI_BAR1 = 0x04, 0x10, 0x14
IO_MEMORY_MASTER = 0x7


cdef class QtestLine(IrqLine):
    """The card's INTA. Looking at it while it is down lets QEMU's time pass."""

    cdef void look(self) noexcept nogil:
        if self.bus is not None and self.handler != NULL and not load_acquire32(&self.level):
            with gil:
                self.bus._look()

    cdef bint service(self) noexcept nogil:
        self.look()
        return IrqLine.service(self)


cdef class QtestBus(Bus):
    """The card of `qemu` (a Qemu, which stays its owner's), in whose memory DMA goes. Raises OSError EBUSY if it is on a bus already.

    `clock`: the Stack's, which QEMU's follows; by default the real one. `enabled`: whether BARs, memory space, I/O space and bus master
    are set up, as by firmware and pci_enable_device; else as after RST#, and BARs go to 0xE0000000 and 0xC000.
    """

    def __init__(self, qemu not None, *, Clock clock=None, bint enabled=True):
        if qemu.bus is not None:
            raise OSError(errno.EBUSY, f"{qemu!r} is on a bus already")
        super().__init__(memory=qemu.memory)
        cdef QtestLine line = QtestLine()
        line.bus = self
        self.irq = line
        self.clock = MonotonicClock() if clock is None else clock
        self.seen = self.clock.now()
        self.qemu = qemu
        if enabled:
            self.config_write(PCI_BAR0, BAR0)
            self.config_write(PCI_BAR1, IO_BAR)
            self.config_write(PCI_COMMAND, IO_MEMORY_MASTER, 2)
            qemu.flush()
        if qemu.irq.asserted:
            line.raise_irq()
        qemu.irq = line
        qemu.bus = self

    cdef void _look(self) noexcept:
        """Let time pass, and frames on the wire. Softirq thread; not from inside itself, by way of a wire or a sink."""
        cdef int64_t now = self.clock.now()
        if self.looking:
            return
        self.looking = True
        try:
            self.qemu.advance(max(now - self.seen, LOOK))
            self.seen = now
            self.qemu.exchange()
        except BaseException as error:
            self.irq.error = error
        finally:
            self.looking = False

    def read(self, uint32_t offset, uint32_t size=4):
        """Read the register at a BAR0 offset, or 1 or 2 bytes of it. Raises what Qemu does when it is gone."""
        check_register("BAR0", BAR0_SIZE, offset, size)
        return self.qemu.read(BAR0 + offset, size)

    def write(self, uint32_t offset, uint32_t value, uint32_t size=4):
        """Write the register at a BAR0 offset; posted. QEMU's card takes 1 or 2 bytes for the whole register."""
        check_register("BAR0", BAR0_SIZE, offset, size, value)
        self.qemu.write(BAR0 + offset, value, size)

    def io_read(self, uint32_t offset, uint32_t size=4):
        """Read the I/O BAR, behind which QEMU has nothing."""
        check_register("I/O BAR", IO_BAR_SIZE, offset, size)
        return self.qemu.port_read(IO_BAR + offset, size)

    def io_write(self, uint32_t offset, uint32_t value, uint32_t size=4):
        """Write the I/O BAR, behind which QEMU has nothing; posted."""
        check_register("I/O BAR", IO_BAR_SIZE, offset, size, value)
        self.qemu.port_write(IO_BAR + offset, value, size)

    def config_read(self, uint32_t offset, uint32_t size=4):
        """Read 1, 2 or 4 bytes of PCI configuration space, by the ports 0xCF8 and 0xCFC."""
        check_config(offset, size)
        return self.qemu.pci_read(SLOT, offset, size)

    def config_write(self, uint32_t offset, uint32_t value, uint32_t size=4):
        """Write 1, 2 or 4 bytes of PCI configuration space; posted."""
        check_config(offset, size, value)
        self.qemu.pci_write(SLOT, offset, value, size)

    def close(self):
        """Take the card off the bus: no DMA any more; again is harmless. QEMU stays its owner's."""
        if self.qemu.bus is self:
            self.config_write(PCI_COMMAND, 0, 2)
            self.qemu.bus = None
            self.qemu.irq = PlainLine()
            self.qemu.flush()

    def __repr__(self):
        return f"<QtestBus: {self.qemu!r}>"
