"""What runs on a thread besides operations, polls, interrupt handlers and timers, and whose they are: the device a rule is about."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from fastring import clock as clocks
from fastring.irq import IrqLine
from fastring.napi import Napi
from softnet.checks.calls import Call, calls, unchecked
from softnet.checks.group import RuleGroup
from softnet.checks.where import definition
from softnet.driver import NapiStruct, Work

if TYPE_CHECKING:
    from fastring.clock import TimerHandle
    from softnet.checks.checker import Checker
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


class Observer:
    """What a Stack's softirq tells, and whose its NAPIs, lines and timers are. The softirq holds it, and so nothing outlives its stack."""

    def __init__(self, checker: Checker, stack: Stack) -> None:
        self.checker = checker
        self.stack = stack
        self.owners: dict[int, tuple[Napi | IrqLine, NetDevice]] = {}  # by id: they take no weak reference
        self.timers: dict[int, tuple[TimerHandle, NetDevice]] = {}

    def __call__(self, event: str, source: Any, value: int) -> None:
        stacked = _contexts.stack
        if event in ("napi_polled", "irq_done") and stacked and stacked[-1].source is source:
            stacked.pop()
        context = next(reversed(contexts()), None)
        owner = self._owner(source)
        if owner is None and context is not None:
            owner = context.device
        if event in ("napi_removed", "irq_removed"):
            self.owners.pop(id(source), None)
        elif owner is not None:
            self.owners.setdefault(id(source), (source, owner))
        if event == "napi_scheduling" and isinstance(context, Context) and context.device is None and owner is not None:
            context.device = owner  # a handler's line is of the device that it schedules
            self.owners[id(context.source)] = context.source, owner
        if event in ("napi_poll", "irq"):
            stacked.append(Context("poll" if event == "napi_poll" else "irq", source, owner, len(calls())))
        self.checker.tell("softirq_event", SoftirqEvent(event, source, value, owner, self.stack, context))

    def _owner(self, source: Any) -> NetDevice | None:
        owner: NetDevice | None = getattr(source, "device", None)
        return self.owners.get(id(source), (None, None))[1] if owner is None else owner


class Contexts(RuleGroup):
    """Sees to an Observer for each Stack, and to the timers. It has no rule."""

    def __init__(self, checker: Checker) -> None:
        super().__init__(checker)
        clocks.timer_watchers.append(self._timer)

    def stack_watched(self, stack: Stack) -> None:
        stack.softirq.observer = Observer(self.checker, stack)

    def finished(self) -> None:
        clocks.timer_watchers.remove(self._timer)
        for stack in self.checker.stacks:
            stack.softirq.observer = None

    def _timer(self, event: str, timer: TimerHandle) -> None:
        if event == "armed":
            device = whose()
            observer = None if device is None or device.stack.checker is not self.checker else _observer(device)
            if device is not None and observer is not None and is_drivers(timer.function, device):
                observer.timers = {key: known for key, known in observer.timers.items() if known[0].armed}
                observer.timers[id(timer)] = timer, device
                self.checker.tell("timer_armed", device, timer)
        elif event == "fired":
            for stack in self.checker.stacks:
                theirs = stack.softirq.observer
                known = theirs.timers.pop(id(timer), None) if isinstance(theirs, Observer) else None
                if known is not None:
                    _contexts.stack.append(Context("timer", timer, known[1], len(calls())))
        elif _contexts.stack and _contexts.stack[-1].source is timer:
            _contexts.stack.pop()


def _observer(device: NetDevice) -> Observer | None:
    """None if the stack was given another softirq."""
    observer = device.stack.softirq.observer
    return observer if isinstance(observer, Observer) else None


def _owned(device: NetDevice) -> list[Napi | IrqLine]:
    observer = _observer(device)
    return [] if observer is None else [source for source, owner in list(observer.owners.values()) if owner is device]


def napis(device: NetDevice) -> list[Napi]:
    """Those of its NAPIs that a softirq has."""
    return [source for source in _owned(device) if isinstance(source, Napi)]


def lines(device: NetDevice) -> list[IrqLine]:
    """Those of its interrupt lines that a softirq services."""
    return [source for source in _owned(device) if isinstance(source, IrqLine)]


def armed_timers(device: NetDevice) -> list[TimerHandle]:
    """Those of its timers that wait."""
    observer = _observer(device)
    return [] if observer is None else [timer for timer, owner in list(observer.timers.values()) if owner is device and timer.armed]


def poll_line(napi: object) -> str:
    """Where a NAPI's poll function begins; "" if that is none in Python."""
    if isinstance(napi, NapiStruct):
        return definition(napi._poll)
    return "" if getattr(type(napi), "on_poll", Napi.on_poll) is Napi.on_poll else definition(type(napi).on_poll)  # type: ignore[attr-defined]


def is_drivers(function: Any, device: NetDevice) -> bool:
    """Whether a callback is of the driver: of a module or package of its operations, or work that is. Sockets have timers, too."""
    while True:
        if isinstance(function, partial):
            function = function.func
        elif isinstance(work := getattr(function, "__self__", None), Work):
            function = work._function
        else:
            break
    module = getattr(function, "__module__", None) or ""
    drivers = {kind.__module__ for kind in type(unchecked(device.netdev_ops)).__mro__ if kind is not object}
    return module in drivers or any(_package(module) == _package(name) != "" for name in drivers)


def _package(module: str) -> str:
    return module.rpartition(".")[0]
