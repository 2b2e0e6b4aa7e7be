"""Where control sockets are, and how one comes and goes so that no other is in its way."""

from __future__ import annotations

import errno
import os
import re
import socket
import stat
from contextlib import suppress
from pathlib import Path

MAX_MESSAGE = 1 << 16  # bytes of one request or answer
SUN_PATH = 107  # bytes of a socket's path, without the NUL
SOCKET_NAME = re.compile(r"(?P<pid>[1-9][0-9]{0,9})-(?P<name>[A-Za-z0-9_.]{1,32})\.sock")


def runtime_directory() -> Path:
    """$XDG_RUNTIME_DIR/fastring; without it /run/fastring for root, else /run/user/UID/fastring. It need not exist."""
    base = os.environ.get("XDG_RUNTIME_DIR") or ("/run" if os.geteuid() == 0 else f"/run/user/{os.geteuid()}")
    return Path(base) / "fastring"


def make_runtime_directory() -> Path:
    """The same, made 0700 if it is not there. Raises OSError: EPERM if somebody else could put sockets there."""
    directory = runtime_directory()
    try:
        directory.mkdir(mode=0o700, exist_ok=True)
    except FileNotFoundError:
        raise FileNotFoundError(
            errno.ENOENT, "no such directory, to put sockets in: set XDG_RUNTIME_DIR, or name the socket's path", str(directory.parent)
        ) from None
    found = os.lstat(directory)
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise PermissionError(errno.EPERM, "this must be a directory of yours, with mode 0700", str(directory))
    return directory


def default_path(name: str) -> Path:
    """Where the socket of this process' stack of that name goes. Raises OSError EINVAL for a name that is none."""
    path = make_runtime_directory() / f"{os.getpid()}-{name}.sock"
    if not SOCKET_NAME.fullmatch(path.name):
        raise OSError(errno.EINVAL, f"{name!r} is no name for a stack: up to 32 letters, digits, '_' and '.'")
    return path


def check_path(path: str) -> None:
    """Raises OSError ENAMETOOLONG for a path that no socket can have."""
    if len(os.fsencode(path)) > SUN_PATH:
        raise OSError(errno.ENAMETOOLONG, f"a socket's path has at most {SUN_PATH} bytes", path)


def new_socket() -> socket.socket:
    """One end, not yet connected or bound."""
    return socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def is_dead(path: str, kind: socket.SocketKind = socket.SOCK_SEQPACKET) -> bool:
    """Whether it is a socket of that kind that nobody listens on: its process has ended without removing it."""
    if not _is_socket(path):
        return False  # any other file refuses connections as well
    with socket.socket(socket.AF_UNIX, kind) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            return True
        except OSError:
            return False  # none at all, or one that is busy
    return False


def listen(path: str, kind: socket.SocketKind = socket.SOCK_SEQPACKET) -> socket.socket:
    """A listening socket at `path`, for this user alone. A dead one there is replaced; raises OSError EADDRINUSE for anything else.

    It listens before it has its name: one that refuses is dead, and never just young.
    """
    check_path(path)
    hidden = os.path.join(os.path.dirname(path), f".{os.getpid():x}{os.urandom(3).hex()}")
    check_path(hidden)
    server = socket.socket(socket.AF_UNIX, kind)
    try:
        try:
            server.bind(hidden)
        except OSError as error:
            raise OSError(error.errno, error.strerror, path) from None
        try:
            os.chmod(hidden, 0o600)
            server.listen(16)
            _name(hidden, path, kind)
        finally:
            os.unlink(hidden)
    except BaseException:
        server.close()
        raise
    server.setblocking(False)
    return server


def _name(hidden: str, path: str, kind: socket.SocketKind) -> None:
    try:
        os.link(hidden, path)
    except FileExistsError:
        if not is_dead(path, kind):
            raise OSError(errno.EADDRINUSE, "somebody listens there, or it is no socket", path) from None
        os.unlink(path)
        os.link(hidden, path)


def sockets() -> list[tuple[int, str, str]]:
    """(pid, name, path) of all that are listened on in the runtime directory. Dead ones are removed on the way."""
    found = []
    directory = runtime_directory()
    with suppress(OSError):
        for entry in sorted(os.listdir(directory)):
            match = SOCKET_NAME.fullmatch(entry)
            path = str(directory / entry)
            if match is None or not _is_socket(path):
                continue  # not ours
            if is_dead(path):
                with suppress(OSError):
                    os.unlink(path)
            else:
                found.append((int(match["pid"]), match["name"], path))
    return found


def _is_socket(path: str) -> bool:
    with suppress(OSError):
        return stat.S_ISSOCK(os.lstat(path).st_mode)
    return False
