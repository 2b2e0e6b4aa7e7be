"""A bare card driven by hand-written descriptors, and two cards with their driver on one cable."""

import struct
import threading
from collections import namedtuple
from itertools import pairwise

from e1000 import regs
from e1000.bus import HostMemory, LocalBus
from e1000.device import E1000Device
from e1000.driver import probe
from fastring.burst import Burst, BurstSink
from fastring.clock import VirtualClock
from fastring.wire import Wire, pair
from softnet.stack import Stack

MAC = "52:54:00:12:34:56"
STATION = bytes.fromhex(MAC.replace(":", ""))
BROADCAST = b"\xff" * 6
GUARD = 0xA5

RxDesc = namedtuple("RxDesc", "address length checksum status errors special")

# Second word of a descriptor: command bits, status bits (§3.2.3, §3.3)
EOP, IFCS, IC, RS, RPS, DEXT, VLE, IDE = 1 << 24, 1 << 25, 1 << 26, 1 << 27, 1 << 28, 1 << 29, 1 << 30, 1 << 31
TSE = IC
TUCMD_TCP, TUCMD_IP = EOP, IFCS
POPTS_IXSM, POPTS_TXSM = 1, 2
DD, RX_EOP, IXSM, VP, TCPCS, IPCS, PIF = 1, 2, 4, 8, 0x20, 0x40, 0x80
CE, SE, SEQ, CXE, TCPE, IPE, RXE = 1, 2, 4, 0x10, 0x20, 0x40, 0x80


def packet(length, *, to=STATION, seed=0, ethertype=0x0800):
    """A frame of `length` bytes without CRC, different for every seed."""
    body = to + b"\x02\0\0\0\0\1" + ethertype.to_bytes(2, "big")
    body += bytes((i * 7 + seed * 131 + (seed >> 8)) & 0xFF for i in range(max(0, length - len(body))))
    return body[:length]


def start_xmit(skb, device):
    """Give a packet to the driver as the stack does, under its queue's transmit lock; returns the driver's answer."""
    queue = device.tx[skb.queue_mapping]
    queue.lock()
    try:
        return device.netdev_ops.start_xmit(skb, device)
    finally:
        queue.unlock()


def legacy(address, length, *, cmd=EOP | IFCS | RS, cso=0, css=0, special=0):
    """A legacy transmit descriptor (§3.3.3)."""
    return struct.pack("<QQ", address, length | cso << 16 | cmd | css << 40 | special << 48)


def data(address, length, *, cmd=EOP | IFCS | RS, popts=0, special=0):
    """A data descriptor (§3.3.7)."""
    return struct.pack("<QQ", address, length | 1 << 20 | DEXT | cmd | popts << 40 | special << 48)


def context(*, cmd=0, payload=0, ip=(0, 0, 0), transport=(0, 0, 0), header=0, mss=0):
    """A context descriptor (§3.3.6). `ip`, `transport`: where a checksum starts, lies and ends (CSS, CSO, CSE)."""
    return struct.pack("<BBHBBHQ", *ip, *transport, payload | DEXT | cmd | header << 40 | mss << 48)


def pieces(card, content, cuts, *, cmd=EOP | IFCS | RS, first=0, make=data, **options):
    """Descriptors of a packet cut at the given places, each piece in a buffer of its own. `cmd`: the last one's; `first`: of all."""
    bounds = [0, *sorted(cuts), len(content)]
    ends = list(pairwise(bounds))
    return [
        make(card.alloc(content[start:end]), end - start, cmd=first | (cmd if i == len(ends) - 1 else 0), **options)
        for i, (start, end) in enumerate(ends)
    ]


class RecordingWire(Wire):
    """Remembers every packet the card sends."""

    def __init__(self):
        self.sent = []

    def transmit_burst(self, burst):
        self.sent += list(burst)


class RecordingSink(BurstSink):
    """Remembers every packet it is given, and its time."""

    def __init__(self):
        self.packets = []
        self.times = []

    def on_burst(self, burst):
        self.packets += list(burst)
        self.times += burst.times


class BareCard:
    """One card and the least driver there can be: the test writes the descriptors.

    `memory`: everything lies in it; `alloc` hands it out. The wire records what the card sends, `receive` lets frames arrive.
    """

    def __init__(self, undo, *, wire=None, memory=None, mac=MAC, clock=None, faults=None):
        self.memory = undo.enter_context(HostMemory(size=1 << 23)) if memory is None else memory
        self.wire = RecordingWire() if wire is None else wire
        self.device = undo.enter_context(E1000Device(mac=mac, wire=self.wire, clock=clock, faults=faults))
        self.bus = undo.enter_context(LocalBus(self.device, memory=self.memory))
        self.read, self.write, self.peek = self.device.read, self.device.write, self.device.peek
        self.addresses = self.memory.addresses

    def alloc(self, content):
        """Put bytes into memory, or reserve a number of them; return their bus address."""
        size = content if isinstance(content, int) else len(content)
        address = self.memory.alloc_coherent(max(size, 1), align=16)
        if not isinstance(content, int):
            self.addresses.write(address, content)
        return address

    @property
    def drops(self):
        """The reasons for which frames went nowhere, and how many each."""
        return {reason: n for reason, n in self.device.drops.items() if n}

    def counts(self, *names):
        """Statistics by register name, read (and so cleared); 64-bit ones by their name without L or H."""
        return tuple(self.read(getattr(regs, n)) if hasattr(regs, n) else self.read64(n) for n in names)

    def read64(self, name):
        low = self.read(getattr(regs, name + "L"))
        return low | self.read(getattr(regs, name + "H")) << 32

    # --- transmit ---

    def tx_ring(self, count=64, *, tctl=regs.TCTL_EN | regs.TCTL_PSP):
        self.tx_count, self.tx_base = count, self.memory.alloc_coherent(16 * count)
        self.tx_tail = 0
        self.program("TD", self.tx_base, count)
        self.write(regs.TCTL, tctl)

    def program(self, which, base, count):
        for register, value in (("BAL", base & 0xFFFFFFFF), ("BAH", base >> 32), ("LEN", 16 * count), ("H", 0), ("T", 0)):
            self.write(getattr(regs, which + register), value)

    def put(self, *descriptors):
        """Write descriptors behind the tail and return the slots they lie in; the doorbell is not rung."""
        slots = []
        for descriptor in descriptors:
            self.addresses.write(self.tx_base + 16 * self.tx_tail, descriptor)
            slots.append(self.tx_tail)
            self.tx_tail = (self.tx_tail + 1) % self.tx_count
        return slots

    def post(self, *descriptors):
        """Write descriptors and ring the doorbell once. Returns their slots."""
        slots = self.put(*descriptors)
        self.write(regs.TDT, self.tx_tail)
        return slots

    def post_packets(self, *packets, make=legacy, **options):
        return self.post(*(make(self.alloc(p), len(p), **options) for p in packets))

    def tx_done(self, slot):
        """Whether DD was written into a transmit descriptor."""
        return bool(self.addresses.read(self.tx_base + 16 * slot + 12, 1)[0] & 1)

    # --- receive ---

    def rx_ring(self, count=64, *, give=None, buffer=2048, rctl=regs.RCTL_SECRC | regs.RCTL_BAM):
        """Ring, buffers of `buffer` bytes with guard bytes behind each, and `give` descriptors (by default all but one)."""
        self.rx_count, self.rx_base, self.rx_buffer = count, self.memory.alloc_coherent(16 * count), buffer
        self.rx_buffers = [self.alloc(bytes([GUARD]) * (buffer + 16)) for _ in range(count)]
        for i in range(count):
            self.reset_rx(i)
        self.rx_head = 0
        self.program("RD", self.rx_base, count)
        self.write(regs.RCTL, rctl | regs.RCTL_EN)
        self.rx_tail = 0
        self.give(count - 1 if give is None else give)

    def reset_rx(self, slot):
        self.addresses.write(self.rx_base + 16 * slot, struct.pack("<QQ", self.rx_buffers[slot], 0))

    def give(self, descriptors):
        """Move RDT on."""
        self.rx_tail = (self.rx_tail + descriptors) % self.rx_count
        self.write(regs.RDT, self.rx_tail)

    def receive(self, *packets, errors=0):
        """Let packets arrive from the wire, damaged as `errors` says; what finds no room is dropped."""
        self.wire.inject(Burst.from_packets(packets, errors=[errors] * len(packets)))

    def rx_desc(self, slot):
        return RxDesc._make(struct.unpack("<QHHBBH", self.addresses.read(self.rx_base + 16 * slot, 16)))

    def take_descs(self):
        """The descriptors the card has filled since the last call, as (RxDesc, bytes in the buffer)."""
        out = []
        while (desc := self.rx_desc(self.rx_head)).status & DD:
            whole = self.addresses.read(self.rx_buffers[self.rx_head], self.rx_buffer + 16)
            assert whole[desc.length :] == bytes([GUARD]) * (len(whole) - desc.length), "bytes behind the frame were touched"
            out.append((desc, whole[: desc.length]))
            self.addresses.write(self.rx_buffers[self.rx_head], bytes([GUARD]) * len(whole))
            self.reset_rx(self.rx_head)
            self.rx_head = (self.rx_head + 1) % self.rx_count
        return out

    def take(self):
        """The packets received since the last call, put together from their descriptors."""
        packets, parts = [], []
        for desc, content in self.take_descs():
            parts.append(content)
            if desc.status & RX_EOP:
                packets.append(b"".join(parts))
                parts = []
        assert not parts, "a packet's last descriptor is missing"
        return packets


class TwoCards:
    """Two cards with their driver at the two ends of a cable, in one HostMemory, on a virtual clock; if `timed`, the cards too."""

    def __init__(
        self,
        undo,
        *,
        lossless=True,
        memory_size=1 << 27,
        clock=None,
        timed=False,
        near=None,
        far=None,
        faults=(None, None),
        **options,
    ):
        self.memory = undo.enter_context(HostMemory(size=memory_size))
        self.clock = VirtualClock() if clock is None else clock
        self.stack = undo.enter_context(Stack(clock=self.clock))
        self.wires = pair(lossless=lossless)
        self.cards = [
            E1000Device(mac=f"52:54:00:00:00:0{i + 1}", wire=wire, clock=self.clock if timed else None, faults=faults[i])
            for i, wire in enumerate(self.wires)
        ]
        self.buses = [undo.enter_context(LocalBus(card, memory=self.memory)) for card in self.cards]
        self.near, self.far = (
            probe(bus, self.stack, **options | (extra or {})) for bus, extra in zip(self.buses, (near, far), strict=True)
        )
        self.sink = RecordingSink()
        self.far.sink = self.sink
        for device in (self.near, self.far):
            device.promiscuous = True
            device.register()
        undo.callback(self.check)
        self.offered = 0

    def open(self):
        self.near.open()
        self.far.open()
        return self

    def send(self, packets, *, run=True):
        """Offer packets to the near device, let them arrive, and return how many its driver accepted."""
        burst = packets if isinstance(packets, Burst) else Burst.from_packets(packets)
        self.offered += len(burst)
        accepted = self.near.xmit(burst)
        if run:
            self.stack.run()
        return accepted

    @property
    def drops(self):
        """Every packet that was offered and not delivered, by where it went."""
        near, far = self.near.stats64, self.far.stats64
        near.tx_errors -= self.near.netdev_ops.hw_stats.tx_errors  # the cards' own drops, which tell them apart
        far.rx_errors -= self.far.netdev_ops.hw_stats.rx_errors
        out = {"near_tx_dropped": near.tx_dropped, "near_tx_errors": near.tx_errors}
        out |= {f"near_{k}": n for k, n in self.cards[0].drops.items()} | {f"far_{k}": n for k, n in self.cards[1].drops.items()}
        out |= {"far_rx_dropped": far.rx_dropped, "far_rx_errors": far.rx_errors}
        return {name: n for name, n in out.items() if n}

    def check(self):
        """Conservation, with everything at rest: packets offered are delivered or dropped by name; all memory comes back."""
        self.stack.run()
        for device in (self.near, self.far):
            device.stop()
        assert self.offered == len(self.sink.packets) + sum(self.drops.values()), self.drops
        assert self.memory.arena.allocated == 0


def run_bounded(call, seconds=20):
    """Run something that may never return on a thread of its own; fail if it does not."""
    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    thread.join(seconds)
    assert not thread.is_alive(), f"{call} did not return in {seconds} s"
