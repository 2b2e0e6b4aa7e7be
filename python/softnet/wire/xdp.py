"""`xdp:IFNAME`: a queue of a network interface of the host, by an AF_XDP socket."""

from __future__ import annotations

from fastring.clock import Clock
from fastring.xdp import MODES, XdpWire
from softnet.wire.cabling import Cabling, host_cabling
from softnet.wire.spec import parse_argument, switch, whole


def mode(text: str) -> str:
    """One of MODES."""
    if text not in MODES:
        raise ValueError(f"it is {', '.join(MODES)}, not {text!r}")
    return text


def open_xdp(argument: str, clock: Clock) -> Cabling:
    """Open a queue. Raises OSError if it cannot be: no rights, none of that name, not Ethernet, down, taken, no zero-copy."""
    name, options = parse_argument("xdp", argument, {"queue": whole(0, 0xFFFF), "mode": mode, "rx": switch}, name="ifname")
    return host_cabling(XdpWire(name, **options))
