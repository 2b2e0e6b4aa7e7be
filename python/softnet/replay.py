"""Replay: captures through a card and over a wire, and what became of every frame."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, nullcontext, suppress
from dataclasses import asdict, dataclass, field
from typing import IO, Any

from e1000.bus import HostMemory, LocalBus
from e1000.device import E1000Device
from e1000.driver import probe
from e1000.driver.control import E1000Adapter
from e1000.driver.napi import E1000Napi
from e1000.driver.param import MAX_MTU, MIN_MTU
from e1000.trace import Trace, format_of
from fastring.burst import Burst, CountingSink
from fastring.capture import Capture, CaptureCursor, CaptureError
from fastring.capture_writer import CaptureWriter
from fastring.clock import MonotonicClock, VirtualClock
from fastring.wire import Wire
from softnet.control import ControlServer
from softnet.ethernet import ETH_DATA_LEN, ETH_HLEN
from softnet.netdev import NetDevice
from softnet.stack import Stack
from softnet.watchdog import FOREVER
from softnet.wire import Cabling, open_wire, wire_kind
from softnet.wire.pcap import writer_drops

NEAR_MAC = "52:54:00:00:00:01"
FAR_MAC = "52:54:00:00:00:02"
UNSENT = ("empty", "queue_stalled", "device_down")  # frames that the sender did not count
ROUNDS = 512  # bursts between two looks at the clock on the wall, and at signals
ROUNDS_SERVED = 32  # the same where others may ask, and a virtual clock has no timer for it


@dataclass
class ReplayResult:
    """What became of a replay. `sent` + `duplicated` = `received` + `lost`, and `drops` names where each lost frame went.

    `bytes` were given to the driver, `received_bytes` arrived, padding included; rates are of what arrived, without CRC, preamble and
    gaps. `seconds` are the clock's: on a virtual clock, the capture's own.
    """

    sent: int = 0
    received: int = 0
    lost: int = 0
    duplicated: int = 0
    drops: dict[str, int] = field(default_factory=dict)
    bytes: int = 0
    received_bytes: int = 0
    padded: int = 0
    pad_bytes: int = 0
    truncated: int = 0
    seconds: float = 0.0
    pps: float = 0.0
    bits_per_second: float = 0.0
    interrupts: int = 0
    polls: int = 0
    packets_per_poll: float = 0.0
    queue_stops: int = 0
    queue_wakes: int = 0
    bql_stops: int = 0
    mtu: int = 0
    clock: str = "real"
    complete: bool = True
    interrupted: bool = False
    problems: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


class Replay:
    """Send the frames of `captures`, in order, from one card over `wire`; with a pair, a second card receives them.

    `out`: a capture file for what arrives. `clock`: "real" sends as fast as the ring takes; "virtual" sends each frame at its own
    time stamp, deterministically. `loop`: passes over all captures, 0 for ever. `limit`: frames in all. `mtu`: by default what the
    longest frame needs, up to 16110. `trace`: a file for what happens on the cards (e1000.trace). `control`: serve a control socket
    meanwhile, at this path, or with "" where the tools find it; `hold`: seconds for which the cards stay up afterwards.

    Everything is checked and opened here: raises CaptureError, OSError or ValueError before a frame is sent. Then `run`, once.
    """

    def __init__(
        self,
        captures: Sequence[str | os.PathLike[str]],
        *,
        wire: str = "pair",
        out: str | os.PathLike[str] | None = None,
        clock: str = "real",
        loop: int = 1,
        limit: int | None = None,
        mtu: int | None = None,
        trace: str | os.PathLike[str] | None = None,
        control: str | os.PathLike[str] | None = None,
        hold: float = 0,
    ) -> None:
        if clock not in ("real", "virtual"):
            raise ValueError(f"the clock is 'real' or 'virtual', not {clock!r}")
        if loop < 0 or (limit is not None and limit < 0):
            raise ValueError(f"loop and limit are 0 or more, not {loop} and {limit}")
        self.loop = loop
        self.limit = limit
        self.control = control
        self.hold = hold
        self.server: ControlServer | None = None
        self.read = 0  # frames the captures gave so far
        self.result = ReplayResult(clock=clock)
        with ExitStack() as undo:
            self.captures = [self._open(undo, path) for path in captures]
            self.summaries = [capture.scan() for capture in self.captures]
            first = next((s.first_time for s in self.summaries if s.first_time is not None), 0)
            self.clock = VirtualClock(realtime=max(first, 0)) if clock == "virtual" else MonotonicClock()
            self.result.truncated = sum(summary.truncated for summary in self.summaries)
            self._check_mtu(mtu)
            if out is not None and not wire_kind(wire).receives:
                raise ValueError(f"nothing is received over the wire {wire!r}, so there is nothing to write to {os.fspath(out)!r}")
            self.cabling: Cabling = open_wire(wire, clock=self.clock)
            undo.callback(self._close_cabling)
            self.writer = None if out is None else undo.enter_context(CaptureWriter(out))
            self.trace = None if trace is None else undo.enter_context(self._open_trace(trace, out))
            self._undo = undo.pop_all()
        self.sink = CountingSink()
        self.far: _Card | None = None
        self.tracer: Trace | None = None
        self.broken_off = [summary.broken_off for summary in self.summaries if summary.broken_off is not None]

    @property
    def total(self) -> int | None:
        """Frames there are to send, or None when it goes on for ever."""
        frames = sum(summary.frames for summary in self.summaries)
        if self.loop == 0 and frames:
            return self.limit
        frames *= self.loop
        return frames if self.limit is None else min(frames, self.limit)

    def run(self, progress: Callable[[int], None] | None = None) -> ReplayResult:
        """Replay; `progress` is called with the frames sent so far, now and then. Ctrl-C ends it early, with the result so far."""
        with self._undo as undo:
            memory = HostMemory()
            undo.callback(memory.close)
            stack = Stack(clock=self.clock)
            self.near = self._plug(undo, stack, memory, self.cabling.near, NEAR_MAC)
            if self.cabling.far is not None:
                self.far = self._plug(undo, stack, memory, self.cabling.far, FAR_MAC)
                self.far.device.sink = self.writer or self.sink
                self.far.device.promiscuous = True
            if self.trace is not None:
                cards = [card.card for card in (self.near, self.far) if card is not None]
                self.tracer = Trace(cards, self.trace, format=format_of(self.trace.name), clock=self.clock)
                undo.callback(self.tracer.abandon)
            if self.far is not None:
                undo.enter_context(self.far.device)
            undo.enter_context(self.near.device)
            if self.control is not None:
                self.server = undo.enter_context(ControlServer(stack, self.control or None, name="replay"))
            self.sender = self.near.device.transmitter(replays=True)
            started = self.clock.monotonic_ns()
            try:
                self._play(undo, memory, progress)
            except KeyboardInterrupt:
                self._fail("interrupted")
                self.result.interrupted = True
            except TimeoutError as error:
                self._fail(str(error))
                self._count_drop("queue_stalled", self.read - self.sender.packets - self.sender.oversize)
            except OSError as error:
                if error.errno != errno.ENETDOWN or self.near.device.up:
                    raise
                self._fail(f"{self.near.device.name} was taken down")
                self._count_drop("device_down", self.read - self.sender.packets - self.sender.oversize)
            stack.run()
            self._check_inputs()
            self.result.seconds = (self.clock.monotonic_ns() - started) / 1e9
            self._hold(stack)
            self._flush()
            self._account()
        return self.result

    def close(self) -> None:
        """Close what was opened, if `run` did not; again is harmless."""
        self._undo.close()

    # --- the run ---

    def _open(self, undo: ExitStack, path: str | os.PathLike[str]) -> Capture:
        """Open a capture, locked against being overwritten by what is received."""
        capture = undo.enter_context(Capture(path))
        if capture.compressed and os.fspath(path) != "-" and stat.S_ISREG(os.stat(path).st_mode):  # others hold a lock themselves
            lock = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            undo.callback(os.close, lock)
            with suppress(OSError):  # written by somebody, or a file system without locks
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return capture

    def _open_trace(self, path: str | os.PathLike[str], out: str | os.PathLike[str] | None) -> IO[str]:
        """Open the file of the trace, which must be none of the others."""
        for other in (*(capture.filename for capture in self.captures), *([] if out is None else [os.fspath(out)])):
            with suppress(OSError):
                if os.path.samefile(other, path):
                    raise ValueError(f"the trace would overwrite {other}")
        return open(path, "w", encoding="ascii")

    def _check_mtu(self, mtu: int | None) -> None:
        if mtu is not None and not MIN_MTU <= mtu <= MAX_MTU:
            raise ValueError(f"the MTU is {MIN_MTU} to {MAX_MTU}, not {mtu}")
        longest = max((summary.longest or 0 for summary in self.summaries), default=0)
        self.result.mtu = min(max(ETH_DATA_LEN, longest - ETH_HLEN), MAX_MTU) if mtu is None else mtu

    def _plug(self, undo: ExitStack, stack: Stack, memory: HostMemory, wire: Wire, mac: str) -> _Card:
        card = E1000Device(mac=mac, wire=wire)
        undo.callback(card.close)
        bus = LocalBus(card, memory=memory)
        undo.callback(bus.close)
        # No pause frames: a wire that may lose frames tells what was missed. No moderation: these cards have no clock to wait on.
        device = probe(bus, stack, mtu=self.result.mtu, flow_control="none", rx_usecs=0)
        device.watchdog.timeo = FOREVER  # a queue that hangs ends the replay: no reset gives its packets up unseen
        assert isinstance(device.netdev_ops, E1000Adapter)
        return _Card(card, device, device.netdev_ops.napi)

    def _play(self, undo: ExitStack, memory: HostMemory, progress: Callable[[int], None] | None) -> None:
        addresses = {}
        for capture in self.captures:
            addresses[capture] = memory.map(capture)
            undo.callback(memory.unmap, addresses[capture])
        for cursor in self._cursors():
            cursor.dma_base = addresses[cursor.capture]
            try:
                going = True
                while going:
                    going = self.sender.play(cursor, rounds=ROUNDS if self.server is None else ROUNDS_SERVED)
                    if self.server is not None:
                        self.server.poll()
                    if progress is not None:
                        progress(self.read + cursor.frames)
            except CaptureError as error:
                self._fail(str(error))
                return  # it shrank: what was announced cannot be sent any more
            finally:
                self.read += cursor.frames
                self._count_drop("empty", cursor.empty)

    def _hold(self, stack: Stack) -> None:
        """Keep the cards up, until Ctrl-C at the latest, unless that or an error ended the replay. A virtual clock stands still."""
        if not self.result.complete:
            return
        end = time.monotonic() + self.hold
        with suppress(KeyboardInterrupt):
            if self.server is not None:
                self.server.serve(self.hold)
            while time.monotonic() < end:
                stack.run()
                time.sleep(min(0.01, max(0.0, end - time.monotonic())))

    def _cursors(self) -> Iterator[CaptureCursor]:
        """A cursor for each capture of each pass, until the limit."""
        passes = 0
        while self.loop == 0 or passes < self.loop:
            passes += 1
            before = self.read
            for capture in self.captures:
                left = None if self.limit is None else self.limit - self.read
                if left == 0:
                    return
                yield capture.cursor(limit=left)
            if self.read == before:
                return  # nothing in any of them: there never will be

    # --- the account ---

    def _fail(self, problem: str) -> None:
        self.result.complete = False
        self.result.problems.append(problem)

    def _check_inputs(self) -> None:
        """Tell of a capture that shrank when its last frames had been handed out: some may have left as zeroes."""
        for capture in self.captures if self.result.complete else ():
            try:
                capture.cursor(limit=0).read(Burst(1))
            except CaptureError as error:
                self._fail(str(error))

    def _count_drop(self, reason: str, frames: int) -> None:
        if frames:
            self.result.drops[reason] = self.result.drops.get(reason, 0) + frames

    def _close_cabling(self) -> None:
        self.cabling.close()

    def _close_trace(self) -> None:
        """Close the trace's file; where its writes failed, that was told."""
        assert self.trace is not None
        with suppress(OSError) if self.tracer is not None and self.tracer.lost else nullcontext():
            self.trace.close()

    def _flush(self) -> None:
        """Close what is written to, so that what could not be written is known."""
        traced = [] if self.tracer is None or self.trace is None else [self.tracer.close, self._close_trace]
        for close in (self.cabling.close, *([self.writer.close] if self.writer is not None else []), *traced):
            try:
                close()
            except OSError as error:
                self._fail(f"{error.filename}: {error.strerror}" if error.filename else str(error))
            except ValueError as error:  # packets left out
                self._fail(str(error))

    def _account(self) -> None:
        """Every frame sent is received or dropped for a named reason."""
        result, sender, near, far = self.result, self.sender, self.near, self.far
        stats = near.device.stats64
        self._count_drop("mtu_exceeded", sender.oversize)
        self._count_drop("tx_dropped", stats.tx_dropped)
        for card in (near, *([far] if far is not None else [])):
            for reason, frames in card.card.drops.items():
                self._count_drop(reason, frames)
        for reason, frames in (writer_drops(self.writer) if self.writer is not None else self.cabling.drops()).items():
            self._count_drop(reason, frames)
        if far is not None:
            sink = self.sink if self.writer is None else self.writer
            result.received, result.received_bytes = sink.packets, sink.bytes
        elif self.cabling.taken is not None:
            result.received, result.received_bytes = self.cabling.taken()
        result.sent = sender.packets + sender.oversize + sum(result.drops.get(reason, 0) for reason in UNSENT)
        result.duplicated = self.cabling.duplicates()  # by the wire
        result.lost = result.sent + result.duplicated - result.received
        self._count_drop("in_flight", result.lost - sum(result.drops.values()))
        self._measure()

    def _measure(self) -> None:
        result, near, far = self.result, self.near, self.far
        receiver = near if far is None else far
        result.bytes = self.sender.bytes
        result.padded, result.pad_bytes = near.card.padding
        if result.seconds > 0:
            result.pps = result.received / result.seconds
            result.bits_per_second = 8 * result.received_bytes / result.seconds
        result.interrupts = sum(card.napi.interrupts for card in {near, receiver})
        result.polls = sum(card.napi.polls for card in {near, receiver})
        if receiver.napi.polls:
            result.packets_per_poll = receiver.napi.packets / receiver.napi.polls
        queue = near.device.txq
        result.queue_stops, result.queue_wakes, result.bql_stops = queue.stops, queue.wakes, queue.bql_stops


@dataclass(frozen=True)
class _Card:
    """A card on its bus, and its interface."""

    card: E1000Device
    device: NetDevice
    napi: E1000Napi
