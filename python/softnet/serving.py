"""Serving: cards on UNIX sockets for virtual machines, each on a wire, or all on one switch."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from e1000.device import E1000Device
from e1000.device.arguments import parse_mac
from e1000.strict import Breach
from e1000.trace import Trace
from e1000.vfio_user import VfioUserServer, serve
from fastring.clock import MonotonicClock
from fastring.switch import Switch
from fastring.wire import Wire
from softnet.link_watch import LinkWatch, interface_of
from softnet.wire import open_wire

DEFAULT_MAC = 0x525400123456  # as QEMU's first


@dataclass
class ServedResult:
    """What became of one card: `clients` that came, `accesses` to its registers, messages that were `refused`, `drops` by reason."""

    socket: str
    mac: str
    clients: int = 0
    accesses: int = 0
    refused: int = 0
    drops: dict[str, int] = field(default_factory=dict)
    breaches: int | None = None  # None: not strict


@dataclass
class ServingResult:
    """What became of all of them."""

    cards: list[ServedResult]
    trace_lost: int = 0

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


class Serving:
    """Cards at `sockets`, on `wire`: more than one share it by a switch. `run` serves until it is interrupted.

    One alone on an interface of the host has a link as long as that has its carrier; those on a switch have theirs to the switch.
    `mac`: of the first card; each other one's is one more. `eeprom`: a file that the card begins with if it is there, and that is written
    whenever a client leaves. `strict`: `tell` hears of each breach. `trace`: a file for all that happens.
    `map_doorbells`: as VfioUserServer's. Raises OSError, ValueError.
    """

    def __init__(
        self,
        sockets: Sequence[str],
        wire: str,
        *,
        mac: str | None = None,
        eeprom: str | os.PathLike[str] | None = None,
        strict: bool = False,
        trace: str | None = None,
        map_doorbells: bool = False,
        tell: Callable[[str], object] = lambda text: None,
    ) -> None:
        if eeprom is not None and len(sockets) > 1:
            raise ValueError("one EEPROM is for one card")
        if map_doorbells and (strict or trace is not None):
            raise ValueError("mapped doorbells are not seen as they are rung: without them, or without trace and strict mode")
        self.clock = MonotonicClock()
        self.tell = tell
        self.eeprom = None if eeprom is None else Path(eeprom)
        if self.eeprom is not None and self.eeprom.exists() and not self.eeprom.is_file():
            raise ValueError(f"the EEPROM {self.eeprom} is no file")
        self.unsaved: OSError | None = None  # why the EEPROM could not be written last
        self.trace: Trace | None = None
        self.servers: list[VfioUserServer] = []
        with ExitStack() as undo:
            cabling = open_wire(wire, clock=self.clock)
            undo.callback(cabling.close)
            if cabling.far is not None:
                raise ValueError(f"the wire {wire!r}: nobody is at its other end")
            self._wire = cabling.near
            self.link = self._watch(cabling.near, undo) if len(sockets) == 1 else None
            wires = [cabling.near]
            if len(sockets) > 1:
                switch = Switch(clock=self.clock)
                undo.callback(switch.close)
                switch.connect(cabling.near, wire)
                wires = [switch.port(path) for path in sockets]
            first = DEFAULT_MAC if mac is None else int.from_bytes(parse_mac(mac), "big")
            for number, (path, end) in enumerate(zip(sockets, wires, strict=True)):
                known = self.eeprom if self.eeprom is not None and self.eeprom.exists() else None
                card = E1000Device(
                    mac=None if known is not None and mac is None else (first + number).to_bytes(6, "big").hex(":"),
                    eeprom=known,
                    wire=end,
                    clock=self.clock,
                    strict=self._breach if strict else False,
                )
                undo.callback(card.close)
                server = undo.enter_context(VfioUserServer(card, path, map_doorbells=map_doorbells))
                server.on_client = self._client
                self.servers.append(server)
            self._write_eeprom()  # now is the time to find out whether that can be done
            if trace is not None:
                self.trace = undo.enter_context(Trace([server.device for server in self.servers], trace, clock=self.clock))
            self._undo = undo.pop_all()

    def _watch(self, wire: Wire, undo: ExitStack) -> LinkWatch | None:
        name = interface_of(wire)
        if name is None:
            return None
        try:
            return undo.enter_context(closing(LinkWatch(name)))
        except OSError as error:  # a sandbox without netlink, say
            self.tell(f"{name}: its carrier is not followed: {error}")
            return None

    def _follow_link(self) -> bool:
        """Pull the cable when the carrier is gone, and plug it in when it is back; or the interface is no more: then the wire tells why."""
        if self.link is not None and self.link.look():
            card, plugged = self.servers[0].device, self.link.carrier is not False
            if plugged != (card.wire is not None):
                self.tell(f"{self.link.interface}: {'carrier' if plugged else 'no carrier'}")
                if plugged:
                    card.plug(self._wire)
                else:
                    card.unplug()
        return False

    def _breach(self, breach: Breach) -> None:
        self.tell(f"{breach}")

    def _client(self, server: VfioUserServer, came: bool) -> None:
        self.tell(f"{server.path}: {'a client came' if came else 'the client is gone'}")
        if not came:
            self._save()

    def _save(self) -> None:
        """Write the EEPROM; that it cannot be is no reason to take a card from its guest."""
        try:
            self._write_eeprom()
            self.unsaved = None
        except OSError as error:
            self.unsaved = error
            self.tell(f"the EEPROM is not saved: {self.eeprom}: {error.strerror}")

    def _write_eeprom(self) -> None:
        """Over what is there, which a disk that is full takes too."""
        if self.eeprom is None:
            return
        new = not self.eeprom.exists()
        file = os.open(self.eeprom, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            os.pwrite(file, self.servers[0].device.eeprom, 0)
        except OSError as error:
            if new:
                self.eeprom.unlink()  # or it is refused the next time
            raise OSError(error.errno, error.strerror, str(self.eeprom)) from None
        finally:
            os.close(file)

    def run(self) -> ServingResult:
        """Serve until Ctrl-C. Raises OSError when the wire fails."""
        try:
            self.tell(f"ready at {', '.join(server.path for server in self.servers)}")
            serve(self.servers, until=self._follow_link, wake=None if self.link is None else self.link.fileno())
        except KeyboardInterrupt:
            pass
        finally:
            self._save()
        return self.result()

    def result(self) -> ServingResult:
        """What became of them so far."""
        cards = []
        for server in self.servers:
            device, served = server.device, server.served
            wire = device.wire or self._wire
            lost = {reason: count for reason, count in (device.drops | wire.drops).items() if count}
            breaches = None if device.breaches is None else len(device.breaches)
            accesses = served.reads + served.writes
            cards.append(ServedResult(server.path, device.mac, server.clients, accesses, served.refused, lost, breaches))
        return ServingResult(cards, 0 if self.trace is None else self.trace.lost)

    def close(self) -> None:
        """Hang up on everybody; again is harmless. Raises OSError if the wire lost something in closing."""
        self._undo.close()

    def __enter__(self) -> Serving:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.close()
