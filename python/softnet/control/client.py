"""ControlClient: ask a running stack, from another process; and how to find one."""

from __future__ import annotations

import errno
import json
import os
import time
from typing import Any

from softnet.control import sockets

TIMEOUT = 90.0  # seconds: a self-test takes its time
GREETING = 5.0  # seconds until a server has said who it is


class ControlError(OSError):
    """What the other process answered: its errno and line. `extack`: the kernel's words for it, if it has any."""

    extack: str | None = None


class ControlClient:
    """A connection to the ControlServer at `path`.

    Raises OSError: ENOENT, ECONNREFUSED, EACCES; EAGAIN if too many others wait; EPROTO if it is no ControlServer.
    """

    def __init__(self, path: str | os.PathLike[str], *, timeout: float = TIMEOUT) -> None:
        self.path = os.fspath(path)
        sockets.check_path(self.path)
        self._socket = sockets.new_socket()
        try:
            self._socket.settimeout(min(timeout, GREETING))
            self._connect(time.monotonic() + min(timeout, GREETING))
            hello = self._read()
            if hello.get("fastring") != 1:
                raise OSError(errno.EPROTO, "who answers is no fastring of this version", self.path)
            self._socket.settimeout(timeout)
        except BaseException:
            self._socket.close()
            raise
        self.pid, self.name = hello.get("pid"), hello.get("name")

    def _connect(self, deadline: float) -> None:
        while True:
            try:
                return self._socket.connect(self.path)
            except BlockingIOError:  # its backlog is full: the kernel waits for no socket that has a timeout
                if time.monotonic() >= deadline:
                    raise BlockingIOError(errno.EAGAIN, "too many others wait to be served", self.path) from None
                time.sleep(0.01)
            except OSError as error:
                number = error.errno or errno.ETIMEDOUT
                raise OSError(number, os.strerror(number), self.path) from None

    def call(self, method: str, **parameters: Any) -> Any:
        """Ask; returns the result. Raises ControlError for what was answered, other OSErrors if nobody answers."""
        message = json.dumps({"method": method, **parameters}).encode()
        if len(message) > sockets.MAX_MESSAGE:
            raise OSError(errno.EMSGSIZE, f"a request has at most {sockets.MAX_MESSAGE} bytes", self.path)
        try:
            self._socket.sendall(message)
        except (BrokenPipeError, ConnectionResetError):
            raise ConnectionResetError(errno.ECONNRESET, "its process has gone", self.path) from None
        return self._read().get("result")

    def _read(self) -> dict[str, Any]:
        try:
            message = self._socket.recv(sockets.MAX_MESSAGE)
        except TimeoutError:
            raise TimeoutError(errno.ETIMEDOUT, "no answer", self.path) from None
        except ConnectionResetError:
            message = b""
        if not message:
            raise ConnectionResetError(errno.ECONNRESET, "its process has gone", self.path)
        try:
            answer = json.loads(message)
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, dict):
            raise OSError(errno.EPROTO, "who answers is no fastring", self.path)
        if "error" in answer:
            told = answer["error"]
            error = ControlError(told["errno"], told["text"])
            error.extack = told.get("extack")
            raise error
        return answer

    def close(self) -> None:
        """Disconnect; again is harmless."""
        self._socket.close()

    def __enter__(self) -> ControlClient:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<ControlClient {self.path}>"


def running(pid: int | None = None) -> list[tuple[int, str, str]]:
    """(pid, name, path) of the stacks that are served on this machine, of one process or of all. Dead sockets are removed."""
    return [found for found in sockets.sockets() if pid is None or found[0] == pid]


def find(*, pid: int | None = None, path: str | os.PathLike[str] | None = None) -> ControlClient:
    """Connect to the stack at `path`, of the process `pid`, or the only one there is. Raises OSError ENOENT, or EINVAL for several."""
    if path is not None:
        return ControlClient(path)
    found = running(pid)
    if not found:
        whose = "no process here serves a card" if pid is None else f"process {pid} does not run, or serves none"
        raise OSError(errno.ENOENT, f"{whose}: start one with `fastring replay --control` or softnet.control.ControlServer")
    if len(found) > 1:
        those = ", ".join(f"{path} (pid {number})" for number, _, path in found)
        raise OSError(errno.EINVAL, f"there are several, say which with --pid or --socket: {those}")
    return ControlClient(found[0][2])
