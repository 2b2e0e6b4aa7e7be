"""What a Nic can be made of: a card of our own, an interface there is already, or a bare wire. `open_nic` chooses."""

from __future__ import annotations

import errno
from contextlib import ExitStack

from fastring.burst import Burst, BurstSink
from fastring.packet_queue import PacketQueue
from fastring.port import WirePort
from fastring.wire import Wire
from softnet.ethernet import ETH_DATA_LEN, random_ether_addr
from softnet.netdev import NetDevice
from softnet.nic import Nic, host_stack, lock
from softnet.stack import Stack
from softnet.wire import Cabling, open_wire


class CardNic(Nic):
    """A Nic of a card, or over a NetDevice that is there already."""

    device: NetDevice

    def __init__(self, device: NetDevice, wire: Wire | None, undo: ExitStack, queue: PacketQueue | None, card: object = None) -> None:
        super().__init__(wire, device.stack, undo, queue)
        self.device = device
        self._card = card
        if queue is not None:
            self.listen(queue)

    def _set_sink(self, sink: BurstSink | None) -> None:
        self.device.sink = sink

    def _transmit(self, burst: Burst, patience: float) -> tuple[int, Burst | None]:
        sender = self.device.transmitter(burst_size=1)
        left: Burst | None = None
        try:
            sender.send(burst, patience=patience)
        except TimeoutError:
            left = burst[sender.packets + sender.oversize :]
        finally:
            self.device.tx_oversize += sender.oversize
        self._check_wire()
        return sender.packets, left

    def _own_drops(self) -> dict[str, int]:
        card = getattr(self._card, "drops", {})
        oversize = {"mtu_exceeded": self.device.tx_oversize} if self.device.tx_oversize else {}
        return {**card, **oversize}


class PortNic(Nic):
    """A Nic without a card: what is sent goes on the wire as it is."""

    port: WirePort

    def __init__(self, port: WirePort, stack: Stack, undo: ExitStack, queue: PacketQueue | None) -> None:
        super().__init__(port.wire, stack, undo, queue)
        self.port = port
        if queue is not None:
            self.listen(queue)

    def _set_sink(self, sink: BurstSink | None) -> None:
        self.port.sink = sink

    def _transmit(self, burst: Burst, patience: float) -> tuple[int, Burst | None]:
        before = self.port.tx_packets
        polled = self.port.wire.polled
        left: Burst | None = None
        try:
            self.port.send(burst, patience=patience if polled else 0)
        except TimeoutError:
            left = burst[self.port.tx_packets - before :]
        if not polled:
            self._run()  # whoever is at the other end is of this host
        return self.port.tx_packets - before, left

    def _run(self) -> None:
        super()._run()  # timers, and cards at the other ends of wires
        self.port.poll()

    def _own_drops(self) -> dict[str, int]:
        return {"unclaimed": self.port.unclaimed} if self.port.unclaimed else {}


def open_nic(
    wire: str | Wire | NetDevice = "pair",
    *,
    card: bool = True,
    mac: str | bytes | None = None,
    mtu: int = ETH_DATA_LEN,
    promiscuous: bool = True,
    receive: bool = True,
    queue_packets: int = 1 << 16,
    queue_bytes: int = 1 << 24,
    stack: Stack | None = None,
) -> Nic:
    """Plug a new card into `wire`, a spec such as "tap:tap0" or a Wire, and bring its interface up; or use a NetDevice there is.

    `card=False`: no card, frames go on the wire as they are. `mac`: the card's address (a random one). `promiscuous`: take frames for
    others, too. `receive=False`: keep nothing that arrives. `queue_packets`, `queue_bytes`: what `recv` has not taken yet.
    `stack`: another than the host's. Closing takes down what was made here: a Wire or a device that was given stays its owner's.
    Raises ValueError for a spec that makes no sense, OSError.
    """
    queue = PacketQueue(packets=queue_packets, bytes=queue_bytes) if receive else None
    with lock, ExitStack() as undo:
        if isinstance(wire, NetDevice):
            return _on_device(wire, undo, queue)
        stack = host_stack() if stack is None else stack
        if isinstance(wire, str):
            cabling = open_wire(wire, clock=stack.clock)
            undo.callback(_close_cabling, cabling)
            if cabling.far is not None:
                raise ValueError(f"{wire!r} has a second end, which nobody has: give each of fastring.wire.pair()'s to a Nic")
            wire = cabling.near
        if card:
            return _plug_card(wire, stack, undo, queue, mac=mac, mtu=mtu, promiscuous=promiscuous)
        port = WirePort(wire, clock=stack.clock)
        undo.callback(port.close)
        return PortNic(port, stack, undo.pop_all(), queue)


def _close_cabling(cabling: Cabling) -> None:
    cabling.close()


def _plug_card(
    wire: Wire, stack: Stack, undo: ExitStack, queue: PacketQueue | None, *, mac: str | bytes | None, mtu: int, promiscuous: bool
) -> CardNic:
    from softnet.plug import plug_card  # who goes without a card needs none of it

    plugged, device = plug_card(undo, stack, wire, mac=random_ether_addr() if mac is None else mac, mtu=mtu)
    device.promiscuous = promiscuous
    undo.enter_context(device)
    return CardNic(device, wire, undo.pop_all(), queue, plugged)


def _on_device(device: NetDevice, undo: ExitStack, queue: PacketQueue | None) -> CardNic:
    if device.sink is not None:
        raise OSError(errno.EBUSY, f"{device.name}: what it receives goes to {device.sink!r} already")
    if not device.registered:
        undo.enter_context(device)
    elif not device.up:
        device.open()
        undo.callback(device.stop)
    return CardNic(device, None, undo.pop_all(), queue)
