"""Nic: a network card on a wire, ready to send and receive: `softnet.open_nic("tap:tap0")`.

All Nics of a process are of one host: they share its Stack, and one lock, since a wire within the process runs the engines of the card
at its other end. Whoever sends or receives runs the stack, for all of them; whoever waits does so without the lock, at what its
own packets come by: the wire's descriptor and its queue's (which another thread may have filled), or the clock's next timer.
"""

from __future__ import annotations

import asyncio
import errno
import math
import os
import select
import threading
import time
import weakref
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from io import FileIO
from typing import TypeAlias

from fastring.burst import Burst, BurstSink
from fastring.clock import MonotonicClock
from fastring.packet_queue import PacketQueue
from fastring.port import WirePort
from fastring.wire import Wire
from softnet.netdev import NetDevice
from softnet.stack import Stack

Packets: TypeAlias = "Burst | bytes | bytearray | memoryview | Iterable[bytes | bytearray | memoryview]"

PATIENCE = 5.0  # seconds that a wire may hold a sender up
SLICE = 0.002  # seconds for which a sender that is held up keeps the lock
IDLE = 0.0005  # seconds between two looks, where there is nothing to wait at
FOREVER = 60.0  # seconds to sleep at most: then it looks again

lock = threading.RLock()
_host: Stack | None = None
nics: weakref.WeakSet[Nic] = weakref.WeakSet()


def host_stack() -> Stack:
    """The Stack of all Nics that were given no other."""
    global _host
    with lock:
        if _host is None:
            _host = Stack()
        return _host


class NicClosed(OSError):
    """EBADF: it was closed, maybe while somebody waited."""


class Nic:
    """A card, its driver and its interface on a wire, up. `send`, `recv` and `for burst in nic`; `asend`, `arecv` and `async for`.

    `device` is the NetDevice (None without a card), `wire` what it is plugged into. Any thread, one task at a time each.
    """

    device: NetDevice | None = None
    port: WirePort | None = None

    def __init__(self, wire: Wire | None, stack: Stack, undo: ExitStack, queue: PacketQueue | None) -> None:
        self.wire = wire
        self.stack = stack
        self.queue = queue
        self.closed = False
        self._sinks: list[BurstSink] = []
        self._wanted: list[int] = []  # packets that each who waits now is waiting for
        self._undo = undo
        self._closing = FileIO(os.eventfd(0, os.EFD_CLOEXEC), "r+")  # readable once it is closed: who waits is woken
        nics.add(self)

    # --- sending ---

    def send(self, packets: Packets, *, timeout: float | None = PATIENCE) -> int:
        """Send a Burst, one packet, or several; return how many were taken. Those too long are not: see `drops`.

        Raises TimeoutError if the wire takes nothing for `timeout` seconds (None: for ever), with the rest not sent; OSError when the
        wire has failed.
        """
        left: Burst | None = as_burst(packets)
        sent, deadline = 0, _deadline(timeout)
        while left is not None:
            taken, left = self._send_some(left)
            sent += taken
            if left is None:
                break
            if taken:
                deadline = _deadline(timeout)
            elif time.monotonic() >= deadline:
                raise self._stalled(timeout)
        return sent

    async def asend(self, packets: Packets, *, timeout: float | None = PATIENCE) -> int:
        """The same for asyncio: while the wire holds it up, others run."""
        left: Burst | None = as_burst(packets)
        sent, deadline = 0, _deadline(timeout)
        while left is not None:
            taken, left = self._send_some(left, patience=0)
            sent += taken
            if left is None:
                break
            if taken:
                deadline = _deadline(timeout)
            elif time.monotonic() >= deadline:
                raise self._stalled(timeout)
            await asyncio.sleep(IDLE)
        return sent

    def _stalled(self, timeout: float | None) -> TimeoutError:
        return TimeoutError(errno.ETIMEDOUT, f"{self!r} took nothing for {timeout or 0:g} s")

    def _send_some(self, burst: Burst, patience: float = SLICE) -> tuple[int, Burst | None]:
        """Send what goes within `patience`; return how many packets were taken, and the rest, if any."""
        with lock:
            self._check()
            taken, left = self._transmit(burst, patience)
            if left is not None:
                self.run()  # the card at the other end may be one of ours
            return taken, left

    def _transmit(self, burst: Burst, patience: float) -> tuple[int, Burst | None]:
        raise NotImplementedError

    # --- receiving ---

    def recv(self, timeout: float | None = None, count: int | None = None) -> Burst:
        """What has arrived, as a Burst of its own; waits for the first packet, or with `count` for so many.

        At most `timeout` seconds (None: for ever, 0: not at all), or until the queue is full, and then returns what there is, maybe
        nothing. Without `count` 256 packets at most. Raises OSError when the wire has failed and nothing is left to take.
        """
        queue = self._own_queue(count)
        deadline, lost = _deadline(timeout), queue.drops
        while True:
            burst = self._received(queue, count, queue.drops != lost or time.monotonic() >= deadline)
            if burst is not None:
                return burst
            with self._waiting_for(count or 1, queue):
                self.sleep(deadline - time.monotonic(), queue)

    async def arecv(self, timeout: float | None = None, count: int | None = None) -> Burst:
        """The same for asyncio."""
        queue = self._own_queue(count)
        deadline, lost = _deadline(timeout), queue.drops
        while True:
            burst = self._received(queue, count, queue.drops != lost or time.monotonic() >= deadline)
            if burst is not None:
                return burst
            with self._waiting_for(count or 1, queue):
                await self._ready(deadline - time.monotonic())

    def _own_queue(self, count: int | None) -> PacketQueue:
        if self.queue is None:
            raise OSError(errno.EOPNOTSUPP, f"{self!r} was opened to send only, or for others to listen")
        if count is not None and not 0 < count <= self.queue.packet_limit:
            raise ValueError(f"{self!r} can wait for 1 to {self.queue.packet_limit} packets, not {count}")
        return self.queue

    @contextmanager
    def _waiting_for(self, count: int, queue: PacketQueue) -> Iterator[None]:
        """Meanwhile the queue wakes who waits only for so many packets: for the fewest that somebody waits for."""
        with lock:
            self._wanted.append(count)
            queue.low_water = min(self._wanted)
        try:
            yield
        finally:
            with lock:
                self._wanted.remove(count)
                queue.low_water = min(self._wanted, default=1)

    def _received(self, queue: PacketQueue, count: int | None, last: bool) -> Burst | None:
        """Run the stack, and take what `recv` returns; None if it has to wait. A wire's failure comes after what arrived before it."""
        with lock:
            problem: OSError | None = None
            try:
                self.run()
            except OSError as error:
                problem = error
            if last or problem is not None or len(queue) >= (count or 1):
                burst = queue.take(count or 256)
                if problem is not None and len(burst) == 0:
                    raise problem
                return burst
        return None

    def run(self) -> None:
        """Let what waits at the wire arrive, and timers fire. Raises OSError when the wire has failed, or the Nic is closed."""
        with lock:
            self._check()
            self._run()
            self._check_wire()

    def _run(self) -> None:
        try:
            self.stack.run()
        except OSError:  # whoever runs the stack hears of any wire that failed: its own Nic tells it
            if not any(nic.wire is not None and not nic.closed and nic.wire.failure() is not None for nic in nics):
                raise

    def _check(self) -> None:
        if self.closed:
            raise NicClosed(errno.EBADF, f"{self!r} is closed")

    def _check_wire(self) -> None:
        failure = None if self.wire is None else self.wire.failure()
        if failure is not None:
            raise failure

    # --- waiting ---

    def descriptors(self) -> list[int]:
        """What to wait at, besides a queue: the wires that its packets come from."""
        wires = self.stack.softirq.polled_wires if self.wire is None else [self.wire] if self.wire.polled else []
        numbers = [wire.fileno() for wire in wires]
        return [number for number in numbers if number is not None]

    def until_timer(self) -> float:
        """Seconds until the stack's next timer is due; infinite if there is none, or it is no matter of real time."""
        with lock:
            clock = self.stack.clock
            deadline = clock.next_deadline if isinstance(clock, MonotonicClock) else None
            if deadline is None:
                return math.inf
            return max(0.0, (deadline - clock.monotonic_ns()) / 1e9)

    def sleep(self, seconds: float, queue: PacketQueue | None = None) -> None:
        """Wait until there may be something to receive, or so many seconds at most."""
        waiter = select.poll()
        for number in self.wait_at(queue):
            waiter.register(number, select.POLLIN)
        waiter.poll(math.ceil(1000 * min(max(0.0, seconds), self.until_timer(), FOREVER)))

    def wait_at(self, queue: PacketQueue | None) -> list[int]:
        return [self._closing.fileno(), *([] if queue is None else [queue.fileno()]), *self.descriptors()]

    async def _ready(self, seconds: float) -> None:
        """Until there may be something to receive: `sleep`, for asyncio."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        with select.epoll() as waiter:  # of its own: a loop has one reader for each descriptor, and other tasks wait at these, too
            for number in self.wait_at(self.queue):
                waiter.register(number, select.EPOLLIN)
            loop.add_reader(waiter.fileno(), _wake, future)
            try:
                async with asyncio.timeout(min(max(0.0, seconds), self.until_timer(), FOREVER)):
                    await future
            except TimeoutError:
                pass
            finally:
                loop.remove_reader(waiter.fileno())

    # --- others who listen ---

    def listen(self, sink: BurstSink) -> None:
        """Give `sink`, a PacketQueue say, each packet that arrives, too; it is called with whoever runs the stack."""
        with lock:
            self._check()
            self._set_sinks([*self._sinks, sink])

    def unlisten(self, sink: BurstSink) -> None:
        """No more; again is harmless."""
        with lock:
            if sink in self._sinks:
                self._set_sinks([other for other in self._sinks if other is not sink])

    def _set_sinks(self, sinks: list[BurstSink]) -> None:
        self._sinks = sinks
        self._set_sink(sinks[0] if len(sinks) == 1 else _Everyone(tuple(sinks)) if sinks else None)

    def _set_sink(self, sink: BurstSink | None) -> None:
        raise NotImplementedError

    # --- the rest ---

    @property
    def drops(self) -> dict[str, int]:
        """Packets that went nowhere, by reason: in the wire, the card, the interface, the queue that `recv` takes from."""
        with lock:
            found = [self._own_drops(), *(part.drops for part in (self.wire, self.queue) if part is not None)]
        total: dict[str, int] = {}
        for drops in found:
            for reason, packets in drops.items():
                if packets:
                    total[reason] = total.get(reason, 0) + packets
        return total

    def _own_drops(self) -> dict[str, int]:
        return {}

    @property
    def mac(self) -> bytes | None:
        """Its station address; None without a card."""
        return None if self.device is None else bytes(self.device.dev_addr)

    def fileno(self) -> int:
        """Readable while packets wait that have arrived: of its queue. Others arrive when someone runs it."""
        return self._own_queue(None).fileno()

    def close(self) -> None:
        """Take everything down; again is harmless. Raises OSError if the wire lost something in closing."""
        with lock:
            if self.closed:
                return
            self._set_sinks([])
            self.closed = True
            self._undo.close()
        os.eventfd_write(self._closing.fileno(), 1)

    def __iter__(self) -> Iterator[Burst]:
        """Bursts as they arrive, until the Nic is closed."""
        with suppress(NicClosed):
            while True:
                burst = self.recv(FOREVER)
                if len(burst):
                    yield burst

    async def __aiter__(self) -> AsyncIterator[Burst]:
        """Bursts as they arrive, until the Nic is closed."""
        with suppress(NicClosed):
            while True:
                burst = await self.arecv(FOREVER)
                if len(burst):
                    yield burst

    def __enter__(self) -> Nic:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Nic {'closed' if self.closed else self.device or self.port!r}>"


class _Everyone(BurstSink):
    """Shows each of several sinks every burst."""

    def __init__(self, sinks: tuple[BurstSink, ...]) -> None:
        self.sinks = sinks

    def on_burst(self, burst: Burst) -> None:
        for sink in self.sinks:
            sink.put(burst)


def as_burst(packets: Packets) -> Burst:
    """What a sender may be given, as a Burst whose packets stay: a burst that is shown to a sink is copied."""
    if isinstance(packets, (bytes, bytearray, memoryview)):
        return Burst.from_packets([packets])
    if not isinstance(packets, Burst):
        return Burst.from_packets(packets)
    try:
        return packets[:]
    except BufferError:
        return packets.copy()


def _deadline(timeout: float | None) -> float:
    return math.inf if timeout is None else time.monotonic() + timeout


def _wake(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
