"""Rule 15: the contract of NAPI, for every poll of every driver."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fastring.napi import Napi
from softnet.checks.contexts import Context, SoftirqEvent, contexts, lines, napis, poll_line
from softnet.checks.group import RuleGroup
from softnet.checks.probes import Wrapper, probe, tell
from softnet.checks.where import driver_line
from softnet.gro import Gro

if TYPE_CHECKING:
    from softnet.gro import GroResult
    from softnet.netdev import NetDevice
    from softnet.skbuff import SkBuff


IN_BUSY_POLL = 1 << 6  # Napi.state: its interrupts are not masked by who polls it, but by the first that comes


@dataclass(eq=False)
class Poll:
    """One poll of a NAPI, while it runs."""

    budget: int
    lines: list[tuple[Any, int]]  # the device's, and how often each had been raised before
    completed: int = 0
    received: bool = False


class NapiMisuse(RuleGroup):
    """Rule 15. Registers are not known here: that a card's interrupts are on while they should be masked shows by its line."""

    def __init__(self, checker: Any) -> None:
        super().__init__(checker)
        self._polls: dict[int, Poll] = {}  # by id of the Napi
        self._early: dict[int, int] = {}  # by id of the line that was up too early: that of the Napi

    def finished(self) -> None:
        self._polls.clear()
        self._early.clear()

    def _report(self, event: SoftirqEvent, operation: str, detail: str) -> None:
        where = driver_line() or poll_line(event.source)
        self.checker.report(15, "?" if event.device is None else event.device, operation, detail, where)

    def softirq_event(self, event: SoftirqEvent) -> None:
        handle = getattr(self, f"_{event.event}", None)
        if handle is not None:
            handle(event)

    def _irq_removed(self, event: SoftirqEvent) -> None:
        self._early.pop(id(event.source), None)

    def _napi_removed(self, event: SoftirqEvent) -> None:
        self._polls.pop(id(event.source), None)

    def _napi_poll(self, event: SoftirqEvent) -> None:
        known = [] if event.device is None else lines(event.device)
        self._polls[id(event.source)] = Poll(event.value, [(line, line.raised) for line in known])

    def _napi_completing(self, event: SoftirqEvent) -> None:
        napi, poll = event.source, self._polls.get(id(event.source))
        if napi.disabled:
            self._report(event, "napi_complete_done", f"{napi!r}: it was polled while it is disabled")
        elif poll is not None:
            if poll.completed and not napi.scheduled and napi.error is None:  # else it raised: completed for it
                self._report(event, "napi_complete_done", f"{napi!r} is completed twice in one poll")
            poll.completed += 1
            for line, before in poll.lines:
                if line.asserted and line.raised != before:
                    self._early[id(line)] = id(napi)

    def _napi_polled(self, event: SoftirqEvent) -> None:
        poll = self._polls.pop(id(event.source), None)
        if poll is None:
            return
        work, budget = event.value, poll.budget
        if not 0 <= work <= budget:
            self._report(event, "napi poll", f"{work} packets of work with a budget of {budget}")
        elif poll.completed and work == budget:
            self._report(event, "napi poll", f"napi_complete_done, and a return of {work}, which is the whole budget")
        elif not poll.completed and work < budget:
            self._report(event, "napi poll", f"{work} of a budget of {budget} and no napi_complete_done: it is never polled again")

    def _napi_scheduling(self, event: SoftirqEvent) -> None:
        """An interrupt handler that finds its NAPI scheduled: the card was not masked. Others, such as a lost interrupt's timer, may."""
        if not isinstance(event.context, Context) or event.context.kind != "irq":
            return
        napi, line = event.source, event.context.source
        if napi.scheduled and not napi.state & IN_BUSY_POLL and not napi.gro_flush_timeout:  # whose timer may have scheduled it
            detail = f"an interrupt came while {napi!r}: they were not masked when it was scheduled, or unmasked too early"
            self._report(event, "interrupt handler", detail)
        elif self._early.get(id(line)) == id(napi):
            self._report(event, "napi poll", f"{line!r} was up before napi_complete_done of {napi!r}: unmasked too early")

    def _irq_done(self, event: SoftirqEvent) -> None:
        self._early.pop(id(event.source), None)

    # --- a budget of 0 ---

    def gro_received(self, skb: SkBuff) -> None:
        """Not with a budget of 0."""
        for context in reversed(contexts()):
            if isinstance(context, Context) and context.kind == "poll":
                poll = self._polls.get(id(context.source))
                if poll is not None and not poll.budget and not poll.received:
                    poll.received = True
                    self.checker.report(15, context.device or "?", "napi poll", f"{skb!r} was received with a budget of 0")
                return

    skb_received = gro_received


def netpoll(device: NetDevice) -> None:
    """Poll a checked device's NAPIs with a budget of 0, as netconsole does (poll_one_napi): only what was sent may be reclaimed.

    Not those in Cython, which nobody can call from here, nor from inside the softirq. What a poll raises, this does.
    """
    observe = device.stack.softirq.observer
    for napi in napis(device):
        if observe is None or napi.disabled or type(napi).on_poll is Napi.on_poll:
            continue
        observe("napi_poll", napi, 0)
        work = 0
        try:
            work = napi.on_poll(0)
        finally:
            observe("napi_polled", napi, work)


@probe(Gro, "receive")
def _gro_receive(original: Wrapper, gro: Gro, skb: SkBuff) -> GroResult:
    if skb.dev is not None:
        tell(skb.dev.stack, "gro_received", skb)
    result: GroResult = original(gro, skb)
    return result
