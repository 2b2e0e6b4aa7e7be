"""Wrappers: a wire around the wire behind their '@', as in fault:loss=0.01@tap:tap0."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

from fastring.capture_writer import CaptureWriter
from fastring.clock import Clock
from fastring.faults import NAMES, FaultyWire
from fastring.meter import MeterWire
from fastring.netem import NetemWire
from fastring.tee import TeeWire
from fastring.wire import Wire
from softnet.wire.cabling import Cabling
from softnet.wire.spec import WRAPPED, bit_rate, chance, duration, one_of, parse_argument, whole

MAXIMUM_SNAPLEN = 262_144


class Wrapper(NamedTuple):
    """One kind of wrapper: how it is put around a wire, and what help says of it."""

    wrap: Callable[[str, Wire, Clock], Wire]
    syntax: str
    help: str


def wrap_meter(argument: str, wire: Wire, clock: Clock) -> Wire:
    """Count what passes."""
    parse_argument("meter", argument, {})
    return MeterWire(wire, clock=clock)


def wrap_tee(argument: str, wire: Wire, clock: Clock) -> Wire:
    """Record what passes in a pcapng file."""
    path, options = parse_argument("tee", argument, {"snaplen": whole(1, MAXIMUM_SNAPLEN)}, name="file")
    writer = CaptureWriter(path, format="pcapng", **options)
    try:
        return TeeWire(wire, writer, clock=clock)
    except BaseException:
        writer.close()
        raise


def wrap_fault(argument: str, wire: Wire, clock: Clock) -> Wire:
    """Impair what leaves as netem does, and spoil what arrives as a bad cable does."""
    _, options = parse_argument("fault", argument, FAULTS)
    if "dup" in options:
        if "duplicate" in options:
            raise ValueError("the wire 'fault' is told 'duplicate' twice")
        options["duplicate"] = options.pop("dup")
    spoiled = {name: options.pop(name) for name in NAMES if name in options}
    seed = options.get("seed", 0)
    if spoiled:
        wire = FaultyWire(wire, seed=seed, **spoiled)
    if options.keys() - {"seed"} or not spoiled:
        wire = NetemWire(wire, clock=clock, **options)
    return wire


FAULTS: dict[str, Callable[[str], Any]] = {
    **dict.fromkeys(("loss", "duplicate", "dup", "corrupt", "reorder", *NAMES), chance),
    **dict.fromkeys(("delay", "jitter"), duration),
    "rate": bit_rate,
    "limit": whole(1, 100_000),
    "gap": whole(1, 100_000),
    "seed": whole(0, (1 << 63) - 1),
    "direction": one_of("out", "in", "both"),
}

WRAPPERS = {
    "tee": Wrapper(wrap_tee, "tee:FILE@WIRE", "any wire, recorded in a pcapng file with directions and what was lost"),
    "fault": Wrapper(wrap_fault, "fault:OPTIONS@WIRE", "any wire, impaired as by tc-netem: loss=, delay=, rate=, seed= and more"),
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
        cabling = replace(cabling, near=near, drops=_drops(cabling, near), duplicates=_duplicates(cabling, near))
    return cabling


def _drops(cabling: Cabling, near: Wire) -> Callable[[], dict[str, int]]:
    """What wire and wrappers lost. A cabling may know of more than its wire does: a file that is full."""

    def drops() -> dict[str, int]:
        return cabling.drops() | {reason: packets for reason, packets in near.drops.items() if reason not in near.rx_drops}

    return drops


def _duplicates(cabling: Cabling, near: Wire) -> Callable[[], int]:
    """How many packets more than were sent arrive."""
    return lambda: cabling.duplicates() + (near.counts["out"]["duplicate"] if isinstance(near, NetemWire) else 0)
