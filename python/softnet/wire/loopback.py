"""`loopback`: what the card sends comes back to it."""

from __future__ import annotations

from fastring.clock import Clock
from fastring.loopback import LoopbackWire
from softnet.wire.cabling import Cabling


def open_loopback(argument: str, clock: Clock) -> Cabling:
    """Frames wait until the card looks at its wire, at most 256 of them."""
    if argument:
        raise ValueError(f"the wire 'loopback' takes no argument, not {argument!r}")
    wire = LoopbackWire()
    return Cabling(wire, taken=lambda: (wire.packets, wire.bytes), drops=lambda: wire.drops)
