"""ControlServer: the socket of a running stack, and the thread that talks to whoever connects.

That thread never touches the stack. It hands each request to whoever runs the stack, who answers between two steps of its own, where
nothing is in the middle of anything: in Stack.run, every 10 ms from a timer of the real clock (a sender's loop fires timers), or in
`serve`.

A client may do anything: it is disconnected, and no more. Messages are bounded, so are clients, one of which has one request at a time;
nothing is kept for a client that does not read; one that says nothing for a minute, or is in the way of new ones, goes.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import selectors
import socket
import struct
import threading
import time
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from fastring.clock import MonotonicClock, TimerHandle
from softnet.control import sockets
from softnet.control.methods import Methods, encode, error_of

if TYPE_CHECKING:
    from softnet.stack import Stack

VERSION = 1
MAX_CLIENTS = 16
PATIENCE = 10.0  # seconds for the stack to begin with a request
IDLE = 60.0  # seconds a client may say nothing
TICK = 10_000_000  # ns between two looks from a timer
AT_ONCE = 32  # requests answered at one look: then packets have their turn

log = logging.getLogger("softnet")


class Request:
    """One request: given by the server's thread, answered by the stack's. `lock` decides whether it is begun or given up."""

    def __init__(self, client: Client, call: dict[str, Any]) -> None:
        self.client = client
        self.call = call
        self.lock = threading.Lock()
        self.begun = False
        self.given_up = False
        self.answer = b""


class Client:
    """One connection."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.request: Request | None = None
        self.since = time.monotonic()  # of its last message


class ControlServer:
    """Serve `stack` on a UNIX socket until closed. `path`: by default one that the tools find, named by pid and `name`.

    `patience`: seconds that a request waits for the stack to be run. The stack's thread only, but for what it does by itself.
    Raises OSError: EADDRINUSE if somebody listens there, ENAMETOOLONG, EPERM, ENOENT for the directory.
    """

    def __init__(
        self, stack: Stack, path: str | os.PathLike[str] | None = None, *, name: str = "stack", patience: float = PATIENCE
    ) -> None:
        self.stack = stack
        self.name = name
        self.patience = patience
        self.path = os.path.abspath(sockets.default_path(name) if path is None else path)
        self._methods = Methods(stack)
        self._listening = sockets.listen(self.path)
        self._inode = os.stat(self.path).st_ino
        self._pid = os.getpid()
        self._waiting: deque[Request] = deque()  # for the stack's thread
        self._answered: deque[Request] = deque()  # for the server's
        self._clients: set[Client] = set()
        self._asked = threading.Event()
        self._wake, self._woken = socket.socketpair()
        self._wake.setblocking(False)
        self._woken.setblocking(False)
        self._closing = False
        self._timer: TimerHandle | None = None
        stack.work.append(self.poll)
        if isinstance(stack.clock, MonotonicClock):
            self._timer = stack.clock.call_later(TICK, self._tick)
        self._thread = threading.Thread(target=self._talk, name=f"control {self.path}", daemon=True)
        self._thread.start()

    # --- the stack's thread ---

    def poll(self) -> int:
        """Answer what was asked, if nothing of the stack is in the middle of something; returns how many requests. Raises nothing."""
        if not self._waiting or self._busy():
            return 0
        self.stack.linkwatch.run()  # or one who never calls Stack.run would be shown an old link (linkwatch_sync_dev)
        done = 0
        while done < AT_ONCE:
            try:
                request = self._waiting.popleft()
            except IndexError:
                break
            with request.lock:
                if request.given_up:
                    continue
                request.begun = True
            request.answer = encode(self._methods.answer(request.call))
            self._answered.append(request)
            done += 1
        self._rouse()
        return done

    def serve(self, seconds: float | None = None) -> None:
        """Run the stack, and answer, for so long, or until Ctrl-C: for a program that has nothing else to do with it."""
        end = None if seconds is None else time.monotonic() + seconds
        while end is None or time.monotonic() < end:
            self._asked.clear()
            self.stack.run()
            left = TICK / 1e9 if end is None else min(TICK / 1e9, end - time.monotonic())
            if left > 0 and not self._waiting:
                self._asked.wait(left)

    def close(self) -> None:
        """Disconnect everyone and remove the socket; again is harmless. What waits for an answer gets ESHUTDOWN."""
        if self._closing:
            return
        self._closing = True
        if self.poll in self.stack.work:
            self.stack.work.remove(self.poll)
        if self._timer is not None:
            self._timer.cancel()
        if os.getpid() != self._pid:
            return  # a forked child: all else is its parent's
        self._rouse()
        self._thread.join()
        with suppress(OSError):
            if os.stat(self.path).st_ino == self._inode:
                os.unlink(self.path)

    def _busy(self) -> bool:
        """Whether this very thread is inside something that a change would pull the ground from under."""
        stack = self.stack
        return stack.softirq.in_softirq or stack.rtnl.held or any(q.locked_here for d in stack.devices.values() for q in d.tx)

    def _tick(self) -> None:
        if not self._closing:
            self._timer = self.stack.clock.call_later(TICK, self._tick)
            self.poll()

    def _rouse(self) -> None:
        with suppress(OSError):  # full: it is roused already
            self._wake.send(b"\0")

    # --- the server's thread ---

    def _talk(self) -> None:
        with selectors.DefaultSelector() as self._selector, self._listening, self._wake, self._woken:
            self._selector.register(self._listening, selectors.EVENT_READ, None)
            self._selector.register(self._woken, selectors.EVENT_READ, None)
            while not self._closing:
                try:
                    self._talk_once()
                except Exception:
                    log.exception("%s: the control server goes on after an error of its own", self.path)
                    time.sleep(0.1)
            for client in tuple(self._clients):
                if client.request is not None:
                    self._refuse(client, errno.ESHUTDOWN, "the control server is closing")
                self._drop(client)

    def _talk_once(self) -> None:
        for key, _ in self._selector.select(self._next_deadline()):
            if key.fileobj is self._listening:
                self._accept()
            elif key.fileobj is self._woken:
                with suppress(OSError):
                    self._woken.recv(4096)
            else:
                self._receive(key.data)
        while self._answered:
            request = self._answered.popleft()
            if request.client.request is request:
                self._answer(request.client, request.answer)
        self._look_at_time()

    def _next_deadline(self) -> float | None:
        """How long nothing has to be done if nothing happens."""
        if not self._clients:
            return None
        waits = [client.since + (IDLE if client.request is None else self.patience) for client in self._clients if not _begun(client)]
        return max(0.0, min(waits, default=IDLE) - time.monotonic())

    def _look_at_time(self) -> None:
        now = time.monotonic()
        for client in tuple(self._clients):
            request = client.request
            if request is None:
                if now - client.since > IDLE:
                    self._drop(client)
            elif now - client.since >= self.patience and self._give_up(request):
                text = f"the stack was not run for {self.patience:g} s: its program has to call Stack.run or ControlServer.serve"
                self._refuse(client, errno.ETIMEDOUT, text)

    def _give_up(self, request: Request) -> bool:
        with request.lock:
            request.given_up = not request.begun
            return request.given_up

    def _accept(self) -> None:
        try:
            connection, _ = self._listening.accept()
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS):
                time.sleep(0.1)  # it stays readable
            return
        client = Client(connection)
        connection.setblocking(False)
        if not self._may_talk(connection):
            connection.close()
            return
        idle = [other for other in self._clients if other.request is None]
        self._clients.add(client)
        self._selector.register(connection, selectors.EVENT_READ, client)
        if len(self._clients) > MAX_CLIENTS:
            if not idle:
                self._refuse(client, errno.EBUSY, f"{MAX_CLIENTS} others are being served")
                self._drop(client)
                return
            self._drop(min(idle, key=lambda other: other.since))
        self._send(client, encode({"fastring": VERSION, "pid": self._pid, "name": self.name}))

    def _may_talk(self, connection: socket.socket) -> bool:
        """Root and the user of this process."""
        _, uid, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        return uid in (0, os.geteuid())

    def _receive(self, client: Client) -> None:
        if client not in self._clients:
            return
        try:
            message, _, flags, _ = client.connection.recvmsg(sockets.MAX_MESSAGE)
        except BlockingIOError:
            return
        except OSError:
            message, flags = b"", 0
        if not message or client.request is not None:  # the end, or more before the answer
            self._drop(client)
            return
        client.since = time.monotonic()
        if flags & socket.MSG_TRUNC:
            self._refuse(client, errno.EMSGSIZE, f"a request has at most {sockets.MAX_MESSAGE} bytes")
            return
        try:
            call = json.loads(message)
        except (ValueError, RecursionError) as error:
            self._refuse(client, errno.EBADMSG, f"a request is one JSON object: {error}")
            return
        if not isinstance(call, dict) or not isinstance(call.get("method"), str):
            self._refuse(client, errno.EBADMSG, 'a request is a JSON object that has a "method"')
            return
        client.request = Request(client, call)
        self._waiting.append(client.request)
        self._asked.set()

    def _refuse(self, client: Client, number: int, text: str) -> None:
        self._answer(client, encode(error_of(OSError(number, text))))

    def _answer(self, client: Client, answer: bytes) -> None:
        client.request = None
        client.since = time.monotonic()
        self._send(client, answer)

    def _send(self, client: Client, message: bytes) -> None:
        """Send, or forget a client that does not read."""
        try:
            client.connection.send(message)
        except OSError:
            self._drop(client)

    def _drop(self, client: Client) -> None:
        if client in self._clients:
            self._clients.discard(client)
            if client.request is not None:
                self._give_up(client.request)
            self._selector.unregister(client.connection)
            client.connection.close()

    def __enter__(self) -> ControlServer:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<ControlServer {self.path}: {len(self._clients)} clients>"


def _begun(client: Client) -> bool:
    return client.request is not None and client.request.begun
