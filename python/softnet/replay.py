"""Replay: captures through a card and over a wire, and what became of every frame."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, nullcontext, suppress
from dataclasses import dataclass
from typing import IO

from e1000.bus import HostMemory
from e1000.device import E1000Device
from e1000.driver.control import E1000Adapter
from e1000.driver.napi import E1000Napi
from e1000.driver.param import MAX_MTU, MIN_MTU
from e1000.trace import Trace, format_of
from fastring.burst import BurstSink, CountingSink
from fastring.capture import Capture, CaptureError
from fastring.capture_writer import CaptureWriter
from fastring.clock import MonotonicClock, VirtualClock
from fastring.measure import MeasuringSink
from fastring.transmitter import Transmitter
from fastring.wire import Wire
from softnet.control import ControlServer
from softnet.ethernet import ETH_DATA_LEN, ETH_HLEN
from softnet.netdev import NetDevice
from softnet.observe import Observation
from softnet.plug import plug_card
from softnet.replay_input import Choice, Feed, ReplayInput
from softnet.replay_result import ReplayResult
from softnet.replay_timing import Timing
from softnet.stack import Stack
from softnet.watchdog import FOREVER
from softnet.wire import Cabling, open_wire, wire_kind
from softnet.wire.pcap import writer_drops

MACS = (("52:54:00:00:00:01", "52:54:00:00:00:02"), ("52:54:00:00:00:03", "52:54:00:00:00:04"))  # near and far, of each interface
UNSENT = ("empty", "queue_stalled", "device_down")  # frames that the sender did not count
ROUNDS = 512  # bursts between two looks at the clock on the wall, and at signals
ROUNDS_SERVED = 32  # the same where others may ask, and a virtual clock has no timer for it
PATIENCE = 5.0  # seconds that a wire to the outside may hold up the last frames


class Replay:
    """Send the frames of `captures`, in order, from one card over `wire`; with a pair, a second card receives them.

    `out`: a capture file for what arrives. `clock`: "real" sends as fast as the ring takes; "virtual" sends each frame at its own
    time stamp, deterministically; `timing` says otherwise. `loop`: passes over all captures, 0 for ever. `limit`: frames in all. `mtu`: by
    default what the longest frame needs, up to 16110. `trace`: a file for what happens on the cards (e1000.trace). `control`: serve a
    control socket meanwhile, at this path, or with "" where the tools find it; `hold`: seconds for which the cards stay up afterwards.
    `choice`: which frames; `wire2`: for those of them that a second card sends. `ask`: for timing "oneatatime", called with the number of
    the next frame, returns how many to send. `observation`: who watches; it stays its owner's, who writes its report with `histograms`.

    Everything is checked and opened here: raises CaptureError, OSError or ValueError before a frame is sent. Then `run`, once.
    """

    def __init__(
        self,
        captures: Sequence[str | os.PathLike[str]],
        *,
        wire: str = "pair",
        wire2: str | None = None,
        out: str | os.PathLike[str] | None = None,
        clock: str = "real",
        timing: Timing | None = None,
        choice: Choice | None = None,
        loop: int = 1,
        limit: int | None = None,
        mtu: int | None = None,
        trace: str | os.PathLike[str] | None = None,
        control: str | os.PathLike[str] | None = None,
        hold: float = 0,
        ask: Callable[[int], int] | None = None,
        observation: Observation | None = None,
    ) -> None:
        if clock not in ("real", "virtual"):
            raise ValueError(f"the clock is 'real' or 'virtual', not {clock!r}")
        if loop < 0 or (limit is not None and limit < 0):
            raise ValueError(f"loop and limit are 0 or more, not {loop} and {limit}")
        choice = Choice() if choice is None else choice
        if choice.splits != (wire2 is not None):
            raise ValueError("a second interface (--intf2) and what is for it (--cachefile or --dualfile) go together")
        self.control = control
        self.hold = hold
        self.ask = ask
        self.observation = Observation() if observation is None else observation
        self.measured: MeasuringSink | None = None
        self.server: ControlServer | None = None
        self.read = 0  # frames the captures gave to send so far
        self.passes_done = 0
        self.result = ReplayResult(clock=clock)
        self.wires = (wire,) if wire2 is None else (wire, wire2)
        with ExitStack() as undo:
            self.input = ReplayInput(undo, captures, choice, loop=loop, limit=limit)
            self.clock = VirtualClock(realtime=self.input.first_time) if clock == "virtual" else MonotonicClock()
            self.timing = (Timing() if timing is None else timing).on(self.clock)
            self.result.timing = self.timing.mode
            self.result.truncated = sum(summary.truncated for summary in self.input.summaries)
            self._check_mtu(mtu)
            for spec in self.wires if out is not None else ():
                if not wire_kind(spec).receives:
                    raise ValueError(f"nothing is received over the wire {spec!r}, so there is nothing to write to {str(out)!r}")
            self.cablings: list[Cabling] = []
            undo.callback(self._close_cablings)
            for spec in self.wires:
                self.cablings.append(open_wire(spec, clock=self.clock, sends=True))
                if clock == "virtual" and self.cablings[-1].near.polled and wire_kind(spec).outside:
                    raise ValueError(f"{spec!r} leads to where time is real: it needs the real clock, not a virtual one")
            self.writer = None if out is None else undo.enter_context(CaptureWriter(out))
            self.trace = None if trace is None else undo.enter_context(self._open_trace(trace, out))
            self._undo = undo.pop_all()
        self.lines: list[_Line] = []
        self.tracer: Trace | None = None
        self.broken_off = self.input.broken_off

    @property
    def total(self) -> int | None:
        """Frames there are to send at most, or None when it goes on for ever."""
        return self.input.total

    @property
    def sent(self) -> tuple[int, int]:
        """Frames and bytes given to the drivers so far."""
        return sum(line.sender.packets for line in self.lines), sum(line.sender.bytes for line in self.lines)

    def run(self, progress: Callable[[int], None] | None = None) -> ReplayResult:
        """Replay; `progress` is called with the frames sent so far, now and then. Ctrl-C ends it early, with the result so far."""
        with self._undo as undo:
            memory = HostMemory()
            undo.callback(memory.close)
            stack = Stack(clock=self.clock)
            self._plug_all(undo, stack, memory)
            if self.control is not None:
                self.server = undo.enter_context(ControlServer(stack, self.control or None, name="replay"))
            self._make_senders()
            undo.enter_context(self.observation.during(self.clock, [card.device for line in self.lines for card in line.cards]))
            started = self.clock.monotonic_ns()
            try:
                self._play(undo, memory, stack, progress)
            except KeyboardInterrupt:
                self._interrupt()
            except TimeoutError as error:
                self.result.fail(str(error))
                self.result.count_drop("queue_stalled", self._unsent())
            except OSError as error:
                down = next((line.near.device for line in self.lines if not line.near.device.up), None)
                if error.errno == errno.ENETDOWN and down is not None:
                    self.result.fail(f"{down.name} was taken down")
                    self.result.count_drop("device_down", self._unsent())
                else:
                    self._fail_by_wire(error)
            try:
                stack.run()
                self._drain(stack)
            except KeyboardInterrupt:
                self._interrupt()
            except OSError as error:
                self._fail_by_wire(error)
            problem = self.input.problem() if self.result.complete else None
            if problem is not None:
                self.result.fail(problem)
            self.result.seconds = (self.clock.monotonic_ns() - started) / 1e9
            try:
                self._hold(stack)
            except OSError as error:
                self._fail_by_wire(error)
            self._flush()
            self._account()
        return self.result

    def histograms(self) -> dict[str, list[tuple[int, int]]]:
        """Sizes of the frames that arrived, the gaps between them, and how late they left, for a report: what of it was measured."""
        found = {}
        if self.measured is not None:
            found = {"frame_sizes": self.measured.sizes.buckets(), "gaps_ns": self.measured.gaps.buckets()}
        if self.pacer is not None:
            found["lateness_ns"] = self.pacer.lateness.buckets()
        return found

    def close(self) -> None:
        """Close what was opened, if `run` did not; again is harmless."""
        self._undo.close()

    # --- what it runs on ---

    def _open_trace(self, path: str | os.PathLike[str], out: str | os.PathLike[str] | None) -> IO[str]:
        """Open the file of the trace, which must be none of the others."""
        for other in (*(capture.filename for capture in self.input.captures), *([] if out is None else [os.fspath(out)])):
            with suppress(OSError):
                if os.path.samefile(other, path):
                    raise ValueError(f"the trace would overwrite {other}")
        return open(path, "w", encoding="ascii")

    def _check_mtu(self, mtu: int | None) -> None:
        if mtu is not None and not MIN_MTU <= mtu <= MAX_MTU:
            raise ValueError(f"the MTU is {MIN_MTU} to {MAX_MTU}, not {mtu}")
        self.result.mtu = min(max(ETH_DATA_LEN, self.input.longest - ETH_HLEN), MAX_MTU) if mtu is None else mtu

    def _plug_all(self, undo: ExitStack, stack: Stack, memory: HostMemory) -> None:
        """Make the cards of every interface, and open them: those that receive first."""
        self.sink = CountingSink()
        sink: BurstSink = self.writer or self.sink
        if self.observation.report_file is not None:
            sink = self.measured = MeasuringSink(sink)
        for cabling, (near_mac, far_mac) in zip(self.cablings, MACS, strict=False):
            near = self._plug(undo, stack, memory, cabling.near, near_mac)
            far = None if cabling.far is None else self._plug(undo, stack, memory, cabling.far, far_mac)
            if far is not None:
                far.device.sink = sink
                far.device.promiscuous = True
            self.lines.append(_Line(cabling, near, far))
        cards = [card for line in self.lines for card in line.cards]
        if self.trace is not None:
            self.tracer = Trace([card.card for card in cards], self.trace, format=format_of(self.trace.name), clock=self.clock)
            undo.callback(self.tracer.abandon)
        for line in self.lines:
            for card in reversed(line.cards):
                undo.enter_context(card.device)

    def _plug(self, undo: ExitStack, stack: Stack, memory: HostMemory, wire: Wire, mac: str) -> _Card:
        card, device = plug_card(undo, stack, wire, mac=mac, mtu=self.result.mtu, memory=memory)
        device.watchdog.timeo = FOREVER  # a queue that hangs ends the replay: no reset gives its packets up unseen
        assert isinstance(device.netdev_ops, E1000Adapter)
        return _Card(card, device, device.netdev_ops.napi)

    def _make_senders(self) -> None:
        self.pacer = self.timing.pacer(self.clock)
        second = None
        for line in reversed(self.lines):
            # One frame at a time: a burst of one, or of its two pieces.
            size = 128 if self.timing.mode != "oneatatime" else 1 if self.input.choice.unique_ip is None else 2
            first = line is self.lines[0]
            line.sender = line.near.device.transmitter(
                burst_size=size, replays=self.pacer is None, pacer=self.pacer if first else None, second=second if first else None
            )
            second = line.sender

    # --- the run ---

    def _play(self, undo: ExitStack, memory: HostMemory, stack: Stack, progress: Callable[[int], None] | None) -> None:
        addresses: dict[Capture, int] = {}
        for capture in self.input.captures:
            addresses[capture] = memory.map(capture)
            undo.callback(memory.unmap, addresses[capture])
        ends = None
        if self.timing.duration is not None and self.pacer is None:
            ends = self.clock.monotonic_ns() + int(self.timing.duration * 10**9)
        for feed in self.input.feeds(addresses.__getitem__):
            self._pause(stack, feed)
            try:
                going = True
                while going and not (ends is not None and self.clock.monotonic_ns() >= ends):
                    going = self._play_some(stack, feed)
                    if self.server is not None:
                        self.server.poll()
                    self.passes_done += feed.last and not going
                    if progress is not None:
                        progress(self.read + feed.frames)
            except CaptureError as error:
                self.result.fail(str(error))
                return  # it shrank: what was announced cannot be sent any more
            finally:
                self.read += feed.frames - feed.withheld
                self.result.count_feed(feed.unselected, {} if feed.edited is None else feed.edited.counts)
                self.result.count_drop("empty", feed.empty)
            if going or not self.result.complete or (self.pacer is not None and self.pacer.ended):
                return

    def _play_some(self, stack: Stack, feed: Feed) -> bool:
        """Send a part of a feed; return whether there is more."""
        sender = self.lines[0].sender
        if self.ask is None:
            return sender.play(feed.source, rounds=ROUNDS if self.server is None else ROUNDS_SERVED)
        try:
            going = sender.play(feed.source, rounds=self.ask(self.sent[0] + 1))
        except EOFError as error:
            self.result.fail(str(error))
            return False
        stack.run()
        return going

    def _pause(self, stack: Stack, feed: Feed) -> None:
        """Between two passes: what --loopdelay-ms says. Each capture's time stamps begin anew."""
        delay = self.timing.loopdelay if feed.first and self.input.passes > 1 else 0
        if self.pacer is not None:
            self.pacer.pause(int(delay * 10**9))
        elif delay:
            self._stay(stack, float(delay))

    def _stay(self, stack: Stack, seconds: float) -> None:
        """Keep the cards up and what arrives received. A virtual clock stands still."""
        end = time.monotonic() + seconds
        if self.server is not None:
            self.server.serve(seconds)
        while time.monotonic() < end:
            stack.run()
            time.sleep(min(0.01, max(0.0, end - time.monotonic())))

    def _drain(self, stack: Stack) -> None:
        """Let what wires delay arrive, and give those that lead out of the process the time to take what they held up."""
        for line in self.lines:
            if self.result.complete:
                line.cabling.let_arrive(stack)
        end = time.monotonic() + PATIENCE
        while any(line.cabling.near.held_up for line in self.lines) and time.monotonic() < end and self.result.complete:
            stack.wait(0.1)
            stack.run()

    def _hold(self, stack: Stack) -> None:
        """Keep the cards up, until Ctrl-C at the latest, unless that or an error ended the replay."""
        if self.result.complete:
            with suppress(KeyboardInterrupt):
                self._stay(stack, self.hold)

    # --- the account ---

    def _interrupt(self) -> None:
        """Ctrl-C: what is left is not sent, or not waited for."""
        if not self.result.interrupted:
            self.result.fail("interrupted")
        self.result.interrupted = True

    def _fail_by_wire(self, error: OSError) -> None:
        """A wire has failed for good, such as one whose interface is gone: the result so far is told. Raises what is anything else."""
        if all(line.cabling.near.failure() is None for line in self.lines):
            raise error
        self.result.fail(error.strerror or str(error))

    def _unsent(self) -> int:
        """Frames read that no sender has taken, when it ended early."""
        return self.read - sum(line.sender.packets + line.sender.oversize for line in self.lines)

    def _close_cablings(self) -> None:
        with ExitStack() as undo:
            for cabling in self.cablings:
                undo.callback(cabling.close)

    def _close_trace(self) -> None:
        """Close the trace's file; where its writes failed, that was told."""
        assert self.trace is not None
        with suppress(OSError) if self.tracer is not None and self.tracer.lost else nullcontext():
            self.trace.close()

    def _flush(self) -> None:
        """Close what is written to, so that what could not be written is known."""
        traced = [] if self.tracer is None or self.trace is None else [self.tracer.close, self._close_trace]
        for close in (*(cabling.close for cabling in self.cablings), *([self.writer.close] if self.writer is not None else []), *traced):
            try:
                close()
            except OSError as error:
                self.result.fail(f"{error.filename}: {error.strerror}" if error.filename else str(error))
            except ValueError as error:  # packets left out
                self.result.fail(str(error))

    def _account(self) -> None:
        """Every frame sent is received or dropped for a named reason."""
        result = self.result
        for line in self.lines:
            result.count_drop("mtu_exceeded", line.sender.oversize)
            result.count_drop("tx_dropped", line.near.device.stats64.tx_dropped)
            for card in line.cards:
                for reason, frames in card.card.drops.items():
                    if line.far is not None or not reason.startswith("rx_"):  # what others send there is no part of it
                        result.count_drop(reason, frames)
            for reason, frames in line.cabling.drops().items():
                result.count_drop(reason, frames)
        for reason, frames in writer_drops(self.writer).items() if self.writer is not None else ():
            result.count_drop(reason, frames)
        sink = self.sink if self.writer is None else self.writer
        result.received, result.received_bytes = sink.packets, sink.bytes
        for line, spec in zip(self.lines, self.wires, strict=True):
            received, received_bytes = line.received()
            if line.far is None:
                result.received += received
                result.received_bytes += received_bytes
            sender = line.sender
            result.interfaces.append({"wire": spec, "sent": sender.packets, "bytes": sender.bytes, "received": received})
        sent = sum(line.sender.packets + line.sender.oversize for line in self.lines)
        result.sent = sent + sum(result.drops.get(reason, 0) for reason in UNSENT)
        result.duplicated = sum(line.cabling.duplicates() for line in self.lines)  # by the wires
        result.lost = result.sent + result.duplicated - result.received
        result.count_drop("in_flight", result.lost - sum(result.drops.values()))
        self._measure()

    def _measure(self) -> None:
        result = self.result
        result.bytes = self.sent[1]
        if result.seconds > 0:
            result.pps = result.received / result.seconds
            result.bits_per_second = 8 * result.received_bytes / result.seconds
        receivers = [line.cards[-1].napi for line in self.lines]
        for line in self.lines:
            padded, pad_bytes = line.near.card.padding
            result.padded += padded
            result.pad_bytes += pad_bytes
            result.interrupts += sum(card.napi.interrupts for card in line.cards)
            result.polls += sum(card.napi.polls for card in line.cards)
            queue = line.near.device.txq
            result.queue_stops += queue.stops
            result.queue_wakes += queue.wakes
            result.bql_stops += queue.bql_stops
        if any(napi.polls for napi in receivers):
            result.packets_per_poll = sum(napi.packets for napi in receivers) / sum(napi.polls for napi in receivers)
        if self.pacer is not None:
            result.rate_asked = float(self.timing.rate)
            if result.seconds > 0 and self.pacer.scheduled:  # else all was due at once
                result.rate_achieved = result.rate_asked * (self.pacer.scheduled / 1e9) / result.seconds
            if (late := self.pacer.lateness).total:
                result.late_p50_ns, result.late_p99_ns, result.late_max_ns = late.percentile(50), late.percentile(99), late.max


@dataclass(frozen=True)
class _Card:
    """A card on its bus, and its interface."""

    card: E1000Device
    device: NetDevice
    napi: E1000Napi


class _Line:
    """A sending card, what it is plugged into, and the card at the other end, if there is one."""

    sender: Transmitter

    def __init__(self, cabling: Cabling, near: _Card, far: _Card | None) -> None:
        self.cabling = cabling
        self.near = near
        self.far = far
        self.cards = [near] if far is None else [near, far]

    def received(self) -> tuple[int, int]:
        """Frames, and their bytes, that arrived at the far card, or ended in the wire."""
        if self.far is not None:
            stats = self.far.device.stats64
            return stats.rx_packets, stats.rx_bytes
        return (0, 0) if self.cabling.taken is None else self.cabling.taken()
