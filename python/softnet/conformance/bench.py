"""Bench: the driver under test on a card of ours, the shipped driver on a card at the cable's other end, and all that is counted."""

from __future__ import annotations

import errno
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from e1000 import checks as card_checks
from e1000.bus import HostMemory, LocalBus
from e1000.bus.watched import WatchedBus
from e1000.device import E1000Device
from e1000.driver import probe as shipped_probe
from e1000.driver.param import MAX_MTU
from fastring.burst import Burst, BurstSink
from fastring.clock import VirtualClock
from fastring.softirq import Softirq
from fastring.wire import pair
from softnet import checks
from softnet.conformance.contract import UserDriver
from softnet.conformance.manual import Manual
from softnet.conformance.standstill import standstill
from softnet.dev_xmit import dev_queue_xmit
from softnet.ethernet import ETH_HLEN, VLAN_HLEN
from softnet.netdev import NetDevice
from softnet.skbuff import DropReason, SkBuff
from softnet.stack import Stack

if TYPE_CHECKING:
    from typing_extensions import Buffer

NEAR, FAR = bytes.fromhex("525400000001"), bytes.fromhex("525400000002")
ETHERTYPE = b"\x88\xb5"  # for local experiments (IEEE 802)
PCI_COMMAND = 4
MS, SECOND = 1_000_000, 1_000_000_000
STANDSTILL = 5 * SECOND  # without a packet: what is waited for does not come
LINK_TIME = 20 * SECOND  # autonegotiation takes 3
EVERYTHING = 1 << 30  # bytes: a byte limit that is none
WINDOW = 1 << 20  # of the driver's memory, looked at after stop: as much as was allocated, or more


class Failed(Exception):
    """A scenario found something wrong. `instead`: what to do about it."""

    def __init__(self, detail: str, instead: str = "") -> None:
        super().__init__(detail)
        self.instead = instead


def expect(good: object, detail: str, instead: str = "") -> None:
    """Raises Failed unless `good`."""
    if not good:
        raise Failed(detail, instead)


def frame(number: int, size: int = 64, *, to: bytes = FAR, by: bytes = NEAR, vlan: int | None = None) -> bytes:
    """A frame of `size` bytes without its CRC, a tag among them if there is one; no two numbers give the same."""
    tag = b"" if vlan is None else b"\x81\x00" + vlan.to_bytes(2, "big")
    head = to + by + tag + ETHERTYPE + number.to_bytes(8, "big")
    return (head + bytes((i * 7 + number) & 0xFF for i in range(min(size, 256))) * (size // 256 + 1))[:size]


class Memory(HostMemory):
    """The driver's memory. `fail_at`: which allocation or mapping from now on fails, the first being 1; 0: none."""

    def __init__(self, *, size: int) -> None:
        super().__init__(size=size)
        self.calls = 0
        self.fail_at = 0
        self.failed = False

    def _allocate(self) -> None:
        self.calls += 1
        if self.fail_at and self.calls == self.fail_at:
            self.failed = True
            raise OSError(errno.ENOMEM, f"no memory for allocation {self.calls}, says the check")

    def alloc_coherent(self, size: int, *, align: int = 4096) -> int:
        """dma_alloc_coherent."""
        self._allocate()
        return super().alloc_coherent(size, align=align)

    def map(self, buffer: Buffer) -> int:
        """dma_map_single."""
        self._allocate()
        return super().map(buffer)

    def claim(self, size: int) -> int:
        """The lowest free `size` bytes, which rings and buffers had that are freed: zeroed, and nobody's."""
        return super().alloc_coherent(size)

    @property
    def in_use(self) -> tuple[int, int]:
        """Bytes allocated, and mappings."""
        return self.arena.allocated, len(self.addresses.regions) - 1


class Arrivals(BurstSink):
    """What arrived, in order."""

    def __init__(self) -> None:
        self.frames: list[bytes] = []

    def on_burst(self, burst: Burst) -> None:
        self.frames += list(burst)

    def take(self) -> list[bytes]:
        """What arrived since the last call."""
        taken, self.frames = self.frames, []
        return taken


class Bench:
    """One driver under test, probed with `probe_options`. `far_budget`: packets that the other end takes in one `far_poll`; `budget`: here.

    Counts what was given to the driver (`sent`) and what became of it: `arrived` at the other end, or freed as dropped.
    """

    def __init__(
        self, driver: UserDriver, *, probe_options: Mapping[str, object] | None = None, budget: int = 300, far_budget: int = 300
    ) -> None:
        self.driver = driver
        self.probe_options = dict(probe_options or {})
        self.clock = VirtualClock(start=SECOND)
        self.stack, self.far_stack = Stack(clock=self.clock), Stack(clock=self.clock)
        self.stack.softirq = Softirq(self.clock, budget=budget)
        self.checker = checks.enable(self.stack)
        self.far_stack.softirq = Softirq(self.clock, budget=far_budget)
        self.memory, self._far_memory = Memory(size=1 << 26), HostMemory(size=1 << 24)
        wires = pair()
        self.wire = wires[0]
        self.manual = Manual()
        self.card = E1000Device(mac=NEAR, wire=wires[0], clock=self.clock, strict=self.manual)
        self.bus = WatchedBus(self.card, memory=self.memory)
        card_checks.watch(self.bus)
        far_bus = LocalBus(E1000Device(mac=FAR, wire=wires[1], clock=self.clock), memory=self._far_memory)
        self.far = shipped_probe(far_bus, self.far_stack, mtu=MAX_MTU, rx_descriptors=80, weight=min(64, far_budget))
        self.far.promiscuous = True
        self.far_got, self.near_got = Arrivals(), Arrivals()
        self.far.sink = self.far_got
        self.far.register()
        self.far.open()
        self._device: NetDevice | None = None
        self.numbers = self.sent = self.arrived = self.received = self.offered = self.outstanding = 0
        self.freed: Counter[DropReason | bool | None] = Counter()

    # --- the driver's life ---

    @property
    def near(self) -> NetDevice:
        """The device of the driver under test."""
        assert self._device is not None
        return self._device

    def probe(self) -> NetDevice:
        """Have the driver find its card, disabled as a reset leaves it, and see to it that the device is registered."""
        self.card.config_write(PCI_COMMAND, 0, 2)
        device: Any = self.driver.probe(self.bus, self.stack, **self.probe_options)
        expect(isinstance(device, NetDevice), f"probe returned {device!r}, not a NetDevice", "return the device that alloc_etherdev made")
        self._device = device
        device.sink = self.near_got
        if not device.registered:
            device.register()
        return self.near

    def open(self, *, link: bool = True) -> None:
        """Bring it up, and wait for the link."""
        self.near.open()
        if link:
            self.wait_link()

    def wait_link(self) -> None:
        """Until both ends have a carrier. Raises Failed after 20 s."""
        for _ in range(LINK_TIME // (100 * MS)):
            if self.near.carrier_ok and self.far.carrier_ok:
                break
            self.run(100 * MS, step=100 * MS)
        expect(
            self.near.carrier_ok,
            "the cable is plugged in, and after 20 s the device has no carrier",
            "call netif_carrier_on when STATUS.LU is set: look at it in ndo_open, and at each LSC interrupt",
        )
        self.run(2 * SECOND, step=SECOND)  # linkwatch has let packets into the queues

    def remove(self) -> None:
        """Take the device from the driver. Nothing may be left."""
        device, self._device = self.near, None
        self.driver.remove(device)
        expect(
            not device.registered and device.name not in self.stack.devices,
            "after remove the device is still registered",
            "call unregister_netdev in remove",
        )
        self.expect_nothing_left("remove")

    def expect_nothing_left(self, after: str) -> None:
        """All memory is back, and the interrupt is free. Raises Failed."""
        size, mappings = self.memory.in_use
        expect(not size, f"{size} bytes of coherent memory are still allocated after {after}", "pair every dma_alloc_coherent with a free")
        expect(not mappings, f"{mappings} buffers are still mapped for DMA after {after}", "pair every dma_map_single with an unmap")
        expect(not self.bus.irq.requested, f"the interrupt still has a handler after {after}", "call free_irq")

    def lift_byte_limit(self) -> None:
        """echo max > byte_queue_limits/limit_min: it is the ring that is to be full. Takes effect at a completion."""
        txq = self.near.txq
        txq.limit_min = EVERYTHING
        self.exchange(1)
        instead = "count the same bytes in netdev_tx_sent_queue and netdev_tx_completed_queue"
        expect(not txq.inflight, f"{txq.inflight} bytes are in flight to BQL after all was sent", instead)

    # --- time ---

    def run(self, ns: int = 0, *, step: int = MS, far: bool = True) -> None:
        """Let both ends do what is due, now and for so long."""
        while True:
            self.stack.run()
            if far:
                self.far_stack.run()
            if ns <= 0:
                break
            self.clock.advance(min(step, ns))
            ns -= step
        self.stack.run()

    def far_poll(self) -> None:
        """One softirq of the other end, which takes `far_budget` packets at most."""
        self.clock.fire_due()
        self.far_stack.softirq.net_rx_action()

    # --- packets ---

    def frames(self, count: int, size: int = 64, **options: Any) -> list[bytes]:
        """So many frames to send."""
        self.numbers += count
        return [frame(number, size, **options) for number in range(self.numbers - count, self.numbers)]

    def send(self, frames: list[bytes]) -> None:
        """Send frames by the driver under test."""
        for each in frames:
            self.send_skb(SkBuff.from_bytes(each))

    def send_skb(self, skb: SkBuff, *, segments: int = 1) -> None:
        """Send a packet that so many frames come of."""
        skb.dev = self.near
        skb.protocol = int.from_bytes(skb.data[12:14], "big")
        skb.destructor = self._skb_freed
        self.outstanding += 1
        self.sent += segments
        dev_queue_xmit(skb)

    def _skb_freed(self, skb: SkBuff) -> None:
        self.outstanding -= 1
        self.freed[skb.freed] += 1

    def offer(self, frames: list[bytes]) -> None:
        """Have the other end send frames, as fast as the driver under test receives. Raises Failed if it does not."""
        self.offered += len(frames)
        waited = 0
        while frames:
            taken = self.far.xmit_target.xmit(Burst.from_packets(frames[:64]))
            frames = frames[taken:]
            waited = 0 if taken else waited + 1
            if waited == 1000:
                state, mend = standstill(self, sending=False)
                raise Failed(
                    f"{len(frames)} frames wait to be received for a second{state}", mend or "refill the ring and write RDT in every poll"
                )
            if frames:
                self.run(MS)

    def offer_at_once(self, frames: list[bytes]) -> None:
        """Have the other end send frames of which its ring takes all, while the driver under test does not run."""
        self.offered += len(frames)
        taken = self.far.xmit_target.xmit(Burst.from_packets(frames))
        expect(taken == len(frames), f"the other end sent {taken} of {len(frames)} frames", "send no PAUSE frame, and keep the link up")
        self.far_stack.run()

    def take_arrived(self) -> list[bytes]:
        """What arrived at the other end since the last call."""
        taken = self.far_got.take()
        self.arrived += len(taken)
        return taken

    def wait_arrived(self, count: int) -> None:
        """Until so many frames arrived, or the queue is empty, or nothing arrived for STANDSTILL: what is missing then stays so."""
        qdisc, waited, arrived = self.near.tx[0].qdisc, 0, len(self.far_got.frames)
        while arrived < count and qdisc.qlen and waited < STANDSTILL:
            self.run(MS)
            before, arrived = arrived, len(self.far_got.frames)
            waited = waited + MS if arrived == before else 0

    def take_received(self) -> list[bytes]:
        """What the driver under test passed up since the last call."""
        taken = self.near_got.take()
        self.received += len(taken)
        return taken

    def exchange(self, count: int = 10, size: int = 64, *, vlan: int | None = None) -> None:
        """Packets both ways, byte for byte. Raises Failed."""
        out, back = self.frames(count, size, vlan=vlan), self.frames(count, size, vlan=vlan, to=NEAR, by=FAR)
        self.send(out)
        self.offer(back)
        self.run(50 * MS)
        kind = f"{size} bytes" if vlan is None else f"{size} bytes, {VLAN_HLEN} of them a VLAN tag,"
        self.expect_arrived(f"frames of {kind} sent", out)
        self.expect_received(f"frames of {kind} received", back)

    # --- what must hold ---

    def expect_arrived(self, what: str, wanted: list[bytes]) -> None:
        """What arrived at the other end is what was sent. Raises Failed."""
        instead = "see that each descriptor is complete, and the doorbell (TDT) rung for the last: xmit_more is false then"
        self._expect_all(what, wanted, self.take_arrived(), instead, sending=True)

    def expect_received(self, what: str, wanted: list[bytes], instead: str = "") -> None:
        """What was passed up is what the other end sent. Raises Failed."""
        instead = instead or "see that each packet with DD is passed up once, with its length, and its descriptor given back by RDT"
        self._expect_all(what, wanted, self.take_received(), instead, sending=False)

    def _expect_all(self, what: str, wanted: list[bytes], got: list[bytes], instead: str, *, sending: bool) -> None:
        if len(got) < len(wanted):
            state, mend = standstill(self, sending=sending)
            raise Failed(f"{what}: {len(got)} of {len(wanted)} arrived{state}", mend or instead)
        _same(what, wanted, got, instead)

    def conserved(self) -> None:
        """Every packet given to the driver is freed, and arrived or is counted as lost. Raises Failed."""
        self.take_arrived()
        self.take_received()
        expect(
            not self.outstanding,
            f"{self.outstanding} of {self.sent} packets were never freed",
            "free each packet when its descriptor is done, and those in flight in ndo_stop",
        )
        stats = self.near.stats64
        lost, counted = self.sent - self.arrived, stats.tx_dropped + stats.tx_errors
        expect(lost <= counted, f"{lost} packets sent went nowhere, and {counted} are counted", "count them in tx_dropped or tx_errors")
        lost = self.offered - self.received
        counted = sum(self.card.drops.values()) + stats.rx_dropped + stats.rx_errors + stats.rx_missed_errors
        expect(lost <= counted, f"{lost} packets received went nowhere, and {counted} are counted", "count them in rx_dropped or rx_errors")

    def stop(self) -> None:
        """Take it down; afterwards the card is quiet, and everything is accounted for."""
        self.near.stop()
        self.conserved()
        self.quiet()

    def quiet(self) -> None:
        """Frames and time do nothing to a stopped device. Raises Failed."""
        claimed, aborts = self.memory.claim(WINDOW), self.memory.addresses.master_aborts
        self.offer(self.frames(8, to=b"\xff" * 6, by=FAR))
        self.run(11 * SECOND, step=SECOND)
        untouched = self.memory.addresses.read(claimed, WINDOW).count(0) == WINDOW
        self.memory.free_coherent(claimed)
        expect(not self.take_received(), "packets were passed up after ndo_stop", "disable the receiver and NAPI in ndo_stop")
        expect(
            untouched and self.memory.addresses.master_aborts == aborts,
            "the card did DMA after ndo_stop, to memory that was the driver's",
            "reset the card, or disable both units, before the rings are freed",
        )
        expect(not self.bus.irq.asserted, "the card asks for an interrupt after ndo_stop", "mask all interrupts (IMC) in ndo_stop")
        expect(not self.stack.softirq.work_pending, "softirq work is pending after ndo_stop", "call napi_disable in ndo_stop")

    def close(self) -> None:
        """The end of a scenario that went well."""
        with ExitStack() as undo:
            undo.callback(self.checker.close)
            undo.callback(self.far.unregister)


def _same(what: str, wanted: list[bytes], got: list[bytes], instead: str) -> None:
    expect(len(got) == len(wanted), f"{what}: {len(wanted)}, and {len(got)} arrived", instead)
    for number, (one, other) in enumerate(zip(wanted, got, strict=True)):
        if one != other and one.ljust(ETH_HLEN + 46, b"\0") != other:
            at = next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
            raise Failed(f"{what}: number {number} arrived with {len(other)} bytes for {len(one)}, and differs from byte {at} on", instead)
