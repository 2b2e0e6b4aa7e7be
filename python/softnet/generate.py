"""Generate: streams through a card and over a wire to whoever tells what became of them."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

from e1000.bus import HostMemory
from e1000.device import E1000Device
from e1000.driver.param import MAX_MTU
from fastring.burst import BurstSink, CountingSink
from fastring.clock import Clock, MonotonicClock, VirtualClock
from fastring.histogram import Histogram
from fastring.measure import MeasuringSink
from fastring.pacer import Pacer
from fastring.stream_sink import StreamSink
from fastring.transmitter import Transmitter
from fastring.wire import Wire
from softnet.ethernet import ETH_DATA_LEN, ETH_HLEN
from softnet.generate_result import GenerateResult, StreamResult, account_stream
from softnet.netdev import NetDevice
from softnet.observe import Observation
from softnet.plug import plug_card
from softnet.stack import Stack
from softnet.stream_fields import parse_rate
from softnet.streams import MOST_SECONDS, Phase, Stream, StreamError, make_source
from softnet.watchdog import FOREVER
from softnet.wire import Cabling, open_wire
from softnet.wire.wrapped import split_wrappers

NEAR_MAC, FAR_MAC = "52:54:00:00:00:01", "52:54:00:00:00:02"
DRAIN = 0.3  # seconds without a packet after which no more is waited for, where frames come from outside the process
ROUNDS = 256  # bursts between two looks at signals


class Generate:
    """Send `streams` from a card over `wire`, and tell what becomes of them at its other end.

    `receive_wire`: where they come out again, if not at the other end of `wire` (a second interface, say), or "" where they come back to
    the card that sends. `duration`: seconds; `rate`, `topspeed`, `seed`: see `make_source`. `clock`: "virtual" has every packet arrive
    at the time its schedule says, the same each time. `observation`: who watches; it stays its owner's, who writes its report with
    `histograms`. Everything is checked and opened here: raises StreamError, OSError or ValueError
    before a packet is sent. Then `run`, once.
    """

    def __init__(
        self,
        streams: Sequence[Stream],
        *,
        wire: str = "pair",
        receive_wire: str | None = None,
        clock: str = "real",
        duration: float | None = None,
        rate: Any = None,
        topspeed: bool = False,
        seed: int = 0,
        drain: float = DRAIN,
        observation: Observation | None = None,
    ) -> None:
        if clock not in ("real", "virtual"):
            raise ValueError(f"the clock is 'real' or 'virtual', not {clock!r}")
        if duration is not None and not 1e-9 <= duration <= MOST_SECONDS:
            raise ValueError(f"a duration is above 0 seconds, not {duration:g}")
        self.streams, self.drain = list(streams), drain
        self.observation = Observation() if observation is None else observation
        self.measured: MeasuringSink | None = None
        self.pacer: Pacer | None = None
        self.clock: Clock = MonotonicClock() if clock == "real" else VirtualClock(realtime=10**18)
        total = None if rate is None else parse_rate(rate)
        self.source = make_source(self.streams, self.clock, rate=total, topspeed=topspeed, duration=duration, seed=seed)
        if clock == "virtual" and not self.source.paced and any(stream.count is None for stream in streams):
            raise ValueError("on a virtual clock no time passes without a rate: give every stream a count, or a rate")
        self.result = GenerateResult(clock=clock)
        self.failure: OSError | None = None  # what a wire failed for good with, and so ended the run
        self.signed = [number for number, stream in enumerate(self.streams) if stream.signature]
        self.sink = StreamSink(self.signed, self.clock) if self.signed else CountingSink()
        with ExitStack() as undo:
            self.cabling = self._open(undo, wire)
            self.receiving: Wire | None = self.cabling.far
            if receive_wire:
                self.receiving = self._open(undo, receive_wire).near
            self.receives_itself = receive_wire == "" or split_wrappers(wire)[1].partition(":")[0] == "loopback"
            if clock == "virtual" and any(end is not None and end.polled for end in (self.cabling.near, self.receiving)):
                raise ValueError("a wire that leads out of the process goes by the real clock")
            self._undo = undo.pop_all()

    def run(self, progress: Callable[[int], None] | None = None) -> GenerateResult:
        """Generate; `progress` is called with the packets sent so far. Ctrl-C ends it early, with the result so far."""
        with self._undo as undo:
            memory = undo.enter_context(HostMemory())
            stack = Stack(clock=self.clock)
            self.cards: list[E1000Device] = []
            near = self._plug(undo, stack, memory, self.cabling.near, NEAR_MAC)
            receiver = near if self.receives_itself else None
            if self.receiving is not None:
                receiver = self._plug(undo, stack, memory, self.receiving, FAR_MAC)
            if receiver is not None:
                receiver.sink, receiver.promiscuous = self._measuring(), True
            devices = [near] if receiver in (near, None) else [receiver, near]
            for device in devices:
                undo.enter_context(device)
            iova = memory.map(self.source.memory)
            undo.callback(memory.unmap, iova)
            undo.callback(near.stop)  # before the memory goes; again is harmless
            self.source.mapped_at(iova, near.xmit_target)
            self.pacer = Pacer(self.clock, by="times") if self.source.paced else None
            self.sender = near.transmitter(pacer=self.pacer)
            undo.enter_context(self.observation.during(self.clock, reversed(devices)))
            began = self.clock.monotonic_ns()
            try:
                self._play(self.sender, progress)
                self.result.seconds = (self.clock.monotonic_ns() - began) / 1e9
                self._drain(stack, outside=self.cabling.near.polled)
            except OSError as error:
                self._fail_by_wire(error)
                self.result.seconds = self.result.seconds or (self.clock.monotonic_ns() - began) / 1e9
            self._account(self.pacer, receives=receiver is not None)
        return self.result

    def histograms(self) -> dict[str, list[tuple[int, int]]]:
        """Sizes of what arrived, the gaps between, latencies, and how late packets left, for a report: what of it was measured."""
        found = {}
        if self.measured is not None:
            found = {"frame_sizes": self.measured.sizes.buckets(), "gaps_ns": self.measured.gaps.buckets()}
        latencies = self.latencies()
        if latencies.total:
            found["latency_ns"] = latencies.buckets()
        if self.pacer is not None:
            found["lateness_ns"] = self.pacer.lateness.buckets()
        return found

    def latencies(self) -> Histogram:
        """Those of all streams, in ns."""
        latencies = Histogram()
        for stream in self.result.streams:
            if stream.histogram is not None:
                latencies.add(stream.histogram)
        return latencies

    @property
    def counts_losses(self) -> bool:
        """Whether somebody receives, or the wire itself says what it took."""
        return self.receives_itself or self.receiving is not None or not self.cabling.near.polled

    def close(self) -> None:
        """Close what was opened, if `run` did not; again is harmless."""
        self._undo.close()

    def _measuring(self) -> BurstSink:
        """What receives, measured where a report wants that."""
        if self.observation.report_file is None:
            return self.sink
        self.measured = MeasuringSink(self.sink)
        return self.measured

    def _open(self, undo: ExitStack, spec: str) -> Cabling:
        cabling = open_wire(spec, clock=self.clock, sends=True)
        undo.callback(cabling.close)
        return cabling

    def _plug(self, undo: ExitStack, stack: Stack, memory: HostMemory, wire: Wire, mac: str) -> NetDevice:
        longest = max(len(stream.template) for stream in self.source.streams)
        mtu = min(max(ETH_DATA_LEN, longest - ETH_HLEN), MAX_MTU)
        card, device = plug_card(undo, stack, wire, mac=mac, mtu=mtu, memory=memory)
        self.cards.append(card)
        device.watchdog.timeo = FOREVER  # a queue that hangs ends the run: no reset gives its packets up unseen
        return device

    def _play(self, sender: Transmitter, progress: Callable[[int], None] | None) -> None:
        try:
            while sender.play(self.source, rounds=ROUNDS):
                if progress is not None:
                    progress(sender.packets)
        except KeyboardInterrupt:
            self.result.problems.append("interrupted")
            self.result.interrupted = True
        except TimeoutError as error:
            self.result.problems.append(str(error))
        except OSError as error:
            if error.errno != errno.ENETDOWN:
                raise
            self.result.problems.append(str(error))

    def _fail_by_wire(self, error: OSError) -> None:
        """A wire has failed for good, such as one whose interface is gone: the result so far is told. Raises what is anything else."""
        if all(wire is None or wire.failure() is None for wire in (self.cabling.near, self.receiving)):
            raise error
        self.failure = error
        self.result.problems.append(error.strerror or str(error))

    def _drain(self, stack: Stack, *, outside: bool) -> None:
        """Let what is on its way arrive."""
        stack.run()
        self.cabling.let_arrive(stack)
        if isinstance(self.clock, VirtualClock):
            self._let_time_pass(stack, self.clock)
        if not outside and (self.receiving is None or not self.receiving.polled):
            return
        seen, until = -1, 0.0
        while self.sink.packets < self.sender.packets and (self.sink.packets != seen or time.monotonic() < until):
            if self.sink.packets != seen:
                seen, until = self.sink.packets, time.monotonic() + self.drain
            stack.wait(0.01)
            stack.run()

    def _let_time_pass(self, stack: Stack, clock: VirtualClock) -> None:
        """On a virtual clock, up to a second: a wire may hold packets back until their time, and not say so."""
        end = clock.monotonic_ns() + 10**9
        while self.sink.packets < self.sender.packets and (due := clock.next_deadline) is not None and due <= end:
            clock.advance(max(due - clock.monotonic_ns(), 0))
            stack.run()

    def _account(self, pacer: Pacer | None, *, receives: bool) -> None:
        result, sender = self.result, self.sender
        unsent = self.source.packets - sender.packets - sender.oversize
        held_back = self.source.unsent(unsent)
        for number, stream in enumerate(self.streams):
            told = StreamResult(stream.name or str(number), sent=self.source.streams[number].made - held_back[number])
            if receives and stream.signature and isinstance(self.sink, StreamSink):
                account_stream(told, self.sink.arrivals(number))
            result.streams.append(told)
        result.sent, result.bytes = sender.packets + sender.oversize, sender.bytes
        for card in self.cards:
            for reason, frames in card.drops.items():
                if receives or not reason.startswith("rx_"):  # what others send there is no part of it
                    result.count_drop(reason, frames)
        for reason, frames in self.cabling.drops().items():
            result.count_drop(reason, frames)
        result.count_drop("mtu_exceeded", sender.oversize)
        if receives:
            result.received, result.received_bytes = self.sink.packets, self.sink.bytes
            result.foreign = self.sink.foreign if isinstance(self.sink, StreamSink) else 0
        elif self.cabling.taken is not None:
            result.received, result.received_bytes = self.cabling.taken()
        result.finish(every_signed=receives and len(self.signed) == len(self.streams), copied=self.source.copied)
        if pacer is not None and (late := pacer.lateness).total:
            result.late_p50, result.late_p99, result.late_max = late.percentile(50), late.percentile(99), late.max


__all__ = ["FAR_MAC", "NEAR_MAC", "Generate", "Phase", "Stream", "StreamError"]
