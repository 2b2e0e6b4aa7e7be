"""What the wires over sockets share: HOST:PORT, options, and errors that name what they are about."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

from softnet.wire.spec import switch, whole

MOST_WAIT = 86_400_000  # ms between two attempts to connect

BUFFERED = 1 << 20  # bytes of socket memory asked for each way; the kernel gives what net.core.wmem_max and rmem_max allow

STREAM_OPTIONS: dict[str, Callable[[str], Any]] = {"server": switch, "reconnect-ms": whole(1, MOST_WAIT)}


class Address(NamedTuple):
    """A resolved HOST:PORT."""

    family: socket.AddressFamily
    address: tuple[Any, ...]
    text: str

    @property
    def multicast(self) -> bool:
        """Whether it is a group."""
        number = socket.inet_pton(self.family, self.address[0].partition("%")[0])
        return number[0] == 0xFF if self.family == socket.AF_INET6 else number[0] >> 4 == 0xE


def parse_address(text: str, kind: socket.SocketKind, *, like: Address | None = None, port_needed: bool = True) -> Address:
    """Resolve HOST:PORT; an IPv6 address stands in brackets, an empty host is any. `like`: of its family.

    Raises ValueError for what is no HOST:PORT, OSError with `text` as its filename for a host that is not found.
    """
    host, colon, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if not port_needed and (not colon or text.endswith("]")):
        host, colon, port = text, ":", "0"
        bracketed = host.startswith("[") and host.endswith("]")
    if not colon or not (port.isascii() and port.isdecimal() and len(port) < 6 and int(port) < 65536) or (":" in host and not bracketed):
        raise ValueError(f"it is HOST:PORT, or [IPV6]:PORT, not {text!r}")
    family = socket.AF_UNSPEC if like is None else like.family
    flags = socket.AI_PASSIVE | socket.AI_NUMERICSERV
    try:
        found = socket.getaddrinfo(host.strip("[]") or None, int(port), family, kind, flags=flags)
    except (socket.gaierror, UnicodeError) as error:
        reason = error.strerror if isinstance(error, socket.gaierror) else "it is no host's name"
        raise OSError(errno.EADDRNOTAVAIL, f"no such address: {reason}", text) from None
    return Address(found[0][0], found[0][4], text)


@contextmanager
def named(path: str) -> Iterator[None]:
    """An OSError from inside names `path`."""
    try:
        yield
    except OSError as error:
        if error.filename is not None:
            raise
        raise OSError(error.errno, os.strerror(error.errno or 0), path) from None


def retry_seconds(kind: str, options: Mapping[str, Any]) -> float | None:
    """The option reconnect-ms in seconds. Raises ValueError if a server is told it."""
    pause = options.get("reconnect-ms")
    if pause is not None and options.get("server"):
        raise ValueError(f"the wire '{kind}': reconnect-ms is a client's; a server waits for the next by itself")
    return None if pause is None else pause / 1000


def enlarge(one: socket.socket) -> None:
    """Ask for more room in a socket, for bursts."""
    for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
        one.setsockopt(socket.SOL_SOCKET, option, BUFFERED)


def connecting(family: socket.AddressFamily, address: Any) -> socket.socket:
    """A stream socket on its way to an address, or there already. Raises OSError if that cannot be."""
    new = socket.socket(family, socket.SOCK_STREAM)
    try:
        new.setblocking(False)
        try:
            new.connect(address)
        except BlockingIOError as error:
            if error.errno != errno.EINPROGRESS:
                raise
    except BaseException:
        new.close()
        raise
    return new
