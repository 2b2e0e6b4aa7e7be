"""What runs on a thread besides operations, polls, interrupt handlers and timers, and whose they are: the device a rule is about."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from fastring import clock as clocks
from fastring.irq import IrqLine
from fastring.napi import Napi
from softnet.checks.calls import Call, calls
from softnet.checks.group import RuleGroup

if TYPE_CHECKING:
    from fastring.clock import TimerHandle
    from softnet.netdev import NetDevice
    from softnet.stack import Stack

Kind = Literal["poll", "irq", "timer"]


@dataclass(eq=False)
class Context:
    """A poll, a handler or a timer that this thread is inside of. `source`: the Napi, IrqLine or TimerHandle."""

    kind: Kind
    source: Any
    device: NetDevice | None
    inside: int  # operations that it is inside of


@dataclass(eq=False)
class SoftirqEvent:
    """What a softirq's observer is told (see fastring.napi.EVENTS). `device`: whose Napi or IrqLine `source` is, if that is known."""

    event: str
    source: Any
    value: int
    device: NetDevice | None
    stack: Stack
    context: Context | Call | None  # what it happens in


class _Contexts(threading.local):
    def __init__(self) -> None:
        self.stack: list[Context] = []


_contexts = _Contexts()


def contexts() -> list[Context | Call]:
    """All that this thread is inside of, the innermost last."""
    operations = calls()
    merged: list[Context | Call] = []
    begun = 0
    for context in _contexts.stack:
        merged += operations[begun : context.inside]
        merged.append(context)
        begun = context.inside
    return merged + operations[begun:]


def whose() -> NetDevice | None:
    """The device that the innermost of them with a known one is of."""
    return next((context.device for context in reversed(contexts()) if context.device is not None), None)


class Contexts(RuleGroup):
    """Keeps account of contexts and owners, and tells the other groups: softirq_event, timer_armed. It has no rule."""

    def __init__(self, checker: Any) -> None:
        super().__init__(checker)
        self._owners: dict[int, tuple[Any, NetDevice]] = {}  # by id, of what takes no weak reference
        self._timers: dict[int, tuple[TimerHandle, NetDevice]] = {}
        clocks.timer_watchers.append(self._timer)

    def stack_watched(self, stack: Stack) -> None:
        stack.softirq.observer = lambda event, source, value: self._observe(stack, event, source, value)

    def finished(self) -> None:
        clocks.timer_watchers.remove(self._timer)
        for stack in self.checker.stacks:
            stack.softirq.observer = None
        self._owners.clear()
        self._timers.clear()

    def napis(self, device: NetDevice) -> list[Napi]:
        """Those of its NAPIs that a softirq has."""
        return [source for source, owner in list(self._owners.values()) if owner is device and isinstance(source, Napi)]

    def lines(self, device: NetDevice) -> list[IrqLine]:
        """Those of its interrupt lines that a softirq services."""
        return [source for source, owner in list(self._owners.values()) if owner is device and isinstance(source, IrqLine)]

    def armed_timers(self, device: NetDevice) -> list[TimerHandle]:
        """Those of its timers that wait."""
        return [timer for timer, owner in list(self._timers.values()) if owner is device and timer.armed]

    # --- softirqs ---

    def _owner(self, source: Any) -> NetDevice | None:
        owner: NetDevice | None = getattr(source, "device", None)
        if owner is None:
            owner = self._owners.get(id(source), (None, None))[1]
        return owner

    def _observe(self, stack: Stack, event: str, source: Any, value: int) -> None:
        stacked = _contexts.stack
        if event in ("napi_polled", "irq_done") and stacked and stacked[-1].source is source:
            stacked.pop()
        context = next(reversed(contexts()), None)
        owner = self._owner(source)
        if owner is None and context is not None:
            owner = context.device
        if event in ("napi_removed", "irq_removed"):
            self._owners.pop(id(source), None)
        elif owner is not None and id(source) not in self._owners:
            self._owners[id(source)] = source, owner
        if event == "napi_scheduling" and isinstance(context, Context) and context.device is None and owner is not None:
            context.device = owner
            self._owners[id(context.source)] = context.source, owner
        if event in ("napi_poll", "irq"):
            stacked.append(Context("poll" if event == "napi_poll" else "irq", source, owner, len(calls())))
        self.checker.tell("softirq_event", SoftirqEvent(event, source, value, owner, stack, context))

    # --- timers ---

    def _timer(self, event: str, timer: TimerHandle) -> None:
        if event == "armed":
            device = whose()
            if device is not None and device.stack.checker is self.checker and not _of_stack(timer.function):
                self._timers = {key: known for key, known in self._timers.items() if known[0].armed}
                self._timers[id(timer)] = timer, device
                self.checker.tell("timer_armed", device, timer)
        elif event == "fired":
            _, device = self._timers.pop(id(timer), (None, None))
            if device is not None:
                _contexts.stack.append(Context("timer", timer, device, len(calls())))
        elif _contexts.stack and _contexts.stack[-1].source is timer:
            _contexts.stack.pop()


def _of_stack(function: Any) -> bool:
    """Whether softnet armed the timer for itself; softnet.driver does so for a driver."""
    module = getattr(getattr(function, "func", function), "__module__", None) or ""
    return module.startswith(("softnet.", "fastring.")) and module != "softnet.driver"
