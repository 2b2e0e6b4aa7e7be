"""Wrappers: a wire around the wire behind their '@', as in fault:loss=0.01@tap:tap0."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from fastring.clock import Clock
from fastring.meter import MeterWire
from fastring.wire import Wire
from softnet.wire.cabling import Cabling
from softnet.wire.spec import WRAPPED, parse_argument


class Wrapper(NamedTuple):
    """One kind of wrapper: how it is put around a wire, and what help says of it."""

    wrap: Callable[[str, Wire, Clock], Wire]
    syntax: str
    help: str


def wrap_meter(argument: str, wire: Wire, clock: Clock) -> Wire:
    """Count what passes."""
    parse_argument("meter", argument, {})
    return MeterWire(wire, clock=clock)


WRAPPERS = {
    "meter": Wrapper(wrap_meter, "meter@WIRE", "any wire, with what passes counted each way"),
}


def split_wrappers(spec: str) -> tuple[list[str], str]:
    """The wrappers of a spec, outermost first, and the spec of the wire in them. A name or a file may hold an '@' of its own.

    Raises ValueError for an '@' behind what is no wrapper of a wire.
    """
    wrappers = []
    while spec.partition(":")[0].partition(WRAPPED)[0] in WRAPPERS:
        wrapper, at, spec = spec.partition(WRAPPED)
        if not at or not spec:
            raise ValueError(f"the wrapper {wrapper!r} needs a wire behind an '@': {wrapper}@WIRE")
        wrappers.append(wrapper)
    return wrappers, spec


def wrap(wrappers: list[str], cabling: Cabling, clock: Clock) -> Cabling:
    """Put wrappers, outermost first, around a cabling's near end; what is wrapped is closed if one of them cannot be."""
    for wrapper in reversed(wrappers):
        kind, _, argument = wrapper.partition(":")
        try:
            near = WRAPPERS[kind].wrap(argument, cabling.near, clock)
        except BaseException:
            cabling.close()
            raise
        cabling = Cabling(near, cabling.far, cabling.taken, _drops(cabling, near))
    return cabling


def _drops(cabling: Cabling, near: Wire) -> Callable[[], dict[str, int]]:
    """What wire and wrappers lost. A cabling may know of more than its wire does: a file that is full."""
    return lambda: cabling.drops() | near.drops
