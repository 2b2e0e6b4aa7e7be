"""The two cards under comparison, behind one interface: what a host can do to a card, and what it can see of it."""

import abc
import struct
from contextlib import ExitStack

from cards import RecordingWire
from qemu import Qemu

from e1000.bus import HostMemory, LocalBus
from e1000.device import E1000Device
from fastring.burst import Burst
from fastring.clock import VirtualClock

MAC = "52:54:00:12:34:56"
RAM_SIZE, RAM_BASE = 16 << 20, 1 << 20      # a PC has ROM below 1 MiB
BAR0, IO_BAR = 0xE0000000, 0xC000

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
    """One card, powered on and not yet enabled in PCI configuration space. `ram`: the host's memory from RAM_BASE on."""

    ram: memoryview

    @abc.abstractmethod
    def read(self, offset: int, size: int = 4) -> int:
        """A register in BAR0."""

    @abc.abstractmethod
    def write(self, offset: int, value: int, size: int = 4) -> None: ...

    @abc.abstractmethod
    def config_read(self, offset: int, size: int = 4) -> int:
        """PCI configuration space."""

    @abc.abstractmethod
    def config_write(self, offset: int, value: int, size: int = 4) -> None: ...

    @abc.abstractmethod
    def io_read(self, offset: int) -> int:
        """The I/O BAR: 0 is IOADDR, 4 IODATA."""

    @abc.abstractmethod
    def io_write(self, offset: int, value: int) -> None: ...

    @property
    @abc.abstractmethod
    def irq(self) -> bool:
        """The level of INTA."""

    @abc.abstractmethod
    def receive(self, frame: bytes) -> None:
        """Let a frame, without CRC, arrive from the wire, and the card do with it what it does at once."""

    @abc.abstractmethod
    def sent(self) -> list[bytes]:
        """The frames that the card has sent since the last call, without CRC."""

    @abc.abstractmethod
    def advance(self, nanoseconds: int) -> None:
        """Let time pass; otherwise it stands still."""

    @abc.abstractmethod
    def close(self) -> None: ...


class OurMachine(Machine):
    """fastring's device on a LocalBus."""

    def __init__(self):
        self._undo = ExitStack()
        self.clock = VirtualClock()
        self.wire = RecordingWire()
        memory = self._undo.enter_context(HostMemory(size=RAM_SIZE - RAM_BASE))
        assert memory.iova == RAM_BASE
        self.ram = memoryview(memory.arena)
        self._undo.callback(self.ram.release)
        self.device = self._undo.enter_context(E1000Device(mac=MAC, eeprom=EEPROM, wire=self.wire, clock=self.clock))
        self.bus = self._undo.enter_context(LocalBus(self.device, memory=memory, enabled=False))

    def read(self, offset, size=4):
        return self.bus.read(offset, size)

    def write(self, offset, value, size=4):
        self.bus.write(offset, value, size)

    def config_read(self, offset, size=4):
        return self.bus.config_read(offset, size)

    def config_write(self, offset, value, size=4):
        self.bus.config_write(offset, value, size)

    def io_read(self, offset):
        return self.bus.io_read(offset)

    def io_write(self, offset, value):
        self.bus.io_write(offset, value)

    @property
    def irq(self):
        return self.bus.irq.asserted

    def receive(self, frame):
        self.wire.inject(Burst.from_packets([frame]))

    def sent(self):
        frames, self.wire.sent = self.wire.sent, []
        return frames

    def advance(self, nanoseconds):
        self.clock.advance(nanoseconds)

    def close(self):
        self._undo.close()


class QemuMachine(Machine):
    """QEMU's e1000 on its 440FX machine."""

    SLOT, INTA = 4, 11

    def __init__(self, root, *, counting=False):
        self.qemu = Qemu(
            root, ram=RAM_SIZE, device=f"e1000,netdev=wire,romfile=,addr={self.SLOT},mac={MAC}", irq=self.INTA, stepped=not counting
        )
        self.ram = self.qemu.ram[RAM_BASE:]
        self.qemu.pci_write(1, 0x60, 0x01010101 * self.INTA)    # the PIIX3 routes each PCI interrupt to this line

    def read(self, offset, size=4):
        return self.qemu.read(BAR0 + offset, size)

    def write(self, offset, value, size=4):
        self.qemu.write(BAR0 + offset, value, size)

    def config_read(self, offset, size=4):
        return self.qemu.pci_read(self.SLOT, offset, size)

    def config_write(self, offset, value, size=4):
        self.qemu.pci_write(self.SLOT, offset, value, size)

    def io_read(self, offset):
        return self.qemu.port_read(IO_BAR + offset)

    def io_write(self, offset, value):
        self.qemu.port_write(IO_BAR + offset, value)

    @property
    def irq(self):
        return self.qemu.irq

    def receive(self, frame):
        self.qemu.send(frame)

    def sent(self):
        return self.qemu.received()

    def advance(self, nanoseconds):
        self.qemu.advance(nanoseconds)

    def close(self):
        self.qemu.close()
