"""Wires by name: `open_wire("pcap:out.pcap")`. One file a kind; each registers itself in `KINDS`.

A spec is KIND or KIND:ARGUMENT. What a spec makes is a `Cabling`: the wire the sending card is plugged into, and the wire of the
receiving card if the kind has one.
"""

from __future__ import annotations

from collections.abc import Callable

from fastring.clock import Clock
from softnet.wire.cabling import Cabling
from softnet.wire.null import open_null
from softnet.wire.pair import open_pair
from softnet.wire.pcap import open_pcap, open_pcapng

KINDS: dict[str, tuple[Callable[[str, Clock], Cabling], str]] = {
    "pair": (open_pair, "pair[:lossy]  a second card at the other end; lossy: no flow control, it may miss frames"),
    "null": (open_null, "null          nobody: every frame is taken and forgotten"),
    "pcap": (open_pcap, "pcap:FILE     a capture file, as if tcpdump listened"),
    "pcapng": (open_pcapng, "pcapng:FILE   the same in pcapng"),
}


def open_wire(spec: str, *, clock: Clock) -> Cabling:
    """Make the wire that `spec` names. Raises ValueError for a spec that names none, OSError if it cannot be opened."""
    kind, _, argument = spec.partition(":")
    if kind not in KINDS:
        raise ValueError(f"there is no wire {spec!r}: {', '.join(KINDS)}")
    return KINDS[kind][0](argument, clock)


__all__ = ["KINDS", "Cabling", "open_wire"]
