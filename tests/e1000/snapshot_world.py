"""A card with all that is around it, to be compared with another: for tests of snapshots."""

import struct

from cards import MAC, RecordingWire, context, packet

from e1000 import regs
from e1000.bus import HostMemory, LocalBus
from e1000.device import E1000Device
from fastring.burst import Burst
from fastring.clock import VirtualClock

RING, COUNT = 0x1000, 32
BUFFERS = 0x8000
MEMORY = 1 << 17
PAUSE = bytes.fromhex("0180C2000001") + bytes(6) + bytes.fromhex("880800011000") + bytes(42)


class World:
    """A card on a bus, with a clock, over its own image of memory; `told` is all of it, to compare with another's."""

    def __init__(self, image=bytes(MEMORY), time=0, plugged=True):
        self.memory = HostMemory(size=MEMORY)
        self.addresses = self.memory.addresses
        self.base = self.memory.alloc_coherent(MEMORY)
        self.addresses.write(self.base, image)
        self.clock = VirtualClock(start=time)
        self.wire = RecordingWire()
        self.device = E1000Device(mac=MAC, wire=self.wire if plugged else None, clock=self.clock)
        self.bus = LocalBus(self.device, memory=self.memory)

    @property
    def image(self):
        return self.addresses.read(self.base, MEMORY)

    def play(self, step):
        kind, *rest = step
        if kind == "write":
            self.device.write(*rest)
        elif kind == "read":
            return self.device.read(*rest)
        elif kind == "config":
            self.device.config_write(*rest)
        elif kind == "rings":
            self.rings(*rest)
        elif kind == "send":
            self.send(*rest)
        elif kind == "receive":
            self.wire.inject(Burst.from_packets([packet(n, to=to, seed=n) for n, to in rest[0]]))
        elif kind == "give":
            self.device.write(regs.RDT, (self.device.read(regs.RDT) + rest[0]) % COUNT)
        else:
            self.clock.advance(rest[0])
        return None

    def rings(self, rctl, tctl):
        for slot in range(COUNT):
            self.addresses.write(self.base + RING + 512 + 16 * slot, struct.pack("<QQ", self.base + BUFFERS + 2048 * slot, 0))
        for low, length, at in ((regs.TDBAL, regs.TDLEN, 0), (regs.RDBAL, regs.RDLEN, 512)):
            self.device.write(low, self.base + RING + at)
            self.device.write(length, 16 * COUNT)
        self.device.write(regs.RCTL, rctl | regs.RCTL_EN)
        self.device.write(regs.TCTL, tctl | regs.TCTL_EN)

    def send(self, descriptors):
        tail = self.device.read(regs.TDT) % COUNT
        for make, *arguments in descriptors:
            if make is not context:
                arguments[0] += self.base + BUFFERS
            self.addresses.write(self.base + RING + 16 * tail, make(*arguments) if make is not context else make(payload=arguments[0]))
            tail = (tail + 1) % COUNT
        self.device.write(regs.TDT, tail)

    def told(self):
        """All that can be seen of it."""
        return self.device.dump(), self.image, self.wire.sent, self.bus.irq.asserted, self.device.drops, self.device.eeprom, [
            self.device.config_read(offset) for offset in range(0, 256, 4)
        ]  # fmt: skip

    def close(self):
        self.bus.close()
        self.device.close()
        self.memory.close()
