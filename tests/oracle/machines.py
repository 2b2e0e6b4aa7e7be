"""The two cards under comparison, behind one interface: what a host can do to a card, and what it can see of it."""

import abc
import struct
from contextlib import ExitStack

from cards import RecordingWire
from qemu import CountingQemu

from e1000.bus import HostMemory, LocalBus
from e1000.bus.qemu import RAM_BASE, GuestMemory, Qemu, unpacked
from e1000.bus.qtest import QtestBus
from e1000.device import E1000Device
from fastring.burst import Burst
from fastring.clock import VirtualClock

MAC = "52:54:00:12:34:56"
RAM_SIZE = 16 << 20

# What QEMU's card has in its EEPROM: data, so that ours has the same.
EEPROM = struct.pack(
    "<64H",
    0x5452, 0x1200, 0x5634, 0x0000, 0xFFFF, 0x0000, 0x0000, 0x0000,
    0x3000, 0x1000, 0x6403, 0x100E, 0x8086, 0x100E, 0x8086, 0x3040,
    0x0008, 0x2000, 0x7E14, 0x0048, 0x1000, 0x00D8, 0x0000, 0x2700,
    0x6CC9, 0x3150, 0x0722, 0x040B, 0x0984, 0x0000, 0xC000, 0x0706,
    0x1008, 0x0000, 0x0F04, 0x7FFF, 0x4D01, 0xFFFF, 0xFFFF, 0xFFFF,
    0xFFFF, 0xFFFF, 0xFFFF, 0xFFFF, 0xFFFF, 0xFFFF, 0xFFFF, 0xFFFF,
    0x0100, 0x4000, 0x121C, 0xFFFF, 0xFFFF, 0xFFFF, 0xFFFF, 0xFFFF,
    0xFFFF, 0xFFFF, 0xFFFF, 0xFFFF, 0xFFFF, 0xFFFF, 0xFFFF, 0x79AD,
)  # fmt: skip


class Machine(abc.ABC):
    """One card, powered on and not yet enabled in PCI configuration space, on `bus`. `ram`: the host's memory from RAM_BASE on."""

    def __init__(self):
        self._undo = ExitStack()

    def plug(self, bus):
        self.bus = self._undo.enter_context(bus)
        assert bus.memory.alloc_coherent(RAM_SIZE - RAM_BASE) == RAM_BASE     # AddressSanitizer lets nobody write to what is free
        self.ram = memoryview(bus.memory.arena)
        self._undo.callback(self.ram.release)

    def read(self, offset, size=4):
        """A register in BAR0."""
        return self.bus.read(offset, size)

    def write(self, offset, value, size=4):
        self.bus.write(offset, value, size)

    def config_read(self, offset, size=4):
        """PCI configuration space."""
        return self.bus.config_read(offset, size)

    def config_write(self, offset, value, size=4):
        self.bus.config_write(offset, value, size)

    def io_read(self, offset):
        """The I/O BAR: 0 is IOADDR, 4 IODATA."""
        return self.bus.io_read(offset)

    def io_write(self, offset, value):
        self.bus.io_write(offset, value)

    @property
    def irq(self) -> bool:
        """The level of INTA."""
        return self.bus.irq.asserted

    @abc.abstractmethod
    def receive(self, frame: bytes) -> None:
        """Let a frame, without CRC, arrive from the wire, and the card do with it what it does at once."""

    @abc.abstractmethod
    def sent(self) -> list[bytes]:
        """The frames that the card has sent since the last call, without CRC."""

    @abc.abstractmethod
    def advance(self, nanoseconds: int) -> None:
        """Let time pass; otherwise it stands still."""

    def close(self):
        self._undo.close()


class OurMachine(Machine):
    """fastring's device on a LocalBus."""

    def __init__(self):
        super().__init__()
        self.clock = VirtualClock()
        self.wire = RecordingWire()
        memory = self._undo.enter_context(HostMemory(size=RAM_SIZE - RAM_BASE))
        device = self._undo.enter_context(E1000Device(mac=MAC, eeprom=EEPROM, wire=self.wire, clock=self.clock))
        self.plug(LocalBus(device, memory=memory, enabled=False))

    def receive(self, frame):
        self.wire.inject(Burst.from_packets([frame]))

    def sent(self):
        frames, self.wire.sent = self.wire.sent, []
        return frames

    def advance(self, nanoseconds):
        self.clock.advance(nanoseconds)


class QemuMachine(Machine):
    """QEMU's e1000 on its 440FX machine. What is posted is done at once, and time passes only when told."""

    def __init__(self, root, *, counting=False):
        super().__init__()
        memory = self._undo.enter_context(GuestMemory(size=RAM_SIZE - RAM_BASE))
        self.qemu = self._undo.enter_context((CountingQemu if counting else Qemu)(memory=memory, mac=MAC, program=unpacked(root)))
        self.plug(QtestBus(self.qemu, enabled=False))

    def write(self, offset, value, size=4):
        super().write(offset, value, size)
        self.qemu.flush()

    def config_write(self, offset, value, size=4):
        super().config_write(offset, value, size)
        self.qemu.flush()

    def io_write(self, offset, value):
        super().io_write(offset, value)
        self.qemu.flush()

    def receive(self, frame):
        """The card may not want it: then it waits in QEMU or on the wire until it does."""
        self.qemu.wire.send(frame)
        for _ in range(4):
            self.qemu.wire.poll()
            self.qemu.turn()

    def sent(self):
        """Those beyond the datagram queue follow when that was read: it is asked until there are none."""
        frames, quiet = [], 0
        while quiet < 2:
            self.qemu.wire.poll()
            more = self.qemu.wire.take()
            frames += more
            quiet = 0 if more else quiet + 1
            self.qemu.turn()
        return frames

    def advance(self, nanoseconds):
        self.qemu.advance(nanoseconds)
