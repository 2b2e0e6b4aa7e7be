"""Plugging a card in: a card of ours on a wire, on a bus, with its driver: what replay, generate, forward and open_nic all begin with."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from e1000.bus import HostMemory, LocalBus
from e1000.device import E1000Device
from e1000.driver import probe
from fastring.wire import Wire
from softnet.netdev import NetDevice
from softnet.stack import Stack


def plug_card(
    undo: ExitStack, stack: Stack, wire: Wire, *, mac: str | bytes, mtu: int, memory: HostMemory | None = None, **options: Any
) -> tuple[E1000Device, NetDevice]:
    """A card on `wire` and its device, which is not up yet. `undo` takes all of it down again; `memory` (one of its own) if it made it.

    No pause frames: a wire that may lose frames tells what was missed. No moderation: the card has no clock to wait on. `options`: what
    else its driver's probe takes. Raises OSError EBUSY if the wire has a card, EINVAL for an MTU that is none.
    """
    if memory is None:
        memory = HostMemory()
        undo.callback(memory.close)
    card = E1000Device(mac=mac if isinstance(mac, str) else mac.hex(":"), wire=wire)
    undo.callback(card.close)
    bus = LocalBus(card, memory=memory)
    undo.callback(bus.close)
    return card, probe(bus, stack, mtu=mtu, flow_control="none", rx_usecs=0, **options)
