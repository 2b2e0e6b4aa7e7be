"""Events of a trace: from the recorder's records to dicts, and from these to what people and Perfetto read.

An event is a dict: `t` (ns on the clock), `card` (its number), `cat` (one of CATEGORIES), `event`, and what that has: see `unpack`.
Addresses and descriptors, which have 64 bits, are strings of hexadecimal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from struct import Struct
from typing import Any

from e1000.device.card import DROP_NAMES
from e1000.fields import decode
from e1000.regmap import name_of

Event = dict[str, Any]

RECORD = Struct("<qQQQIHBB")  # device/recorder.pxd: time, address, value, extra, length, detail, kind, card
CATEGORIES = ("mmio", "io", "config", "desc", "dma", "irq", "frame", "timer")
RINGS = ("tx", "rx")
TIMERS = ("link", "receive", "transmit", "throttle", "pause")

_DEXT, _DTYP = 1 << 29, 15 << 20
_Fields = tuple[int, int, int, int, int]  # address, value, extra, length, detail


def _access(event: str) -> Callable[..., Event]:
    def unpack(address: int, value: int, extra: int, length: int, detail: int) -> Event:
        if detail == 2:
            return {"cat": "config", "event": event, "offset": address, "size": length, "value": value}
        if detail == 1:
            what = {"offset": address, "register": "IOADDR" if address < 4 else name_of(extra)}
            return {"cat": "io", "event": event, **what, "size": length, "value": value}
        return {"cat": "mmio", "event": event, "offset": address, "register": name_of(address & ~3), "size": length, "value": value}

    return unpack


def _dma(event: str) -> Callable[..., Event]:
    def unpack(address: int, value: int, extra: int, length: int, detail: int) -> Event:
        aborted = {"aborted": True} if detail else {}
        return {"cat": "dma", "event": event, "address": hex(address), "length": length, **aborted}

    return unpack


def _descriptor(event: str) -> Callable[..., Event]:
    def unpack(address: int, value: int, extra: int, length: int, detail: int) -> Event:
        return {"cat": "desc", "event": event, "ring": RINGS[extra], "index": length, "address": hex(address), "word": hex(value)}

    return unpack


def _frame(event: str) -> Callable[..., Event]:
    def unpack(address: int, value: int, extra: int, length: int, detail: int) -> Event:
        head = (address.to_bytes(8, "little") + value.to_bytes(8, "little"))[: min(length, 16)]
        return {"cat": "frame", "event": event, "length": length, "head": head.hex()}

    return unpack


def _line(address: int, value: int, extra: int, length: int, detail: int) -> Event:
    return {"cat": "irq", "event": "up" if detail else "down", "icr": value, "ims": address}


def _message(address: int, value: int, extra: int, length: int, detail: int) -> Event:
    return {"cat": "irq", "event": "message", "address": hex(address), "data": value, **({"aborted": True} if detail else {})}


def _dropped(address: int, value: int, extra: int, length: int, detail: int) -> Event:
    reason = DROP_NAMES[detail] if detail < len(DROP_NAMES) else f"reason {detail}"
    return {"cat": "frame", "event": "dropped", "reason": reason, "count": value}


def _refused(address: int, value: int, extra: int, length: int, detail: int) -> Event:
    return {"cat": "frame", "event": "refused", "count": value}


def _timer(address: int, value: int, extra: int, length: int, detail: int) -> Event:
    return {"cat": "timer", "event": "fires", "timer": TIMERS[detail] if detail < len(TIMERS) else str(detail)}


# In the order of device/recorder.pxd's EventKind
_UNPACK: tuple[Callable[..., Event], ...] = (
    _access("read"),
    _access("write"),
    _dma("read"),
    _dma("write"),
    _descriptor("fetch"),
    _descriptor("write-back"),
    _line,
    _message,
    _frame("sent"),
    _frame("arrived"),
    _dropped,
    _refused,
    _timer,
)


def unpack(records: bytes) -> Iterator[Event]:
    """The recorder's records as events, in order."""
    for time, address, value, extra, length, detail, kind, card in RECORD.iter_unpack(records):
        yield {"t": time, "card": card, **_UNPACK[kind](address, value, extra, length, detail)}


# --- for people ---


def _descriptor_kind(ring: str, word: int) -> str:
    """Which layout of e1000/fields.py a descriptor's second word has."""
    if ring == "rx":
        return "RX"
    if not word & _DEXT:
        return "TX legacy"
    return "TX data" if word & _DTYP else "TX context"


def describe(event: Event) -> str:
    """What an event says, in one line, registers and descriptors with the names of their bits."""
    what, cat = event["event"], event["cat"]
    if cat in ("mmio", "io", "config"):
        name = event.get("register") or f"{event['offset']:#04x}"
        narrow = f".{event['offset'] & 3}:{event['size']}" if event["size"] != 4 else ""
        bits = "" if narrow else decode(name, event["value"])
        return f"{what:<10} {name + narrow:<10} {event['value']:#010x}  {bits}".rstrip()
    if cat == "desc":
        word = int(event["word"], 16)
        bits = decode(_descriptor_kind(event["ring"], word), word)
        return f"{what:<10} {event['ring']}[{event['index']}]".ljust(22) + f"{event['address']}  {bits}".rstrip()
    if cat == "dma":
        return f"{what:<10} {event['address']}  {event['length']} bytes{': master abort' if event.get('aborted') else ''}"
    if cat == "irq" and what == "message":
        return f"{what:<10} {event['address']}  {event['data']:#x}{': master abort' if event.get('aborted') else ''}"
    if cat == "irq":
        return f"line {what:<5} ICR {decode('ICR', event['icr']) or '0'}, IMS {decode('IMS', event['ims']) or '0'}"
    if cat == "frame" and "length" in event:
        head = event["head"]
        return f"{what:<10} {event['length']} bytes  {head[12:24]} > {head[:12]} {head[24:28]}".rstrip()
    if cat == "frame":
        return f"{what:<10} {event['count']} {event.get('reason', '')}".rstrip()
    return f"{event.get('timer', '')} {what}"


def table(events: Iterable[Event], *, start: int = 0, many: bool = False) -> Iterator[str]:
    """Lines for people: time in µs from `start` (ns), the card if there are `many`, category, and what happened."""
    for event in events:
        card = f"{event['card']:>3} " if many else ""
        yield f"{(event['t'] - start) / 1000:>14.3f} {card} {event['cat']:<7} {describe(event)}\n"


# --- for Perfetto: the Chrome trace event format ---


def perfetto_names(cards: list[str]) -> Iterator[Event]:
    """Metadata: each card a process, each category a thread of it."""
    for number, card in enumerate(cards):
        yield {"ph": "M", "name": "process_name", "pid": number, "tid": 0, "ts": 0, "args": {"name": f"card {number}: {card}"}}
        for thread, category in enumerate(CATEGORIES):
            yield {"ph": "M", "name": "thread_name", "pid": number, "tid": thread, "ts": 0, "args": {"name": category}}


def perfetto(event: Event) -> Event:
    """One event: an instant, or the beginning or end of the time the interrupt line is up."""
    cat, what = event["cat"], event["event"]
    args = {name: value for name, value in event.items() if name not in ("t", "card", "cat", "event")}
    name, phase = what, {"ph": "i", "s": "t"}
    if cat in ("mmio", "io", "config"):
        name = f"{what} {event.get('register') or hex(event['offset'])}"
        if bits := decode(event.get("register", ""), event["value"]):
            args["bits"] = bits
        args["value"] = hex(event["value"])
    elif cat == "desc":
        word = int(event["word"], 16)
        name = f"{event['ring']} {what}"
        args["bits"] = decode(_descriptor_kind(event["ring"], word), word)
    elif cat == "irq" and what != "message":
        name, phase = "line up", {"ph": "B" if what == "up" else "E"}
        args["causes"] = decode("ICR", event["icr"])
    out = {"name": name, "cat": cat, **phase, "ts": event["t"] / 1000, "pid": event["card"], "tid": CATEGORIES.index(cat)}
    return {**out, "args": args}
