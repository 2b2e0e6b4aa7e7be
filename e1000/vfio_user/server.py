"""VfioUserServer: a card on a UNIX socket, for a virtual machine's vfio-user-pci or a driver in another process. `serve` runs several."""

from __future__ import annotations

import errno
import math
import os
import select
import socket
import stat
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress

from e1000.device import E1000Device
from e1000.vfio_user.channel import Channel
from e1000.vfio_user.control import Control
from e1000.vfio_user.guest_memory import GuestMemory
from e1000.vfio_user.served import ServedCard
from e1000.vfio_user.turn import take_turn
from fastring.clock import Clock, MonotonicClock

SPIN = 50_000  # ns of looking again before it sleeps: an exchange with a guest takes no longer
LOOK = 1  # ms between two looks, while it sleeps, at doorbells of a client that does not know how to wake it
TURN = 5_000_000  # ns between two looks at signals and new clients, however busy it is
MOST_PATH = 107  # bytes in sun_path, without its NUL


class VfioUserServer:
    """`device` at `path`, for one client after the other; the card keeps its state from one to the next.

    `serve` runs it, on one thread, the clock's if the card has one. A socket that a server left
    behind is replaced, one that somebody listens on is not. `mode`: the socket's. `map_doorbells`: clients may map the rings'
    registers, and store into them without a message. Raises OSError, ValueError for a path that is too long.
    """

    def __init__(self, device: E1000Device, path: str | os.PathLike[str], *, mode: int = 0o600, map_doorbells: bool = False) -> None:
        self.path = os.fspath(path)
        if len(os.fsencode(self.path)) > MOST_PATH:
            raise ValueError(f"a socket's path has at most {MOST_PATH} bytes: {self.path}")
        self.device = device
        self.clients = 0  # so far
        self.on_client: Callable[[VfioUserServer, bool], object] | None = None  # told of each that comes and goes
        self._closed = False
        with ExitStack() as undo:
            self.served = ServedCard(device, maps_doorbells=map_doorbells)
            undo.callback(self.served.close)
            self._memory = GuestMemory(self.served.addresses, self.served.messages)
            self._control = self.served.control = Control(self.served, self._memory)
            self._listener = undo.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK))
            _bind(self._listener, self.path, mode)
            self._inode = os.stat(self.path).st_ino
            self._undo = undo.pop_all()

    @property
    def connected(self) -> bool:
        """Whether there is a client."""
        return self.served.channel is not None

    @property
    def stores_unheard(self) -> bool:
        """Whether a client may ring doorbells and wakes nobody who sleeps: it was given their pages, and does not know how."""
        return self.connected and self._control.maps_unheard

    def look_after(self) -> None:
        """Hang up on a client that is gone, take one that waits, and raise what the wire did."""
        line, channel = self.served.line, self.served.channel
        if channel is not None and channel.dead:
            self._hang_up()
        self.accept()
        if line.error is not None:
            error, line.error = line.error, None
            raise error

    def accept(self) -> bool:
        """Take the next client, if there is none and one waits."""
        if self.connected:
            return False
        try:
            client, _ = self._listener.accept()
        except OSError:  # none, or it is gone again
            return False
        self.served.use(Channel(client))
        self.clients += 1
        if self.on_client is not None:
            self.on_client(self, True)
        return True

    def _hang_up(self) -> None:
        self.served.use(None)
        self._control.forget()
        if self.on_client is not None:
            self.on_client(self, False)

    def descriptors(self) -> list[tuple[int, int]]:
        """What to wait at, each with poll's events."""
        channel, wire = self.served.channel, self.device.wire
        if channel is None:
            found = [(self._listener.fileno(), select.POLLIN)]
        else:
            found = [(channel.fileno(), select.POLLOUT if channel.held_up else select.POLLIN)]
        if wire is not None and wire.polled and not self.served.stopped and (number := wire.fileno()) is not None:
            found.append((number, select.POLLIN | (select.POLLOUT if wire.held_up else 0)))
        return found

    def close(self) -> None:
        """Hang up and take the socket away; again is harmless. The card stays its owner's, off any bus."""
        if self._closed:
            return
        self._closed = True
        with suppress(OSError):
            if os.stat(self.path).st_ino == self._inode:  # nobody put theirs in its place
                os.unlink(self.path)
        if self.connected:
            self._hang_up()
        self._undo.close()

    def __enter__(self) -> VfioUserServer:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "closed" if self._closed else "a client" if self.connected else "no client"
        return f"<VfioUserServer at {self.path}: {state}, {self._memory!r}, {self.device!r}>"


def serve(servers: Sequence[VfioUserServer], *, until: Callable[[], bool] = lambda: False, wake: int | None = None) -> None:
    """Run servers, and their cards' clocks and wires, on this thread, until `until()`, which is asked each time something happened.

    `wake`: a descriptor that wakes it, too. Raises what a wire or a timer in Python raised; a client's faults end nothing.
    """
    cards = [server.served for server in servers]
    for card in cards:
        card.messages.others = [other.messages for other in cards]
    clocks: list[Clock] = [*dict.fromkeys(clock for card in cards if isinstance(clock := card.device.clock, MonotonicClock))]
    while not until():
        idle = take_turn(cards, clocks, SPIN, TURN)
        for server in servers:
            server.look_after()
        if idle:
            _wait(servers, clocks, wake)


def _wait(servers: Sequence[VfioUserServer], clocks: Sequence[Clock], wake: int | None) -> None:
    """Sleep until something happens: a message, a client, a frame, a timer."""
    waiter = select.poll()
    for server in servers:
        for number, events in server.descriptors():
            waiter.register(number, events)
    if wake is not None:
        waiter.register(wake, select.POLLIN)
    deadlines = [(deadline - clock.monotonic_ns()) / 1e6 for clock in clocks if (deadline := clock.next_deadline) is not None]
    if any(server.stores_unheard for server in servers):
        deadlines.append(LOOK)
    pages = [server.served.doorbells for server in servers if server.served.doorbells is not None]
    try:
        if all(page.sleep() for page in pages):
            waiter.poll(max(0, math.ceil(min(deadlines))) if deadlines else None)
    finally:
        for page in pages:
            page.wake()


def _bind(listener: socket.socket, path: str, mode: int) -> None:
    """Listen at `path`; one that nobody listens at any more is replaced. Raises OSError EADDRINUSE."""
    with suppress(FileNotFoundError):
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            raise OSError(errno.EEXIST, f"{path} is there, and no socket")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            try:
                probe.connect(path)
            except ConnectionRefusedError:
                os.unlink(path)
            else:
                raise OSError(errno.EADDRINUSE, f"somebody listens at {path} already")
    if not os.path.exists(path) and os.path.islink(path):
        raise OSError(errno.EEXIST, f"{path} is a link to nothing")
    before = os.umask(0o777 & ~mode)
    try:
        listener.bind(path)
    except OSError as error:
        raise OSError(error.errno, error.strerror, path) from None
    finally:
        os.umask(before)
    listener.listen(8)

