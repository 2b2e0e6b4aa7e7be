"""Cabling: what a wire spec makes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from fastring.host_wire import HostWire
from fastring.wire import Wire


def _nothing() -> dict[str, int]:
    return {}


@dataclass
class Cabling:
    """`near`: for the sending card. `far`: for a receiving card, or None when frames end in the wire itself.

    `taken`: packets, and their bytes, that ended in the wire. `drops`: what it lost, by reason. `duplicates`: packets that it made itself.
    """

    near: Wire
    far: Wire | None = None
    taken: Callable[[], tuple[int, int]] | None = None
    drops: Callable[[], dict[str, int]] = field(default=_nothing)
    duplicates: Callable[[], int] = int

    def close(self) -> None:
        """Close both ends. Raises OSError if the wire lost something in closing."""
        try:
            self.near.close()
        finally:
            if self.far is not None:
                self.far.close()


def host_cabling(wire: HostWire) -> Cabling:
    """What a spec makes of a wire that leads out of the process. Its drops are of what was sent."""

    def drops() -> dict[str, int]:
        return {reason: packets for reason, packets in wire.drops.items() if reason not in wire.rx_drops}

    return Cabling(wire, taken=lambda: (wire.tx_packets, wire.tx_bytes), drops=drops)
