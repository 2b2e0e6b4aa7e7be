"""Streams of packets described in Python, checked, and made into what fastring sends. The texts are those of softnet.stream_fields.

`Stream(template, fields={"ipv4.src": "10.0.0.1..10.0.0.254"}, size="imix", rate="50kpps")`; docs/generate.md has all of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from fastring.clock import Clock
from fastring.headers import frame_headers
from fastring.stream import LONGEST, SIGNATURE_BYTES, PacketStream
from fastring.stream_source import MOST_STREAMS, StreamSource
from softnet.ethernet import ETH_HLEN
from softnet.stream_fields import FCS, FieldSpec, Rate, Sizes, from_scapy_name, parse_field, parse_rate, parse_sizes, shown

ENDLESS = (1 << 62) - 1
MOST_SECONDS = 1 << 30


class StreamError(ValueError):
    """What is wrong with streams: `mistakes`, one line each."""

    def __init__(self, mistakes: Sequence[str]) -> None:
        super().__init__("; ".join(mistakes))
        self.mistakes = list(mistakes)


@dataclass(kw_only=True)
class Phase:
    """Part of a schedule: `packets` or `duration` in seconds at `rate`; without a rate a pause."""

    rate: Any = None
    duration: float | None = None
    packets: int | None = None


@dataclass
class Stream:
    """Packets like `template`, an Ethernet frame without its CRC: the bytes of a scapy packet, say.

    `fields`: what varies, by name or "@BYTE:BITS", and how: softnet.stream_fields. `size`: with CRC, else the template's. `payload`: None
    (the template's, and zeroes), "counter", "random" or "hex:…", repeated. `rate`: packets a second, or text; `weight`: share of a total
    rate, or of the turns. `count`: packets in all. `burst`: packets at once, `gap`: seconds from burst to burst (by default what the rate
    asks for). `phases`: rates that follow each other, over and over. `signature`: sequence numbers and stamps, 18 bytes of payload;
    without one, loss is known in total only.
    """

    template: bytes
    fields: Mapping[str, Any] = field(default_factory=dict)
    name: str = ""
    size: Any = None
    payload: str | None = None
    rate: Any = None
    weight: int = 1
    count: int | None = None
    burst: int = 1
    gap: float | None = None
    phases: Sequence[Phase] = ()
    seed: int = 0
    signature: bool = True

    @classmethod
    def from_scapy(cls, packet: Any, fields: Mapping[str, Any] | None = None, **options: Any) -> Stream:
        """Packets like a scapy packet, whose fields may have scapy's names, too: {"IP.src": "10.0.0.1..10.0.0.9"}."""
        return cls(bytes(packet), {from_scapy_name(name): values for name, values in (fields or {}).items()}, **options)

    def build(self, number: int = 0, *, seed: int = 0) -> PacketStream:
        """The packets, as fastring makes them. Raises StreamError."""
        return _Builder(self, number).packets(seed)

    def label(self, number: int) -> str:
        """What it is called in messages."""
        return f"stream {self.name!r}" if self.name else f"stream {number}"


class _Builder:
    """Makes what a Stream describes, and collects what is wrong with it."""

    def __init__(self, stream: Stream, number: int) -> None:
        self.stream, self.number = stream, number
        self.mistakes: list[str] = []

    def wrong(self, key: str, what: object) -> None:
        self.mistakes.append(f"{self.stream.label(self.number)}: {key}: {what}")

    def check(self) -> None:
        if self.mistakes:
            raise StreamError(self.mistakes)

    def packets(self, seed: int) -> PacketStream:
        stream = self.stream
        template = bytes(stream.template)
        if not ETH_HLEN <= len(template) <= LONGEST:
            self.wrong("template", f"a frame has {ETH_HLEN} to {LONGEST} bytes, not {len(template)}")
            self.check()
        headers = frame_headers(template)
        signed = SIGNATURE_BYTES if stream.signature else 0
        sizes = self.sizes(template, headers.payload + signed)
        fields = [spec for name, value in stream.fields.items() for spec in self.field(name, value, template)]
        count = self.whole("count", stream.count, 0, ENDLESS)
        seed = self.whole("seed", stream.seed, 0, (1 << 64) - 1) + seed & (1 << 64) - 1
        keeps = stream.size is None and stream.payload is None and not signed
        image = template if keeps else self.image(template, headers.end, headers.payload, signed, max(sizes.lengths))
        self.check()
        try:
            return PacketStream(
                image,
                number=self.number,
                fields=fields,
                lengths=sizes.lengths,
                order=sizes.order,
                trailer=len(template) - headers.end if keeps and headers.end is not None else 0,
                random_from=headers.payload + signed if stream.payload == "random" else 0,
                signature=headers.payload if signed else 0,
                seed=seed,
                count=ENDLESS if stream.count is None else count,
            )
        except ValueError as error:
            self.wrong("fields", error)
            raise StreamError(self.mistakes) from None

    def sizes(self, template: bytes, least: int) -> Sizes:
        """Lengths without CRC; room for the signature is made where the template alone says how long packets are."""
        if self.stream.size is None:
            return Sizes([max(len(template), least)], [0])
        try:
            sizes = parse_sizes(self.stream.size)
        except ValueError as error:
            self.wrong("size", error)
            return Sizes([len(template)], [0])
        if min(sizes.lengths) < least:
            with_it = " and its signature" if self.stream.signature else ""
            self.wrong("size", f"{min(sizes.lengths) + FCS} bytes have no room for this packet's headers{with_it}: {least + FCS} at least")
        return sizes

    def field(self, name: str, value: object, template: bytes) -> list[FieldSpec]:
        try:
            return parse_field(name, value, frame_headers(template))
        except (ValueError, TypeError) as error:
            self.wrong(f"field {name}", error)
            return []

    def whole(self, key: str, value: object, least: int, most: int) -> int:
        if value is None:
            return least
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            self.wrong(key, f"it is a whole number of {least} to {most}, not {shown(value)}")
            return least
        return value

    def image(self, template: bytes, end: int | None, payload: int, signed: int, longest: int) -> bytes:
        """The longest packet, its payload filled."""
        how = self.stream.payload
        body = template[: end or len(template)]
        if how is None or how == "random":
            return body[:longest].ljust(longest, b"\0")
        pattern = bytes(range(256))
        if how != "counter":
            try:
                pattern = bytes.fromhex(how.removeprefix("hex:")) if how.startswith("hex:") else b""
            except (AttributeError, ValueError):
                pattern = b""
            if not pattern:
                self.wrong("payload", f"it is 'counter', 'random' or 'hex:' and hexadecimal digits, not {shown(how)}")
                return template
        start = payload + signed
        return body[:start].ljust(start, b"\0") + (pattern * (longest // len(pattern) + 1))[: max(longest - start, 0)]

    def schedule(self, *, paced: bool, total: Rate | None, weights: int) -> dict[str, Any]:
        """What StreamSource is told of when its packets are due."""
        stream = self.stream
        weight = self.whole("weight", stream.weight, 1, 1 << 20) or 1
        burst = self.whole("burst", stream.burst, 1, 1 << 31)
        gap = 0 if stream.gap is None else self.seconds("gap", stream.gap)
        phases: list[tuple[Fraction, Fraction, int, int]] = []
        if not paced:
            phases = [(Fraction(1, weight), Fraction(0), 0, 1)]
        elif total is not None:
            phases = [(*total._replace(value=total.value * weight / weights).times, 0, 1)]
        elif stream.phases:
            phases = [self.phase(number, phase) for number, phase in enumerate(stream.phases, 1)]
            if not any(packets for _, _, _, packets in phases):
                self.wrong("phases", "there is one with a rate")
        elif stream.rate is not None:
            phases = [(*self.rate("rate", stream.rate), 0, 1)]
        elif gap:
            phases = [(Fraction(0), Fraction(0), 0, 1)]
        else:
            self.wrong("rate", "it has none, and other streams do: give it one, or none to any")
        self.check()
        return {"phases": phases, "burst": burst, "gap": gap}

    def phase(self, number: int, phase: Phase) -> tuple[Fraction, Fraction, int, int]:
        key = f"phase {number}"
        if (phase.duration is None) == (phase.packets is None):
            self.wrong(key, "it lasts for a duration or for packets, one of them")
        if phase.rate is None and phase.duration is None:
            self.wrong(key, "a pause has a duration")
        duration = 0 if phase.duration is None else self.seconds(f"{key}: duration", phase.duration)
        packets = self.whole(f"{key}: packets", phase.packets, 1, ENDLESS)
        if phase.rate is None:
            return Fraction(0), Fraction(0), duration, 0
        return (*self.rate(f"{key}: rate", phase.rate), duration, packets)

    def rate(self, key: str, value: object) -> tuple[Fraction, Fraction]:
        try:
            return parse_rate(value).times
        except ValueError as error:
            self.wrong(key, error)
            return Fraction(0), Fraction(0)

    def seconds(self, key: str, value: object) -> int:
        """In nanoseconds."""
        if not isinstance(value, (int, float)) or isinstance(value, bool) or not 1e-9 <= value <= MOST_SECONDS:
            self.wrong(key, f"it is a number of seconds above 0, not {shown(value)}")
            return 1
        return round(value * 10**9)


def make_source(
    streams: Sequence[Stream],
    clock: Clock,
    *,
    rate: Rate | None = None,
    topspeed: bool = False,
    duration: float | None = None,
    seed: int = 0,
) -> StreamSource:
    """The packets of all streams as one source. `rate`: of all together; `topspeed`: whatever rates they have. Raises StreamError."""
    if not 0 < len(streams) <= MOST_STREAMS:
        raise StreamError([f"there are 1 to {MOST_STREAMS} streams, not {len(streams)}"])
    mistakes: list[str] = []
    lanes = []
    timed = rate is not None or any(stream.rate is not None or stream.phases or stream.gap is not None for stream in streams)
    paced = timed and not topspeed
    weights = sum(stream.weight for stream in streams if isinstance(stream.weight, int) and stream.weight > 0)
    for number, stream in enumerate(streams):
        builder = _Builder(stream, number)
        try:
            lanes.append((builder.packets(seed), builder.schedule(paced=paced, total=rate, weights=weights)))
        except StreamError as error:
            mistakes += error.mistakes
    if mistakes:
        raise StreamError(mistakes)
    return StreamSource(lanes, clock, paced=paced, duration=None if duration is None else round(duration * 10**9))
