"""Forwarding: packets from one card to another, or made by one, in testpmd's modes. `fastring forward` is its command line."""

from __future__ import annotations

import time
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, field
from typing import Any

from e1000.device import E1000Device
from fastring.burst import Burst, BurstSink, RepeatSource
from fastring.checksum import checksum
from fastring.clock import MonotonicClock
from fastring.forward import (
    FORWARD_CSUM,
    FORWARD_ICMPECHO,
    FORWARD_IO,
    FORWARD_MAC,
    FORWARD_MACSWAP,
    FORWARD_RXONLY,
    Forwarder,
)
from fastring.histogram import Histogram
from fastring.measure import MeasuringSink
from fastring.transmitter import Transmitter
from fastring.wire import Wire
from softnet.ethernet import ETH_DATA_LEN, random_ether_addr
from softnet.netdev import NetDevice
from softnet.observe import Observation
from softnet.plug import plug_card
from softnet.stack import Stack
from softnet.wire import open_wire
from softnet.wire.interface import wire_spec

MODES = {
    "io": "as they are",
    "mac": "to --peer, from the sending card's address",
    "macswap": "with source and destination swapped",
    "csum": "swapped, and the checksums of IP, TCP and UDP made anew",
    "icmpecho": "ARP and ICMP echo requests answered where they came from, all else dropped",
    "rxonly": "received and dropped",
    "txonly": "sent, of 64 bytes or --length, and nothing received",
    "flowgen": "the same in --flows flows, and what comes is received and dropped",
}
RECEIVING = {
    "io": FORWARD_IO, "mac": FORWARD_MAC, "macswap": FORWARD_MACSWAP, "csum": FORWARD_CSUM,
    "icmpecho": FORWARD_ICMPECHO, "rxonly": FORWARD_RXONLY, "flowgen": FORWARD_RXONLY,
}  # fmt: skip
SENDING = ("txonly", "flowgen")
RINGS = 4096  # descriptors of each card: bursts are as long as the softirq takes
ROUNDS = 64  # bursts between two looks at the clock on the wall, and at signals
TURN = 0.2  # seconds of sleep at most


@dataclass
class PortStats:
    """One card's traffic, and what was lost at it, by reason."""

    wire: str
    rx_packets: int = 0
    rx_bytes: int = 0
    tx_packets: int = 0
    tx_bytes: int = 0
    drops: dict[str, int] = field(default_factory=dict)


@dataclass
class ForwardResult:
    """`ports`: the cards, as they were given. Of packets received to be forwarded: received = forwarded + those of `drops`."""

    mode: str
    ports: list[PortStats] = field(default_factory=list)
    received: int = 0
    forwarded: int = 0
    drops: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    pps: float = 0.0
    problem: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


@dataclass(frozen=True)
class _Port:
    wire: Wire
    card: E1000Device
    device: NetDevice
    stats: PortStats


class Forwarding:
    """Packets of the wire `into` to the wire `out`, each a spec or a Wire, through a card and its driver at either; `both`: and back.

    `mode` is one of MODES. icmpecho and rxonly need no `out`, txonly and flowgen no `into`. `vlan_push` (a TCI), `vlan_pop`: see Forwarder.
    `peer`: whom mac sends to. `count`: packets to receive, or to send; `duration`: seconds. `observation`: who watches; it stays its
    owner's, who writes its report with `histograms`. Raises ValueError, OSError; then `run`, once.
    """

    def __init__(
        self,
        into: str | Wire | None,
        out: str | Wire | None,
        *,
        mode: str = "io",
        both: bool = False,
        peer: bytes = b"\x02\0\0\0\0\0",
        vlan_push: int | None = None,
        vlan_pop: bool = False,
        count: int | None = None,
        duration: float | None = None,
        length: int = 64,
        flows: int = 1024,
        mtu: int = ETH_DATA_LEN,
        stack: Stack | None = None,
        observation: Observation | None = None,
    ) -> None:
        _check(mode, into, out, both=both, vlan=vlan_push is not None or vlan_pop, length=length, flows=flows, mtu=mtu)
        self.mode, self.count, self.duration = mode, count, duration
        self.stack = Stack(clock=MonotonicClock()) if stack is None else stack
        self.result = ForwardResult(mode)
        self.observation = Observation() if observation is None else observation
        self.measured: list[MeasuringSink] = []
        self.forwarders: list[Forwarder] = []
        self.sender: Transmitter | None = None
        with ExitStack() as undo:
            receiver = None if into is None else self._plug(undo, into, mtu)
            sender = receiver if mode == "icmpecho" else None if out is None else self._plug(undo, out, mtu)
            options = {"peer": peer, "vlan_push": vlan_push, "vlan_pop": vlan_pop}
            self.ports = [port for port in (receiver, None if sender is receiver else sender) if port is not None]
            if mode == "flowgen":
                assert sender is not None
                self._forward(sender, None, {})
            elif receiver is not None:
                self._forward(receiver, sender, options)
                if both and sender is not None:
                    self._forward(sender, receiver, options)
            if mode in SENDING:
                assert sender is not None
                self.packets = template(bytes(sender.device.dev_addr), peer, length, flows if mode == "flowgen" else 1)
                self.sender = sender.device.transmitter()
            self._undo = undo.pop_all()

    def _plug(self, undo: ExitStack, where: str | Wire, mtu: int) -> _Port:
        if isinstance(where, str):
            cabling = open_wire(wire_spec(where), clock=self.stack.clock)
            undo.callback(cabling.close)
            if cabling.far is not None:
                raise ValueError(f"{where!r} has a second end, which nobody has: give fastring.wire.pair()'s, from Python")
            wire = cabling.near
        else:
            wire = where
        # No byte limits: there is no queue to hold back in, what the ring has no room for is lost.
        card, device = plug_card(
            undo, self.stack, wire, mac=random_ether_addr(), mtu=mtu, bql=False, tx_descriptors=RINGS, rx_descriptors=RINGS
        )
        device.promiscuous = True
        undo.enter_context(device)
        stats = PortStats(where if isinstance(where, str) else repr(where))
        self.result.ports.append(stats)
        return _Port(wire, card, device, stats)

    def _forward(self, receiver: _Port, sender: _Port | None, options: dict[str, Any]) -> None:
        """Have what `receiver` receives sent by `sender`."""
        target = None if sender is None else sender.device.xmit_target
        source = bytes(6) if sender is None else bytes(sender.device.dev_addr)
        forwarder = Forwarder(target, RECEIVING[self.mode], source=source, **options)
        sink: BurstSink = forwarder
        if self.observation.report_file is not None:
            sink = MeasuringSink(forwarder)
            self.measured.append(sink)
        receiver.device.sink = sink
        self.forwarders.append(forwarder)

    def run(self) -> ForwardResult:
        """Forward until the count, the time, Ctrl-C, or the end of a wire, which is a `problem`."""
        started = time.monotonic()
        deadline = None if self.duration is None else started + self.duration
        with self._undo as undo:
            undo.enter_context(self.observation.during(self.stack.clock, [port.device for port in self.ports], lambda: self.packets_done))
            try:
                while not self._done() and (deadline is None or time.monotonic() < deadline):
                    if self.sender is not None:
                        self._send(self.sender)
                    self.stack.run()
                    left = TURN if deadline is None else min(TURN, max(0.0, deadline - time.monotonic()))
                    if self.sender is None and not self._done():
                        self.stack.wait(left)
            except KeyboardInterrupt:
                pass  # how it ends without a count or a time
            except OSError as error:
                self.result.problem = str(error.strerror or error)
            with suppress(OSError):
                self.stack.run()
            self.result.seconds = time.monotonic() - started
            for port in self.ports:
                port.device.sink = None  # what arrives while it is taken down is in no account
            self._account()
        return self.result

    def _done(self) -> bool:
        if self.count is None:
            return False
        return self.packets_done >= self.count

    @property
    def packets_done(self) -> int:
        """What `count` counts, so far."""
        return self.sender.packets if self.sender is not None else self.forwarders[0].rx_packets

    def _send(self, sender: Transmitter) -> None:
        most = ROUNDS * 128
        packets = most if self.count is None else min(most, self.count - sender.packets)
        sender.play(RepeatSource(self.packets, packets=packets), rounds=2 * ROUNDS)

    def _account(self) -> None:
        result = self.result
        for forwarder in self.forwarders:
            result.received += forwarder.rx_packets
            result.forwarded += forwarder.tx_packets
            for reason, packets in forwarder.drops.items():
                result.drops[reason] = result.drops.get(reason, 0) + packets
        for port in self.ports:
            stats = port.device.stats64
            port.stats.rx_packets, port.stats.rx_bytes = stats.rx_packets, stats.rx_bytes
            port.stats.tx_packets, port.stats.tx_bytes = stats.tx_packets, stats.tx_bytes
            lost = [*port.card.drops.items(), *port.wire.drops.items(), ("tx_dropped", stats.tx_dropped)]
            port.stats.drops = {reason: packets for reason, packets in lost if packets}
        if result.seconds > 0:
            packets = self.sender.packets if self.sender is not None else result.received
            result.pps = packets / result.seconds

    def histograms(self) -> dict[str, list[tuple[int, int]]]:
        """Sizes of packets received to be forwarded, and of one way the gaps between them, for a report: what of it was measured."""
        if not self.measured:
            return {}
        sizes = Histogram()
        for measured in self.measured:
            sizes.add(measured.sizes)
        return {"frame_sizes": sizes.buckets(), "gaps_ns": self.measured[0].gaps.buckets()}

    def close(self) -> None:
        """Close what was opened, if `run` did not; again is harmless."""
        self._undo.close()


def _check(mode: str, into: object, out: object, *, both: bool, vlan: bool, length: int, flows: int, mtu: int) -> None:
    if mode not in MODES:
        raise ValueError(f"there is no forwarding mode {mode!r}: it is {', '.join(MODES)}")
    needs_in, needs_out = mode not in SENDING, mode not in ("icmpecho", "rxonly")
    for needed, given, name in ((needs_in, into, "in"), (needs_out, out, "out")):
        if needed and given is None:
            raise ValueError(f"the mode {mode} needs a wire {name}")
        if not needed and given is not None:
            raise ValueError(f"the mode {mode} has no use for a wire {name}")
    if both and not (needs_in and needs_out):
        raise ValueError(f"the mode {mode} has no way back")
    if vlan and (mode in SENDING or mode == "rxonly"):
        raise ValueError(f"the mode {mode} forwards no packet whose tags could be changed")
    if not 60 <= length <= mtu + 14:
        raise ValueError(f"packets have 60 to {mtu + 14} bytes, not {length}")
    if not 0 < flows <= 1 << 16:
        raise ValueError(f"there can be 1 to 65536 flows, not {flows}")


def template(source: bytes, peer: bytes, length: int, flows: int) -> Burst:
    """testpmd's packets: UDP from 198.18.0.1 to 198.18.0.2 and on, an address a flow; `length` without CRC."""
    payload = bytes(length - 42)
    packets = []
    for flow in range(flows):
        destination = bytes([198, 18, 0, 2]) if flows == 1 else (0xC6120002 + flow).to_bytes(4)
        udp = b"\x00\x09\x00\x09" + (8 + len(payload)).to_bytes(2) + b"\0\0" + payload
        ip = b"\x45\0" + (28 + len(payload)).to_bytes(2) + b"\0\0\0\0\x40\x11\0\0" + bytes([198, 18, 0, 1]) + destination
        ip = ip[:10] + checksum(ip).to_bytes(2) + ip[12:]
        packets.append(peer + source + b"\x08\x00" + ip + udp)
    return Burst.from_packets(packets)
