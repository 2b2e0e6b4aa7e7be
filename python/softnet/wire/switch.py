"""`switch:`: a learning bridge of a card and any wires: switch:tap:tap0+udp:10.0.0.2:5000,trunk=10/20."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from fastring.clock import Clock
from fastring.switch import Switch
from softnet.wire.cabling import Cabling
from softnet.wire.spec import parse_argument, whole

MEMBERS = "+"  # between the wires of a switch

VLAN = whole(1, 4094)


def vlans(text: str) -> tuple[int, ...]:
    """VLANs and ranges of them: 10/20/30-39."""
    found: list[int] = []
    for part in text.split("/"):
        first, dash, last = part.partition("-")
        low = VLAN(first)
        found.extend(range(low, (VLAN(last) if dash else low) + 1))
    return tuple(found)


PORT: dict[str, Callable[[str], Any]] = {"vlan": VLAN, "trunk": vlans}
OWN: dict[str, Callable[[str], Any]] = {**PORT, "ageing": whole(1, 1_000_000), "limit": whole(1, 1 << 20)}


def open_switch(argument: str, clock: Clock, open_wire: Callable[..., Cabling]) -> Cabling:
    """A switch with a port for the card and one for each wire. What has options and no wire's name is about the card's port."""
    own, members = _parse(argument)
    filtering = any("vlan" in options or "trunk" in options for options in (own, *(options for _, options in members)))
    settings = {name: own.pop(name) for name in ("ageing", "limit") if name in own}
    switch = Switch(clock=clock, vlan_filtering=filtering, **settings)
    with ExitStack() as undo:
        undo.callback(switch.close)
        for spec, options in members:
            cabling = open_wire(spec, clock=clock)
            if cabling.far is not None:
                cabling.close()
                raise ValueError(f"the wire 'switch': nobody is at the other end of {spec!r}")
            switch.connect(cabling.near, spec, **options)
        port = switch.port("card", closes_switch=True, **own)
        undo.pop_all()
    return Cabling(port, taken=lambda: (port.rx_packets, port.rx_bytes), drops=lambda: port.drops)


def _parse(argument: str) -> tuple[dict[str, Any], list[tuple[str, dict[str, Any]]]]:
    """The options of the card's port, and each member's spec with those of its port."""
    own: dict[str, Any] = {}
    members = []
    for number, item in enumerate(argument.split(MEMBERS)):
        if number == 0 and item.partition("=")[0] in OWN:
            _, own = parse_argument("switch", item, OWN)
            continue
        words = item.split(",")
        ours = [word for word in words if word.partition("=")[0] in PORT]
        _, options = parse_argument("switch", ",".join(ours), PORT)
        members.append((",".join(word for word in words if word not in ours), options))
    if not members or not all(spec for spec, _ in members):
        raise ValueError("the wire 'switch' needs wires: switch:WIRE+WIRE")
    return own, members
