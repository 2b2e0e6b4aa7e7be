"""Cabling: what a wire spec makes."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fastring.clock import VirtualClock
from fastring.host_wire import HostWire
from fastring.wire import Wire

if TYPE_CHECKING:
    from softnet.stack import Stack

STUCK = 60.0  # seconds


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

    @property
    def waiting(self) -> int:
        """Packets that wires keep until their time has come."""
        return self.near.waiting + (0 if self.far is None else self.far.waiting)

    def let_arrive(self, stack: Stack) -> None:
        """Run `stack` until none waits any more: time passes as it does, or, on a virtual clock, as far as it must.

        Not longer than a minute without any that moves: then they are lost to somebody who takes none.
        """
        left, since = self.waiting, time.monotonic()
        while left and time.monotonic() - since < STUCK:
            if isinstance(stack.clock, VirtualClock):
                due = stack.clock.next_deadline
                if due is None:
                    return
                stack.clock.advance(max(0, due - stack.clock.monotonic_ns()))
            else:
                stack.wait(0.1)
            stack.run()
            if self.waiting != left:
                left, since = self.waiting, time.monotonic()

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
