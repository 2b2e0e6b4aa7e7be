"""`null`: nobody at the other end."""

from __future__ import annotations

from fastring.clock import Clock
from fastring.wire import NullWire
from softnet.wire.cabling import Cabling


def open_null(argument: str, clock: Clock) -> Cabling:
    """Every frame is taken and forgotten."""
    if argument:
        raise ValueError(f"the wire 'null' takes no argument, not {argument!r}")
    wire = NullWire()
    return Cabling(wire, taken=lambda: (wire.packets, wire.bytes))
