"""How a segment comes from one process to another: its descriptor over a UNIX socket, with those of its rings' bells (SCM_RIGHTS).

One message a connection: JSON with the segment's name and the rings whose eventfds follow, and the descriptors. Who may connect is the
socket file's mode. Nothing is read from who connects, so it can neither hold up nor confuse who hands out.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import socket
import stat
import threading
import time
from typing import TYPE_CHECKING, Self

from fastring.memory import Arena

if TYPE_CHECKING:
    from fastring.segment import Segment

GREETING = "fastring segment 1"
MOST_DESCRIPTORS = 1 + 2 * 96


class Handover:
    """A listening socket at `path` and the thread that answers; made by ``Segment.listen``, ended by ``close``.

    A socket file that nobody listens at any more is replaced. Raises OSError EADDRINUSE for one where somebody does.
    """

    def __init__(self, segment: Segment, path: str | os.PathLike[str], mode: int) -> None:
        self.path = os.fspath(path)
        self._segment = segment
        self._pid = os.getpid()
        self._closing = False
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            self._bind(mode)
        except BaseException:
            self._socket.close()
            raise
        self._thread = threading.Thread(target=self._answer, name=f"fastring handover {self.path}", daemon=True)
        self._thread.start()

    def _bind(self, mode: int) -> None:
        with contextlib.suppress(FileNotFoundError):
            if stat.S_ISSOCK(os.stat(self.path).st_mode):
                with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as probe, contextlib.suppress(ConnectionRefusedError):
                    probe.setblocking(False)
                    with contextlib.suppress(BlockingIOError):  # as many wait there as may
                        probe.connect(self.path)
                    raise FileExistsError(errno.EADDRINUSE, "somebody hands out a segment there already", self.path)
                os.unlink(self.path)
        umask = os.umask(0o777 & ~mode)
        try:
            self._socket.bind(self.path)
        finally:
            os.umask(umask)
        self._socket.listen(16)

    def _answer(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                if self._closing or self._pid != os.getpid():
                    return
                time.sleep(0.1)  # out of descriptors, say: later there may be some
                continue
            with connection, contextlib.suppress(OSError, ValueError):  # ValueError: the segment was closed before its handover
                eventfds = self._segment.eventfds
                message = json.dumps({"greeting": GREETING, "name": self._segment.name, "eventfds": list(eventfds)})
                descriptors = [self._segment.arena.fileno(), *(fd for pair in eventfds.values() for fd in pair)]
                connection.setblocking(False)
                socket.send_fds(connection, [message.encode()], descriptors)

    def close(self) -> None:
        """Stop handing out, and remove the socket file. Again is harmless; a forked child only lets go of its copy."""
        if self._socket.fileno() < 0:
            return
        if self._pid != os.getpid():
            self._socket.close()
            return
        self._closing = True
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Handover: segment {self._segment.name!r} at {self.path}>"


def receive(path: str | os.PathLike[str] | socket.socket, timeout: float) -> tuple[str, Arena, dict[str, tuple[int, int]]]:
    """What is handed out at `path`: the segment's name, its memory, its rings' eventfds. The descriptors are the caller's.

    Waits up to `timeout` seconds for somebody to listen there. Raises ForeignSegment when what comes is no segment; OSError.
    """
    if isinstance(path, socket.socket):
        return _read(path, timeout)
    until = time.monotonic() + timeout
    while True:
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
            connection.settimeout(max(0.01, timeout))
            try:
                connection.connect(os.fspath(path))
            except (FileNotFoundError, ConnectionRefusedError, BlockingIOError):  # the last: as many wait there as may
                if not time.monotonic() < until:
                    raise
                time.sleep(0.02)
                continue
            return _read(connection, timeout)


def _read(connection: socket.socket, timeout: float) -> tuple[str, Arena, dict[str, tuple[int, int]]]:
    from fastring.segment import ForeignSegment

    connection.settimeout(max(0.01, timeout))
    message, descriptors, _, _ = socket.recv_fds(connection, 1 << 16, MOST_DESCRIPTORS)
    try:
        segment, names = _parse(message)
        if len(descriptors) != 1 + 2 * len(names):
            raise ValueError(f"{len(descriptors)} descriptors for {len(names)} rings with eventfds")
        arena = Arena.attach(descriptors[0])
        pairs = {name: (os.dup(descriptors[1 + 2 * i]), os.dup(descriptors[2 + 2 * i])) for i, name in enumerate(names)}
        return segment, arena, pairs
    except (ValueError, OSError, RecursionError) as error:
        raise ForeignSegment(f"what was handed over is no segment of fastring's: {error}") from None
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def _parse(message: bytes) -> tuple[str, list[str]]:
    """The segment's name, and the names of the rings whose eventfds follow."""
    said = json.loads(message or b"null")
    if not isinstance(said, dict) or said.get("greeting") != GREETING:
        raise ValueError(f"it does not begin with {GREETING!r}")
    name, rings = said.get("name"), said.get("eventfds")
    if not isinstance(name, str) or not isinstance(rings, list) or not all(isinstance(ring, str) for ring in rings):
        raise ValueError("its name or rings are missing")
    if len(set(rings)) < len(rings):
        raise ValueError("two of its rings have one name")
    return name, rings
