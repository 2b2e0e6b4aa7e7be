"""The whole path to measure: packets from memory through driver, card, wire, card and driver to a sink that counts them."""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import Any

from e1000.bus import Bus, HostMemory, LocalBus
from e1000.device import DeviceThread, E1000Device
from e1000.driver import probe
from fastring.burst import Burst, CountingSink, RepeatSource
from fastring.clock import Clock, MonotonicClock
from fastring.wire import pair
from softnet.stack import Stack

DIFFERENT = 256  # packets, sent over and over
FAR_MAC, NEAR_MAC = "52:54:00:00:00:02", "52:54:00:00:00:01"


def packets(size: int) -> tuple[bytes, int]:
    """Packets of `size` bytes to the far card, one after another, and how far they lie apart."""
    header = bytes.fromhex((FAR_MAC + NEAR_MAC).replace(":", "")) + b"\x08\x00"
    apart = (size + 15) // 16 * 16
    return (header + bytes(size - len(header))).ljust(apart, b"\0") * DIFFERENT, apart


def two_cards(undo: ExitStack, clock: Clock | None = None) -> list[E1000Device]:
    """On a cable. Without a clock they delay no interrupt."""
    return [undo.enter_context(E1000Device(mac=mac, wire=wire, clock=clock)) for mac, wire in zip((NEAR_MAC, FAR_MAC), pair(), strict=True)]


class Path:
    """Two cards on a cable, their driver, and packets of `size` bytes. `device_cpu`: the cards' own core, else one thread does all.

    `moderated`: the cards have a clock, so that they keep interrupts back as `rx_usecs` tells them to.
    """

    memory_type = HostMemory

    def __init__(self, size: int, *, burst: int = 128, device_cpu: int | None = None, moderated: bool = False, **options: int) -> None:
        # As who sends bursts has them: no pause frames to look for, and no interrupt rate to adapt where the softirq runs all the time.
        settings: dict[str, Any] = {"flow_control": "none", "rx_usecs": 0} | options
        with ExitStack() as stack:
            memory = stack.enter_context(self.memory_type())
            net = Stack(clock=MonotonicClock())
            self.card_clock = net.clock if moderated else None
            self.near, self.far = (probe(bus, net, mtu=max(1500, size - 14), **settings) for bus in self.plug(stack, memory, device_cpu))
            self.sink = self.far.sink = CountingSink()
            data, apart = packets(size)
            iova = memory.map(data)
            stack.callback(memory.unmap, iova)
            self.burst = Burst.from_mapped(
                data, iova=iova, offsets=[apart * i for i in range(DIFFERENT)], lengths=[size] * DIFFERENT
            )
            for device in (self.far, self.near):
                stack.enter_context(device)
            self.detach(stack, device_cpu)
            self.net = net
            while not (self.near.carrier_ok and self.far.carrier_ok):
                net.run()
            self.sender = self.near.transmitter(burst_size=burst)
            self._stack = stack.pop_all()

    def plug(self, undo: ExitStack, memory: HostMemory, device_cpu: int | None) -> list[Bus]:
        """The two cards, each on its bus."""
        self.cards = two_cards(undo, self.card_clock)
        return [undo.enter_context(LocalBus(card, memory=memory)) for card in self.cards]

    def detach(self, undo: ExitStack, device_cpu: int | None) -> None:
        """Put the cards on their own core."""
        if device_cpu is not None:
            undo.enter_context(DeviceThread(self.cards, cpu=device_cpu))

    def send(self, count: int) -> None:
        """Send packets and wait until the last has arrived."""
        wanted = self.sink.packets + count
        source = RepeatSource(self.burst, packets=count)
        while self.sender.play(source):
            pass
        while self.sink.packets < wanted:
            self.net.run()

    def nanoseconds(self, count: int) -> float:
        """Per packet, for `count` of them."""
        start = time.perf_counter_ns()
        self.send(count)
        return (time.perf_counter_ns() - start) / count

    def __enter__(self) -> Path:
        return self

    def __exit__(self, *exc: object) -> None:
        self._stack.close()
