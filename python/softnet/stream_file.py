"""Streams from a file: TOML, JSON, or YAML where PyYAML is installed; and packets from few words, without scapy."""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from fastring.burst import Burst
from fastring.capture import Capture
from softnet.generate import FAR_MAC, NEAR_MAC, Phase, Stream, StreamError
from softnet.stream_fields import parse_value, shown

MOST_BYTES = 1 << 24  # of a file
SETTINGS: dict[str, Any] = {"seed": int, "duration": (int, float), "wire": str, "receive_wire": str, "clock": str, "topspeed": bool}
RUN_KEYS = (*SETTINGS, "rate")
STREAM_KEYS = tuple(field.name for field in fields(Stream))
PHASE_KEYS = tuple(field.name for field in fields(Phase))
TEMPLATE_KEYS = ("udp", "hex", "pcap", "eth_src", "eth_dst", "vlan")


@dataclass
class StreamFile:
    """What a file says: streams, and settings for Generate."""

    streams: list[Stream]
    settings: dict[str, Any]


def udp_frame(source: str, destination: str, *, eth_src: str = NEAR_MAC, eth_dst: str = FAR_MAC, vlan: int | None = None) -> bytes:
    """A frame of UDP over IPv4 or IPv6, without payload, of ADDRESS:PORT or [ADDRESS]:PORT each. Raises ValueError."""
    (source_ip, sport), (destination_ip, dport) = _endpoint(source), _endpoint(destination)
    if source_ip.version != destination_ip.version:
        raise ValueError(f"{source} and {destination} are not of the same IP version")
    head: bytes = b"".join(parse_value(mac, "mac").to_bytes(6, "big") for mac in (eth_dst, eth_src))
    if vlan is not None:
        if not isinstance(vlan, int) or not 0 <= vlan < 4096:
            raise ValueError(f"a VLAN is 0 to 4095, not {shown(vlan)}")
        head += b"\x81\0" + vlan.to_bytes(2, "big")
    addresses: bytes = source_ip.packed + destination_ip.packed
    if source_ip.version == 4:
        ip = b"\x08\0" + bytes.fromhex("4500001c000000004011") + b"\0\0" + addresses
    else:
        ip = b"\x86\xdd" + bytes.fromhex("6000000000081140") + addresses
    return head + ip + sport.to_bytes(2, "big") + dport.to_bytes(2, "big") + b"\0\x08\0\0"


def _endpoint(text: str) -> tuple[Any, int]:
    address, colon, port = str(text).rpartition(":")
    try:
        if not colon or not port.isdecimal() or not 0 <= int(port[:9]) <= 65535:
            raise ValueError
        return ip_address(address.removeprefix("[").removesuffix("]")), int(port)
    except ValueError:
        raise ValueError(f"{shown(text)} is not ADDRESS:PORT or [ADDRESS]:PORT") from None


def pcap_frame(path: str | os.PathLike[str]) -> bytes:
    """The first packet of a capture. Raises CaptureError, OSError, ValueError if it has none."""
    with Capture(path) as capture:
        cursor = capture.cursor(limit=1)
        burst = Burst(1)
        cursor.read(burst)
        if not len(burst):
            raise ValueError(f"{os.fspath(path)}: there is no packet in it")
        return burst[0]


def _yaml(text: str) -> Any:
    try:
        import yaml  # type: ignore[import-untyped, unused-ignore]
    except ImportError:
        raise ValueError("YAML needs PyYAML: pip install 'fastring[yaml]', or write it in TOML or JSON") from None
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(" ".join(str(error).split())) from None


FORMATS: dict[str, Callable[[str], Any]] = {".toml": tomllib.loads, ".json": json.loads, ".yaml": _yaml, ".yml": _yaml}


def read_stream_file(path: str | os.PathLike[str]) -> StreamFile:
    """Read a description. Raises OSError, ValueError if it is none, StreamError with a line for each mistake in it."""
    name = os.fspath(path)
    load = FORMATS.get(Path(name).suffix)
    if load is None:
        raise ValueError(f"{name}: a description of streams ends in {', '.join(FORMATS)}")
    with open(path, "rb") as file:
        data = file.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise ValueError(f"{name}: a description of streams has {MOST_BYTES} bytes at most")
    try:
        described = load(data.decode())
    except (ValueError, RecursionError) as error:  # of tomllib, json and decode
        raise ValueError(f"{name}: {error}") from None
    try:
        return parse_streams(described, folder=Path(name).parent)
    except StreamError as error:
        raise StreamError([f"{name}: {mistake}" for mistake in error.mistakes]) from None


def parse_streams(described: Any, *, folder: Path) -> StreamFile:
    """Streams from a description, a dict. Captures it names lie in `folder`. Raises StreamError."""
    mistakes: list[str] = []
    if not isinstance(described, Mapping):
        raise StreamError(["it is a table with a list `stream`"])
    for key in described:
        if key not in (*RUN_KEYS, "stream"):
            mistakes.append(f"there is no {shown(key)}: it has {', '.join(RUN_KEYS)} and stream")
    for key, kinds in SETTINGS.items():
        value = described.get(key)
        if value is not None and (not isinstance(value, kinds) or (isinstance(value, bool) and kinds is not bool)):
            mistakes.append(
                f"{key}: it is {'true or false' if kinds is bool else 'a number' if kinds is not str else 'text'}, not {shown(value)}"
            )
    entries = described.get("stream")
    if not isinstance(entries, list) or not entries:
        raise StreamError([*mistakes, "stream: it is a list of one or more streams"])
    streams = [_stream(number, entry, folder, mistakes) for number, entry in enumerate(entries)]
    if mistakes:
        raise StreamError(mistakes)
    return StreamFile(streams, {key: described[key] for key in RUN_KEYS if key in described})


def _stream(number: int, entry: Any, folder: Path, mistakes: list[str]) -> Stream:
    stream = Stream(b"")
    if not isinstance(entry, Mapping):
        mistakes.append(f"stream {number}: it is a table")
        return stream
    label = Stream(b"", name=str(entry.get("name", ""))).label(number)
    for key, value in entry.items():
        if key not in STREAM_KEYS:
            mistakes.append(f"{label}: there is no {shown(key)}: it has {', '.join(STREAM_KEYS)}")
        elif key == "template":
            stream.template = _template(label, value, folder, mistakes)
        elif key == "phases":
            stream.phases = _phases(label, value, mistakes)
        elif key == "fields" and not isinstance(value, Mapping):
            mistakes.append(f"{label}: fields: it is a table of names and values")
        elif key == "signature" and not isinstance(value, bool):
            mistakes.append(f"{label}: signature: it is true or false, not {shown(value)}")
        else:
            setattr(stream, key, str(value) if key == "name" else value)
    if "template" not in entry:
        mistakes.append(f"{label}: template: it has none")
    return stream


def _phases(label: str, value: Any, mistakes: list[str]) -> list[Phase]:
    if not isinstance(value, list) or not all(isinstance(phase, Mapping) and set(phase) <= set(PHASE_KEYS) for phase in value):
        mistakes.append(f"{label}: phases: it is a list of tables with {', '.join(PHASE_KEYS)}")
        return []
    return [Phase(**phase) for phase in value]


def _template(label: str, value: Any, folder: Path, mistakes: list[str]) -> bytes:
    """`udp = "SRC:PORT,DST:PORT"` with eth_src, eth_dst, vlan; or `hex`, or `pcap` for a capture's first packet."""
    try:
        if not isinstance(value, Mapping) or not set(value) <= set(TEMPLATE_KEYS) or sum(key in value for key in TEMPLATE_KEYS[:3]) != 1:
            raise ValueError("it is a table with one of udp, hex and pcap; beside udp there may be eth_src, eth_dst and vlan")
        if "hex" in value:
            return bytes.fromhex(str(value["hex"]))
        if "pcap" in value:
            return pcap_frame(folder / str(value["pcap"]))
        ends = str(value["udp"]).split(",")
        if len(ends) != 2:
            raise ValueError(f"{shown(value['udp'])} is not ADDRESS:PORT,ADDRESS:PORT")
        return udp_frame(*ends, **{key: value[key] for key in ("eth_src", "eth_dst", "vlan") if key in value})
    except (ValueError, OSError) as error:
        mistakes.append(f"{label}: template: {error.strerror if isinstance(error, OSError) and error.strerror else error}")
        return bytes(60)
