"""What the text of a stream says: the names of fields, the values they take, sizes, rates. For generate, from files and command lines.

A field takes `A..B` (counting up, or down), `A..B/STEP`, `random:A..B`, or a list `A,B,C`; `*N` behind it keeps each value for N packets.
"""

from __future__ import annotations

import math
from fractions import Fraction
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

from fastring.headers import FrameHeaders

FieldSpec = tuple[int, int, str, int, int, "int | list[int]", int]  # as fastring.stream.PacketStream takes it

TCP, UDP, ICMP, ICMPV6 = 6, 17, 1, 58
MOST_VALUES = 1 << 20  # of a list
FCS = 4
SHORTEST, MOST_SIZE = 64, 16384  # of a frame with its CRC
IMIX = "64*7,594*4,1518*1"
RATES = {"pps": 1, "kpps": 10**3, "mpps": 10**6, "gpps": 10**9, "bps": -1, "kbps": -(10**3), "mbps": -(10**6), "gbps": -(10**9)}


class Place(NamedTuple):
    """Where a field is: bits from the frame's first one, and how its values are written."""

    bit: int
    bits: int
    kind: str = "number"


# Offsets in bits from a header's start. "l4" is looked up by protocol.
ETHERNET = {"eth.dst": Place(0, 48, "mac"), "eth.src": Place(48, 48, "mac")}
VLAN = {"prio": Place(0, 3), "dei": Place(3, 1), "id": Place(4, 12)}
IPV4 = {
    "ipv4.tos": Place(8, 8),
    "ipv4.dscp": Place(8, 6),
    "ipv4.ecn": Place(14, 2),
    "ipv4.id": Place(32, 16),
    "ipv4.ttl": Place(64, 8),
    "ipv4.src": Place(96, 32, "ipv4"),
    "ipv4.dst": Place(128, 32, "ipv4"),
}
IPV6 = {
    "ipv6.tclass": Place(4, 8),
    "ipv6.dscp": Place(4, 6),
    "ipv6.ecn": Place(10, 2),
    "ipv6.flow": Place(12, 20),
    "ipv6.hlim": Place(56, 8),
    "ipv6.src": Place(64, 128, "ipv6"),
    "ipv6.dst": Place(192, 128, "ipv6"),
}
PORTS = {"sport": Place(0, 16), "dport": Place(16, 16)}
TRANSPORT = {
    UDP: {f"udp.{name}": place for name, place in PORTS.items()},
    TCP: {f"tcp.{name}": place for name, place in PORTS.items()}
    | {"tcp.seq": Place(32, 32), "tcp.ack": Place(64, 32), "tcp.flags": Place(104, 8), "tcp.window": Place(112, 16)},
    ICMP: {"icmp.id": Place(32, 16), "icmp.seq": Place(48, 16)},
    ICMPV6: {"icmpv6.id": Place(32, 16), "icmpv6.seq": Place(48, 16)},
}


# What scapy calls layers and, where it differs, their fields.
SCAPY_LAYERS = {
    "Ether": "eth", "Dot1Q": "vlan", "IP": "ipv4", "IPv6": "ipv6", "TCP": "tcp", "UDP": "udp", "ICMP": "icmp",
    "ICMPv6EchoRequest": "icmpv6", "ICMPv6EchoReply": "icmpv6",
}  # fmt: skip
SCAPY_FIELDS = {"vlan.vlan": "vlan.id", "ipv6.tc": "ipv6.tclass", "ipv6.fl": "ipv6.flow"}


def from_scapy_name(name: str) -> str:
    """A field by scapy's name for it, such as "IP.src" or "Dot1Q.vlan", by ours; another is left as it is."""
    layer, dot, field = name.partition(".")
    if layer not in SCAPY_LAYERS or not dot:
        return name
    own = f"{SCAPY_LAYERS[layer]}.{field}"
    return SCAPY_FIELDS.get(own, own)


def places(headers: FrameHeaders) -> dict[str, Place]:
    """The fields that a frame with these headers has, by name."""

    def at(byte: int, table: dict[str, Place]) -> dict[str, Place]:
        return {name: place._replace(bit=8 * byte + place.bit) for name, place in table.items()}

    found = dict(ETHERNET)
    for number, tag in enumerate(headers.vlans):
        found |= at(tag, {f"vlan{number or ''}.{name}": place for name, place in VLAN.items()})
    if headers.l3 is not None:
        found |= at(headers.l3, IPV4 if headers.version == 4 else IPV6)
    if headers.l4 is not None and headers.protocol is not None:
        found |= at(headers.l4, TRANSPORT[headers.protocol])
    return found


def find_place(name: str, headers: FrameHeaders) -> Place:
    """Where field `name` is: one of `places`, or @BYTE:BITS or @BYTE.BIT:BITS for any other. Raises ValueError."""
    if name.startswith("@"):
        start, _, bits = name[1:].partition(":")
        byte, _, bit = start.partition(".")
        if not all(part.isdecimal() and len(part) < 6 for part in (byte, bit or "0", bits)) or not 1 <= int(bits) <= 64:
            raise ValueError(f"{name!r} is no field: it is @BYTE:BITS or @BYTE.BIT:BITS, of 1 to 64 bits")
        return Place(8 * int(byte) + int(bit or 0), int(bits))
    known = places(headers)
    if name not in known:
        raise ValueError(f"its packet has no field {name!r}: it has {', '.join(known)}, and @BYTE:BITS")
    return known[name]


def parse_value(text: object, kind: str) -> int:
    """One value of a field: an address or a number, 0x… too. Raises ValueError."""
    words = str(text).strip()
    try:
        if kind == "ipv4":
            return int(IPv4Address(words))
        if kind == "ipv6":
            return int(IPv6Address(words))
        if kind == "mac":
            parts = words.split(":")
            if len(parts) != 6 or not all(1 <= len(part) <= 2 for part in parts):
                raise ValueError
            return int("".join(part.zfill(2) for part in parts), 16)
        if len(words) > 40 or words.startswith(("-", "+")):
            raise ValueError
        return int(words, 0)
    except ValueError:
        wanted = {"ipv4": "an IPv4 address", "ipv6": "an IPv6 address", "mac": "a MAC address such as 52:54:00:00:00:01"}
        raise ValueError(f"{shown(text)} is not {wanted.get(kind, 'a number of 0 or more')}") from None


def shown(value: object) -> str:
    """A value in a message."""
    text = repr(value)
    return text if len(text) <= 60 else text[:59] + "…"


def parse_field(name: str, value: object, headers: FrameHeaders) -> list[FieldSpec]:
    """Fields for PacketStream: one, or two for an IPv6 address. `value`: text, a number, or a list of values. Raises ValueError."""
    place = find_place(name, headers)
    every = 1
    if isinstance(value, str):
        value, star, times = value.partition("*")
        if star:
            every = parse_value(times, "number")
            if not 1 <= every < 1 << 32:
                raise ValueError(f"each value stays for 1 to 2^32 - 1 packets, not {shown(times)}")
    if isinstance(value, str) and ".." in value:
        kind, low, step, count = _parse_range(value, place)
        return _stepping(place, kind, low, step, count, every)
    words = value if isinstance(value, (list, tuple)) else value.split(",") if isinstance(value, str) else [value]
    values = [parse_value(word, place.kind) for word in words]
    if not 0 < len(values) <= MOST_VALUES:
        raise ValueError(f"a list has 1 to {MOST_VALUES} values, not {len(values)}")
    if max(values) >> place.bits:
        raise ValueError(f"{max(values)} does not fit into {place.bits} bits")
    return [
        (place.bit + bit, bits, "cycle", 0, 0, [value >> place.bits - bit - bits & (1 << bits) - 1 for value in values], every)
        for bit, bits in ([(0, 64), (64, 64)] if place.bits == 128 else [(0, place.bits)])
    ]


def _parse_range(text: str, place: Place) -> tuple[str, int, int, int]:
    """What [random:]A..B[/STEP] says: kind, the lowest value, the step, and how many values there are."""
    drawn = text.startswith("random:")
    bounds, slash, step_text = text.removeprefix("random:").partition("/")
    first, last = (parse_value(word, place.kind) for word in bounds.split("..", 1))
    step = parse_value(step_text, "number") if slash else 1
    if slash and (drawn or step == 0):
        raise ValueError(f"{shown(text)}: a step is above 0" if not drawn else f"{shown(text)}: what is drawn has no step")
    if max(first, last) >> place.bits:
        raise ValueError(f"{max(first, last)} does not fit into {place.bits} bits")
    if drawn:
        return "random", min(first, last), 0, abs(last - first) + 1
    if first <= last:
        return "step", first, step, last - first + 1
    return "down", last, step, first - last + 1


def _stepping(place: Place, kind: str, low: int, step: int, count: int, every: int) -> list[FieldSpec]:
    specs: list[FieldSpec] = []
    bit, bits = place.bit, place.bits
    if bits == 128:
        if low >> 64 != low + count - 1 >> 64:
            raise ValueError("the first 64 bits of all IPv6 addresses of a range are the same")
        specs.append((bit, 64, "cycle", 0, 0, [low >> 64], every))
        bit, bits, low = bit + 64, 64, low & (1 << 64) - 1
    if kind == "down":  # from the top: a list, or steps by the complement, which begin at the lowest
        if count > MOST_VALUES:
            raise ValueError(f"a range that goes down has {MOST_VALUES} values at most, not {count}")
        steps = count // math.gcd(step, count)
        return [*specs, (bit, bits, "cycle", 0, 0, [low + (count - 1 - i * step) % count for i in range(steps)], every)]
    return [*specs, (bit, bits, kind, low, step % (1 << 64), count, every)]


class Sizes(NamedTuple):
    """Lengths of frames without their CRC, and the order they come in: indexes, or None when they are drawn."""

    lengths: list[int]
    order: list[int] | None


def parse_sizes(value: object) -> Sizes:
    """`64`, `64,128`, `64*7,594*4,1518*1` (weights), `64..1518`, `random:64..1518` or `imix`, with CRC. Raises ValueError."""
    text = IMIX if value == "imix" else ",".join(map(str, value)) if isinstance(value, list) else str(value)
    if ".." in text:
        first, last = (_size(word) for word in text.removeprefix("random:").split("..", 1))
        if first > last:
            raise ValueError(f"{shown(value)}: sizes go from the smaller to the larger")
        lengths = list(range(first, last + 1))
        return Sizes(lengths, None if text.startswith("random:") else list(range(len(lengths))))
    words = [word.partition("*") for word in text.split(",")]
    lengths = [_size(size) for size, _, _ in words]
    weights = [parse_value(weight, "number") if star else 1 for _, star, weight in words]
    if not all(weights) or sum(weights) > 4096:
        raise ValueError(f"{shown(value)}: weights are 1 or more, together 4096 at most")
    return Sizes(lengths, _interleaved(weights))


def _size(text: object) -> int:
    size = parse_value(text, "number")
    if not SHORTEST <= size <= MOST_SIZE:
        raise ValueError(f"a frame has {SHORTEST} to {MOST_SIZE} bytes with its CRC, not {size}")
    return size - FCS


def _interleaved(weights: list[int]) -> list[int]:
    """Each index as often as its weight says, as evenly as can be (smooth weighted round robin)."""
    credit = [0] * len(weights)
    order = []
    for _ in range(sum(weights)):
        credit = [have + weight for have, weight in zip(credit, weights, strict=True)]
        chosen = max(range(len(weights)), key=credit.__getitem__)
        credit[chosen] -= sum(weights)
        order.append(chosen)
    return order


class Rate(NamedTuple):
    """Packets or bits a second; bits are those of frames without CRC, preamble and gap, as tcpreplay's --mbps counts."""

    value: Fraction
    bits: bool = False

    @property
    def times(self) -> tuple[Fraction, Fraction]:
        """Nanoseconds that a packet takes, and each byte."""
        return (Fraction(0), Fraction(8 * 10**9) / self.value) if self.bits else (Fraction(10**9) / self.value, Fraction(0))


def parse_rate(value: object) -> Rate:
    """A number of packets a second, or text such as "50kpps" and "1.5gbps". Raises ValueError."""
    text = str(value).strip().lower()
    number = text.rstrip("abcdefghijklmnopqrstuvwxyz")
    unit = RATES.get(text[len(number) :].strip() or "pps")
    try:
        if unit is None or len(number) > 30:
            raise ValueError
        rate = Fraction(number.strip()) * abs(unit)
    except (ValueError, ZeroDivisionError):
        raise ValueError(f"{shown(value)} is no rate: it is packets a second, or a number with {', '.join(RATES)}") from None
    if unit < 0 and not 10**4 <= rate <= 10**13:
        raise ValueError(f"a rate in bits is 10 kbps to 10000 gbps, not {shown(value)}")
    if unit > 0 and not Fraction(1, 100) <= rate <= 10**12:
        raise ValueError(f"a rate is 0.01 to 1e12 packets a second, not {shown(value)}")
    return Rate(rate, unit < 0)
