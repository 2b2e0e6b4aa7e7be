"""`tap:NAME`: a network interface of the kernel's at the other end."""

from __future__ import annotations

from fastring.clock import Clock
from fastring.tap import TapWire
from softnet.wire.cabling import Cabling, host_cabling
from softnet.wire.spec import parse_argument, switch, whole

MIN_MTU, MAX_MTU = 68, 65521  # tun_net_init
OPTIONS = {"vnet_hdr": switch, "queues": whole(1, 256), "up": switch, "mtu": whole(MIN_MTU, MAX_MTU)}


def open_tap(argument: str, clock: Clock) -> Cabling:
    """Attach to a TAP, or make it; without a name, or with a template such as tap%d, the kernel chooses. Raises ValueError, OSError."""
    name, _, options = argument.partition(",")
    if "=" in name:
        raise ValueError(f"the wire 'tap' has its name first: tap:NAME,{argument}, or tap:,{argument} for one that the kernel chooses")
    return host_cabling(TapWire(name, **parse_argument("tap", options, OPTIONS)[1]))
