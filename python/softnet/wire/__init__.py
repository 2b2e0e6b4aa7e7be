"""Wires by name: `open_wire("pcap:out.pcap")`. One file a kind; each registers itself in `KINDS`.

A spec is KIND or KIND:ARGUMENT, with wrappers before it: WRAPPER:OPTIONS@KIND:ARGUMENT. What a spec makes is a `Cabling`: the wire the
sending card is plugged into, and the wire of the receiving card if the kind has one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from fastring.clock import Clock
from softnet.wire.cabling import Cabling
from softnet.wire.inet import open_tcp, open_udp
from softnet.wire.loopback import open_loopback
from softnet.wire.null import open_null
from softnet.wire.packet import for_sending, open_packet
from softnet.wire.pair import open_pair
from softnet.wire.pcap import open_pcap, open_pcapng
from softnet.wire.switch import open_switch
from softnet.wire.tap import open_tap
from softnet.wire.unix import open_unix, open_unix_stream
from softnet.wire.wrapped import WRAPPERS, Wrapper, split_wrappers, wrap
from softnet.wire.xdp import open_xdp


class WireKind(NamedTuple):
    """One kind of wire: how to open it, whether a second card receives at its other end, and what help says of it.

    `outside`: it leads out of the process (a HostWire), to where time is real.
    """

    open: Callable[[str, Clock], Cabling]
    receives: bool
    syntax: str
    help: str
    outside: bool = False


def _open_switch(argument: str, clock: Clock) -> Cabling:
    return open_switch(argument, clock, open_wire)


KINDS = {
    "pair": WireKind(open_pair, True, "pair, pair:lossy", "a second card at the other end; lossy: no flow control, it may miss frames"),
    "null": WireKind(open_null, False, "null", "nobody: every frame is taken and forgotten"),
    "pcap": WireKind(open_pcap, False, "pcap:FILE", "a capture file, as if tcpdump listened"),
    "pcapng": WireKind(open_pcapng, False, "pcapng:FILE", "the same in pcapng"),
    "packet": WireKind(open_packet, False, "packet:IFNAME", "a network interface of this host, by a packet socket", outside=True),
    "xdp": WireKind(open_xdp, False, "xdp:IFNAME", "a queue of a network interface of this host, by an AF_XDP socket", outside=True),
    "loopback": WireKind(open_loopback, False, "loopback", "the card itself: what it sends comes back"),
    "switch": WireKind(_open_switch, False, "switch:WIRE+WIRE", "a learning bridge of wires, with VLANs by port", outside=True),
    "unix": WireKind(open_unix, False, "unix:PATH,remote=PATH", "a UNIX datagram socket, as QEMU's -netdev dgram", outside=True),
    "udp": WireKind(open_udp, False, "udp:HOST:PORT", "the same over UDP, or in a multicast group; local=HOST:PORT", outside=True),
    "unix-stream": WireKind(open_unix_stream, False, "unix-stream:PATH", "a UNIX stream: QEMU's -netdev stream; server=on", outside=True),
    "tcp": WireKind(open_tcp, False, "tcp:HOST:PORT", "the same over TCP; server=on, reconnect-ms=MS", outside=True),
    "tap": WireKind(open_tap, False, "tap:[NAME]", "an interface of the kernel's", outside=True),
}


def wire_kind(spec: str) -> WireKind:
    """The kind of wire that `spec` names, inside its wrappers. Raises ValueError if it names none."""
    kind = KINDS.get(split_wrappers(spec)[1].partition(":")[0])
    if kind is None:
        raise ValueError(f"there is no wire {spec!r}: it is {', '.join(kind.syntax for kind in KINDS.values())}")
    return kind


def wires_help(*, outside: bool = False) -> str:
    """The wires there are, a line each, for a command's help; `outside`: those that lead out of the process."""
    return "\n".join(f"  {kind.syntax:<21} {kind.help}" for kind in KINDS.values() if kind.outside or not outside)


def open_wire(spec: str, *, clock: Clock, sends: bool = False) -> Cabling:
    """Make the wire that `spec` names. Raises ValueError for a spec that makes no sense, OSError if it cannot be opened.

    `sends`: for who keeps exact times in sending, and is in no hurry to receive.
    """
    kind = wire_kind(spec)
    wrappers, inner = split_wrappers(spec)
    if sends and kind.open is open_packet:
        inner = for_sending(inner)
    return wrap(wrappers, kind.open(inner.partition(":")[2], clock), clock)


__all__ = ["KINDS", "WRAPPERS", "Cabling", "WireKind", "Wrapper", "open_wire", "wire_kind"]
