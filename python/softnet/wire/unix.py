"""`unix:` and `unix-stream:`: frames over UNIX sockets, as QEMU's -netdev dgram and -netdev stream have them."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from contextlib import suppress

from fastring.clock import Clock
from fastring.socket_wire import DatagramWire
from fastring.stream_wire import StreamWire
from softnet.control.sockets import check_path, is_dead, listen
from softnet.wire.cabling import Cabling, host_cabling
from softnet.wire.socket_address import STREAM_OPTIONS, connecting, enlarge, named, retry_seconds
from softnet.wire.spec import parse_argument


def open_unix(argument: str, clock: Clock) -> Cabling:
    """A datagram socket at a path, connected to that at another. Raises OSError if something else has the path."""
    path, options = parse_argument("unix", argument, {"remote": str}, name="path")
    remote = options.get("remote")
    if remote == "":
        raise ValueError("the wire 'unix': remote: it is a path")
    for one in filter(None, (path, remote)):
        check_path(one)
    own = _bind(path)
    return host_cabling(DatagramWire(own, peer=remote, name=f"unix:{path}", on_close=_remover(path)))


def open_unix_stream(argument: str, clock: Clock) -> Cabling:
    """A stream socket: connected to a path, or with server=on listening there."""
    path, options = parse_argument("unix-stream", argument, STREAM_OPTIONS, name="path")
    check_path(path)
    retry, name = retry_seconds("unix-stream", options), f"unix-stream:{path}"
    if options.get("server"):
        listener = listen(path, socket.SOCK_STREAM)
        return host_cabling(StreamWire(listener=listener, name=name, on_close=_remover(path)))
    with named(path):
        return host_cabling(StreamWire(connect=lambda: connecting(socket.AF_UNIX, path), retry=retry, name=name))


def _bind(path: str) -> socket.socket:
    """A datagram socket at a path. One left behind by a process that ended is replaced; raises OSError, named, for all else."""
    own = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        with named(path):
            try:
                own.bind(path)
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
                if not is_dead(path, socket.SOCK_DGRAM):
                    raise OSError(errno.EADDRINUSE, "somebody receives there, or it is no datagram socket", path) from None
                os.unlink(path)
                own.bind(path)
        enlarge(own)
    except BaseException:
        own.close()
        raise
    return own


def _remover(path: str) -> Callable[[], None]:
    """What removes the socket at a path that is ours now, unless another has taken its place by then."""
    ours = os.lstat(path)

    def remove() -> None:
        with suppress(OSError):
            there = os.lstat(path)
            if (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino):
                os.unlink(path)

    return remove
