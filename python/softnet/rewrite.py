"""Edits and filters as tcprewrite and tcpdump spell them, and captures rewritten by them."""

from __future__ import annotations

import ipaddress
import os
import re
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from typing import Any

from fastring.bpf import FilterSource, Program
from fastring.burst import Burst, BurstSource
from fastring.capture import Capture, CaptureError
from fastring.capture_selection import SelectingCursor, Selection
from fastring.capture_summary import CaptureSummary
from fastring.capture_writer import CaptureWriter
from fastring.pump import pump
from fastring.rewrite import Edits, Rewriter
from softnet.tcpprep import check_cache, read_cache

IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network
MapPair = tuple[IPNetwork, IPNetwork]
VLAN_PROTOCOLS = {"802.1q": 0x8100, "802.1ad": 0x88A8}
MAC = re.compile(r"[0-9A-Fa-f]{1,2}(:[0-9A-Fa-f]{1,2}){5}")
COUNTS = ("filtered", "edited", "deleted", "malformed", "unchecked")
MAX_PADDED = 262144
BURST = 256
ROUNDS = 64  # bursts between two looks at signals


def parse_macs(text: str) -> tuple[bytes | None, bytes | None]:
    """`--enet-dmac`: an address for clients' packets, and behind a comma one for servers'; either may be left out."""
    parts = text.split(",")
    if len(parts) > 2 or not any(parts):
        raise ValueError(f"{text!r} is not one MAC address, or two with a comma between them")
    for part in parts:
        if part and not MAC.fullmatch(part):
            raise ValueError(f"{part!r} is no MAC address: six bytes in hexadecimal, such as 02:00:00:00:00:01")
    addresses = [bytes(int(byte, 16) for byte in part.split(":")) if part else None for part in parts]
    return addresses[0], addresses[1] if len(addresses) == 2 else None


def _network(text: str) -> IPNetwork:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise ValueError(f"{text!r} is no network: an address with the length of its prefix, such as 10.0.0.0/8 or [fd00::/8]") from None


def parse_ipmap(text: str) -> list[MapPair]:
    """`--srcipmap`, `--dstipmap`, `--pnat`: FROM:TO with a comma between several; IPv6 in brackets."""
    maps = []
    for item in text.split(","):
        sides = re.fullmatch(r"\[([^][]*)\]:\[([^][]*)\]|([^][:]*):([^][:]*)", item)
        if sides is None:
            raise ValueError(f"{item!r} is no map of networks: FROM:TO, such as 10.0.0.0/8:192.168.0.0/16 or [2001:db8::/32]:[fd00::/32]")
        match, to = (_network(side) for side in sides.groups() if side is not None)
        if match.version != to.version:
            raise ValueError(f"{item!r} maps IPv{match.version} to IPv{to.version}: both sides are of one version")
        maps.append((match, to))
    return maps


def _port(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,5}", text) or int(text) > 65535:
        raise ValueError(f"{text!r} is no port: 0 to 65535")
    return int(text)


def parse_portmap(text: str) -> list[tuple[int, int, int]]:
    """`--portmap`: FROM:TO with commas between several; FROM is a port, a range A-B or a list A+B (or A,B)."""
    maps, waiting = [], []
    for item in text.split(","):
        matches, colon, to = item.partition(":")
        if "-" in matches and "+" in matches:
            raise ValueError(f"{matches!r} is a range or a list of ports, not both")
        for match in matches.split("+"):
            first, dash, last = match.partition("-")
            waiting.append((_port(first), _port(last) if dash else _port(first)))
            if waiting[-1][0] > waiting[-1][1]:
                raise ValueError(f"{match!r} is no range of ports: it ends before it starts")
        if colon:
            maps += [(first, last, _port(to)) for first, last in waiting]
            waiting.clear()
    if waiting:
        raise ValueError(f"{text!r} does not say what becomes of the ports at its end: FROM:TO, such as 80:8080 or 8000-8999:80")
    return maps


def parse_ttl(text: str) -> tuple[str, int]:
    """`--ttl`: N sets it, +N and -N change it, within 1 to 255."""
    match = re.fullmatch(r"([+-]?)([0-9]{1,3})", text)
    if match is None or int(match[2]) > 255:
        raise ValueError(f"{text!r} is no TTL: 0 to 255, or a change of it such as +1 or -1")
    return match[1], int(match[2])


def parse_vlan_protocol(text: str) -> int:
    """`--enet-vlan-proto`: 802.1q or 802.1ad."""
    if text.lower() not in VLAN_PROTOCOLS:
        raise ValueError(f"{text!r} is no VLAN protocol: 802.1q or 802.1ad")
    return VLAN_PROTOCOLS[text.lower()]


def make_edits(options: dict[str, Any]) -> Edits | None:
    """Edits of `options`, their names those of tcprewrite with _ for -, their values as the functions above return them; None for none.

    What is None or False was not asked for. Raises ValueError where options contradict each other.
    """
    wanted = {name: value for name, value in options.items() if value is not None and value is not False}
    truncates = wanted.pop("mtu_trunc", False)
    mtu = wanted.pop("mtu", None)
    if truncates:
        wanted["mtu"] = 1500 if mtu is None else mtu
    vlan = sorted(name for name in wanted if name.startswith("enet_vlan_"))
    if vlan and "enet_vlan" not in wanted:
        raise ValueError(f"--{vlan[0].replace('_', '-')} is for --enet-vlan=add")
    if wanted.get("enet_vlan") == "add" and "enet_vlan_tag" not in wanted:
        raise ValueError("--enet-vlan=add needs the tag: --enet-vlan-tag=N, 0 to 4095")
    if "pnat" in wanted and ("srcipmap" in wanted or "dstipmap" in wanted):
        raise ValueError("--pnat maps both addresses: not with --srcipmap or --dstipmap")
    if len(wanted.get("pnat", ())) > 2:
        raise ValueError("--pnat is given once, or twice: for clients' addresses and for servers'")
    if "portmap" in wanted:
        wanted["portmap"] = [entry for maps in wanted["portmap"] for entry in maps]
    return Edits(**wanted) if wanted else None


class Editing:
    """What packets go through between a capture and what becomes of them: `filter`, a tcpdump expression, then `edits`.

    Raises ValueError for a bad expression, OSError without libpcap.
    """

    def __init__(self, *, edits: Edits | None = None, filter: str | None = None) -> None:
        self.edits = edits
        self.program = None if filter is None else Program(filter)

    def longest(self, summary: CaptureSummary) -> int:
        """Bytes that a packet of a capture has afterwards at most; those padded to what they were on their wire may have any number."""
        if self.edits is None:
            return summary.longest or 0
        return MAX_PADDED if self.edits.pads and summary.truncated else (summary.longest or 0) + self.edits.growth


class EditedSource:
    """`source` is that of others, filtered and edited; of servers' packets Frame.queue is 1. `limit`: of packets that match the filter."""

    def __init__(self, source: BurstSource, editing: Editing, *, limit: int | None = None) -> None:
        self._filter = None if editing.program is None else FilterSource(source, editing.program, limit=limit)
        source = source if self._filter is None else self._filter
        self._rewriter = None if editing.edits is None else Rewriter(source, editing.edits, server=None)
        self.source = source if self._rewriter is None else self._rewriter

    @property
    def counts(self) -> dict[str, int]:
        """Packets `filtered` (left out), `edited`, `deleted` (by --fixlen=del), `malformed` and `unchecked` so far."""
        counts = {name: 0 if self._rewriter is None else int(getattr(self._rewriter, name)) for name in COUNTS[1:]}
        return {"filtered": 0 if self._filter is None else self._filter.filtered, **counts}

    @property
    def withheld(self) -> int:
        """Packets that came in and did not go out."""
        counts = self.counts
        return counts["filtered"] + counts["deleted"]


@dataclass
class RewriteResult:
    """What became of a capture's packets: `read` = `written` + `filtered` + `deleted` + `failed`; `unselected` were not read.

    `malformed`: edited as far as their headers can be believed; `unchecked`: with a checksum to make anew whose bytes are not all there.
    """

    read: int = 0
    written: int = 0
    filtered: int = 0
    edited: int = 0
    deleted: int = 0
    malformed: int = 0
    unchecked: int = 0
    failed: int = 0
    unselected: int = 0
    complete: bool = True
    interrupted: bool = False
    problems: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def rewrite(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    editing: Editing,
    *,
    cachefile: str | os.PathLike[str] | None = None,
) -> RewriteResult:
    """Write a capture's packets to another, filtered and edited, with their times and the lengths they had on their wire.

    `cachefile`: tcpprep's, which says whose packets they are; those not to be sent are left out. In constant memory. The format is what the
    name of `target` ends in (.pcapng, or else pcap with nanoseconds). Ctrl-C ends it early. Raises CaptureError, OSError or ValueError for
    what cannot be opened; what goes wrong later is in the result.
    """
    result = RewriteResult()
    with ExitStack() as undo:
        capture = undo.enter_context(Capture(source))
        cursor = capture.cursor() if cachefile is None else _select(capture, cachefile)
        writer = undo.enter_context(CaptureWriter(target))
        edited, burst = EditedSource(cursor, editing), Burst(BURST)
        try:
            while pump(edited.source, writer, burst, rounds=ROUNDS):
                pass
            if cursor.broken_off is not None:
                raise cursor.broken_off
        except KeyboardInterrupt:
            result.interrupted, result.complete = True, False
            result.problems.append("interrupted")
        except (CaptureError, OSError, ValueError) as error:
            result.complete = False
            result.problems.append(_reason(error))
        try:
            writer.close()
        except (OSError, ValueError) as error:
            result.complete = False
            if _reason(error) not in result.problems:
                result.problems.append(_reason(error))
        for name, packets in edited.counts.items():
            setattr(result, name, packets)
        if isinstance(cursor, SelectingCursor):
            result.unselected = cursor.unselected
        result.read, result.written, result.failed = cursor.frames, writer.packets, writer.lost + writer.unstampable
    return result


def _select(capture: Capture, cachefile: str | os.PathLike[str]) -> SelectingCursor:
    directions, packets = read_cache(cachefile)
    selection = Selection(cache=directions, cached=packets)
    check_cache(cachefile, selection, capture, capture.scan())
    return SelectingCursor(capture, selection)


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error)
