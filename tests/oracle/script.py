"""A scenario's hands: everything it does to a card, and a record of everything the card shows.

A scenario is a function of a Script. It runs once on each machine; every value it looks at becomes a step, under a label, in the
order it was seen. It must not branch on what it saw: both machines get the same accesses.
"""

import functools
import struct
from collections import Counter, namedtuple

from e1000 import regs
from e1000.bus.qemu import BAR0, IO_BAR, RAM_BASE

EOP, IFCS, IC, RS, RPS, DEXT, VLE, IDE = (1 << 24 + i for i in range(8))
DD, RX_EOP = 1, 2
GUARD = 0xA5
MS = 1_000_000

Scenario = namedtuple("Scenario", "run counting")

SCENARIOS = {}


def scenario(group, *, counting=False, **cases):
    """Make a function a scenario, named group-function. `counting`: its QEMU is the one that keeps statistics, where
    timers fire by themselves.

    `cases`: one keyword with values, each of which makes a scenario of its own: `@scenario("rx", size=(256, 512))`.
    """

    def register(function):
        name = f"{group}-{function.__name__}".replace("_", "-")
        variants = {f"{name}-{value}": {key: value} for key, values in cases.items() for value in values} or {name: {}}
        for variant, arguments in variants.items():
            assert variant not in SCENARIOS, variant
            SCENARIOS[variant] = Scenario(functools.partial(function, **arguments), counting)
        return function

    return register


def register_offset(register, index=0):
    """An offset from a name in e1000.regs, or an offset as it is; arrays by index, RAL0 and RAH0 being 8 bytes apart."""
    offset = getattr(regs, register) if isinstance(register, str) else register
    return offset + index * (8 if register in ("RAL0", "RAH0") else 4)


class Script:
    """What a scenario is given."""

    def __init__(self, machine):
        self.machine = machine
        self.steps = []
        self._labels = Counter()
        self._next = RAM_BASE
        self.tx = self.rx = None

    # --- looking ---

    def record(self, label, value):
        """Note a value under a label; the second time it is label#2."""
        self._labels[label] += 1
        if self._labels[label] > 1:
            label = f"{label}#{self._labels[label]}"
        self.steps.append((label, value))
        return value

    def read(self, register, *, index=None, size=4, label=None):
        """Read a register by name or offset; of an array's registers one."""
        name = register if isinstance(register, str) else f"{register:05x}"
        name = name if index is None else f"{name}.{index}"
        return self.record(label or name, self.machine.read(register_offset(register, index or 0), size))

    def reads(self, *names):
        for name in names:
            self.read(name)

    def config(self, offset, size=4, *, label=None):
        return self.record(label or f"config {offset:02x}", self.machine.config_read(offset, size))

    def irq(self, label="irq"):
        self.record(label, self.machine.irq)

    def frames(self, label="frame"):
        """What the card sent since the last time: how many, and each."""
        sent = self.machine.sent()
        self.record(f"{label}s", len(sent))
        for frame in sent:
            self.record(label, frame)

    def memory(self, label, address, length):
        return self.record(label, self.load(address, length))

    def finish(self):
        """What every scenario ends with."""
        self.enable()
        self.frames("late frame")
        self.irq("end irq")
        for name in ("RDH", "RDT", "TDH", "TDT", "RCTL", "TCTL", "IMS", "ICR"):
            self.read(name, label=f"end {name}")
        self.irq("end irq after ICR")

    # --- doing ---

    def write(self, register, value, *, index=0, size=4):
        self.machine.write(register_offset(register, index), value, size)

    def change(self, register, *, set=0, clear=0):
        """Read, change bits, write. What was read is a step."""
        self.write(register, (self.read(register) | set) & ~clear)

    def probe(self, register, *patterns, index=None, size=4):
        """Write each pattern and read it back."""
        for pattern in patterns:
            self.write(register, pattern, index=index or 0, size=size)
            self.read(register, index=index, size=size)

    def wait(self, milliseconds):
        self.machine.advance(round(milliseconds * MS))

    def enable(self, command=7):
        """PCI: both BARs, and the command register (I/O, memory, bus master)."""
        self.machine.config_write(0x10, BAR0)
        self.machine.config_write(0x14, IO_BAR)
        self.machine.config_write(0x04, command, 2)

    def start(self):
        """A card as a driver finds it: enabled, and with a link for long."""
        self.enable()
        self.write("CTRL", self.machine.read(regs.CTRL) | regs.CTRL_SLU)
        self.wait(4000)
        self.machine.read(regs.ICR)                     # how the link came up is for the scenarios of the link

    def load(self, address, length):
        return bytes(self.machine.ram[address - RAM_BASE :][:length])

    def store(self, address, content):
        self.machine.ram[address - RAM_BASE :][: len(content)] = content

    def alloc(self, content, *, align=16):
        """Memory, with bytes in it or zeroes; returns its address, the same on both machines."""
        content = bytes(content)
        address = -(-self._next // align) * align
        self._next = address + len(content) + 64
        self.store(address, content)
        return address

    def phy_read(self, register, label=None):
        """MDIC read of PHY 1; the step is MDIC as it then reads."""
        self.write("MDIC", regs.MDIC_OP_READ | 1 << regs.MDIC_PHY_SHIFT | register << regs.MDIC_REG_SHIFT)
        return self.read("MDIC", label=label or f"PHY {register}") & 0xFFFF

    def phy_write(self, register, value):
        self.write("MDIC", regs.MDIC_OP_WRITE | 1 << regs.MDIC_PHY_SHIFT | register << regs.MDIC_REG_SHIFT | value)
        self.read("MDIC", label=f"PHY {register} written")

    def receive(self, *frames):
        for frame in frames:
            self.machine.receive(frame)

    # --- rings ---

    def ring(self, which, count):
        """Program TD or RD registers for a new ring of `count` descriptors; returns its address."""
        base = self.alloc(bytes(16 * count), align=4096)
        for register, value in (("BAL", base), ("BAH", 0), ("LEN", 16 * count), ("H", 0), ("T", 0)):
            self.write(f"{which}{register}", value)
        return base

    def tx_ring(self, count=8, *, tctl=regs.TCTL_EN | regs.TCTL_PSP, tail=0):
        self.tx = Ring(self.ring("TD", count), count)
        self.write("TCTL", tctl)

    def put(self, *descriptors):
        """Write descriptors behind the last; no doorbell."""
        for descriptor in descriptors:
            self.store(self.tx.base + 16 * self.tx.tail, descriptor)
            self.tx.tail = (self.tx.tail + 1) % self.tx.count

    def post(self, *descriptors):
        """Write descriptors, ring the doorbell."""
        self.put(*descriptors)
        self.write("TDT", self.tx.tail)

    def legacy(self, content, *, cmd=EOP | IFCS | RS, cso=0, css=0, special=0):
        """A legacy descriptor (§3.3.3) of bytes put into memory."""
        words = len(content) | cso << 16 | cmd, css << 8 | special << 16
        return struct.pack("<QII", self.alloc(content), *words)

    def data(self, content, *, cmd=EOP | IFCS | RS, popts=0, special=0):
        """A data descriptor (§3.3.7)."""
        return struct.pack("<QII", self.alloc(content), len(content) | 1 << 20 | DEXT | cmd, popts << 8 | special << 16)

    def context(self, *, ip=(0, 0, 0), tu=(0, 0, 0), payload=0, header=0, mss=0, cmd=0):
        """A context descriptor (§3.3.6): (start, offset, end) of the IP and of the TCP or UDP checksum, TSO's lengths."""
        return struct.pack("<BBHBBHIBBH", *ip, *tu, payload | DEXT | cmd, 0, header, mss)

    def sent(self):
        """The frames on the wire, the ring's head, and each descriptor as the card left it."""
        self.frames()
        self.read("TDH")
        for i in range(self.tx.count):
            self.record(f"tx{i}", int.from_bytes(self.load(self.tx.base + 16 * i + 8, 8), "little"))

    def rx_ring(self, count=8, *, give=None, buffer=2048, rctl=regs.RCTL_BAM):
        """A ring with a buffer of `buffer` bytes for each descriptor, filled with GUARD; `give` of them to the card; RCTL.EN."""
        self.rx = Ring(self.ring("RD", count), count)
        self.rx.buffer = buffer
        for i in range(count):
            address = self.alloc(bytes([GUARD]) * buffer)
            self.store(self.rx.base + 16 * i, struct.pack("<Q", address))
        self.write("RCTL", rctl | regs.RCTL_EN)
        self.wait(1100)                                 # QEMU receives nothing for a second after any write of RCTL
        self.give(count - 1 if give is None else give)

    def rctl(self, value):
        """Write RCTL and wait until QEMU receives again."""
        self.write("RCTL", value)
        self.wait(1100)

    def give(self, count):
        self.rx.tail = (self.rx.tail + count) % self.rx.count
        self.write("RDT", self.rx.tail)

    def received(self):
        """The ring's head, each descriptor's fields as the card left them, and its buffer: frame, CRC if left on, what follows."""
        self.read("RDH")
        stripped = self.machine.read(regs.RCTL) & regs.RCTL_SECRC
        for i in range(self.rx.count):
            address, *fields = struct.unpack("<QHHBBH", self.load(self.rx.base + 16 * i, 16))
            for name, value in zip(("length", "checksum", "status", "errors", "special"), fields, strict=True):
                if any(fields):
                    self.record(f"rx{i}.{name}", value)
            content = self.load(address, self.rx.buffer)
            length, _, status, *_ = fields
            crc = 0 if stripped or not status & RX_EOP else min(4, length)
            if length:
                self.record(f"rx{i}.data", content[: length - crc])
            if crc:
                self.record(f"rx{i}.crc", content[length - crc : length])
            if content[length:].strip(bytes([GUARD])):
                self.record(f"rx{i}.beyond", content[length:])


class Ring:
    """Where a descriptor ring lies and how far the driver got."""

    def __init__(self, base, count):
        self.base, self.count, self.tail, self.buffer = base, count, 0, 0
