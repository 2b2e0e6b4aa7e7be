"""A card on a wire that takes everything, and what sends into it: generated packets, or repeated ones (pktgen's clone_skb)."""

import time
from contextlib import ExitStack

from path import FAR_MAC, NEAR_MAC

from e1000.bus import HostMemory, LocalBus
from e1000.device import E1000Device
from e1000.driver import probe
from fastring.burst import Burst, BurstSource, RepeatSource
from fastring.wire import NullWire
from softnet import Stack
from softnet.stream_file import udp_frame
from softnet.streams import Stream, make_source

FOUR_FIELDS = {
    "ipv4.src": "10.0.0.1..10.0.0.254",
    "ipv4.dst": "random:10.1.0.0..10.1.255.255",
    "udp.sport": "1024..65535/7",
    "udp.dport": "53,80,443",
}
DIFFERENT = 256  # packets of those that are repeated
ENDLESS = 1 << 62


class IntoCard:
    """`nanoseconds(source)`: CPU time a packet, all of it on one thread."""

    def __init__(self, size: int) -> None:
        """`size`: with CRC."""
        with ExitStack() as undo:
            self.memory = undo.enter_context(HostMemory())
            net = Stack()
            self.wire = NullWire()
            card = undo.enter_context(E1000Device(mac=NEAR_MAC, wire=self.wire))
            self.device = probe(undo.enter_context(LocalBus(card, memory=self.memory)), net, flow_control="none", rx_usecs=0)
            undo.enter_context(self.device)
            undo.callback(self.device.stop)  # before the memory goes
            self.sender = self.device.transmitter()
            self.frame = udp_frame("10.0.0.1:1024", "10.1.0.1:53", eth_src=NEAR_MAC, eth_dst=FAR_MAC)
            self.size = size
            self.repeated = self._repeat()
            self.signed = self._generate(signature=True)
            self.unsigned = self._generate(signature=False)
            self._undo = undo.pop_all()

    def _generate(self, *, signature: bool) -> BurstSource:
        source = make_source([Stream(self.frame, FOUR_FIELDS, size=self.size, signature=signature)], self.device.stack.clock)
        source.mapped_at(self.memory.map(source.memory), self.device.xmit_target)
        return source

    def _repeat(self) -> BurstSource:
        made = Stream(self.frame, FOUR_FIELDS, size=self.size).build().make(DIFFERENT)
        apart = (len(made[0]) + 15) // 16 * 16
        data = bytearray(b"".join(packet.ljust(apart, b"\0") for packet in made))
        offsets = [apart * i for i in range(DIFFERENT)]
        burst = Burst.from_mapped(data, iova=self.memory.map(data), offsets=offsets, lengths=[len(made[0])] * DIFFERENT)
        return RepeatSource(burst, packets=ENDLESS)

    def nanoseconds(self, source: BurstSource, rounds: int = 3000) -> float:
        """CPU time a packet, for `rounds` bursts."""
        before, start = self.sender.packets, time.process_time_ns()
        self.sender.play(source, rounds=rounds)
        return (time.process_time_ns() - start) / (self.sender.packets - before)

    def __enter__(self) -> "IntoCard":
        return self

    def __exit__(self, *exc: object) -> None:
        self._undo.close()
