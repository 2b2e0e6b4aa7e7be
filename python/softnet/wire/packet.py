"""`packet:IFNAME`: a network interface of the host, by a packet socket."""

from __future__ import annotations

from fastring.clock import Clock
from fastring.packet import FANOUT_MODES, PacketWire
from softnet.wire.cabling import Cabling, host_cabling
from softnet.wire.spec import parse_argument, switch, whole

_group = whole(0, 0xFFFF)


def fanout(text: str) -> tuple[int, str]:
    """GROUP or GROUP:MODE."""
    group, _, mode = text.partition(":")
    if mode and mode not in FANOUT_MODES:
        raise ValueError(f"the mode is {', '.join(FANOUT_MODES)}, not {mode!r}")
    return _group(group), mode or "hash"


def open_packet(argument: str, clock: Clock) -> Cabling:
    """Open an interface. Raises OSError if it cannot be: no rights, none of that name, not Ethernet, down."""
    converters = {
        "promisc": switch,
        "fanout": fanout,
        "qdisc_bypass": switch,
        "vnet_hdr": switch,
        "ring": whole(1, 4096),
        "block_timeout": whole(1, 1000),
    }
    name, options = parse_argument("packet", argument, converters, name="ifname")
    if "fanout" in options:
        options["fanout"], options["fanout_mode"] = options["fanout"]
    return host_cabling(PacketWire(name, **options))


def for_sending(spec: str) -> str:
    """The same wire, without the kernel's timer every millisecond, which takes its time from who sends: it delays what is due just then."""
    return spec if "block_timeout=" in spec else f"{spec},block_timeout=20"
