"""What a driver and its device say to one another, made visible: CheckedOps stands before the driver, CheckedTxQueue for the queue."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from fastring.txq import TxQueue
from softnet.checks.where import called_by_stack, definition, driver_line
from softnet.netdev_ops import OptionalOps

if TYPE_CHECKING:
    from softnet.checks.checker import Checker
    from softnet.netdev import NetDevice
    from softnet.netdev_queue import NetdevQueue

OPERATIONS = frozenset(name for name in {**vars(OptionalOps), "open": None, "stop": None} if not name.startswith("_"))


@dataclass(eq=False)
class Call:
    """One call of a driver's operation. `notes`: what a rule group wants to know again when it ends, by keys of its own."""

    device: NetDevice
    name: str  # "start_xmit"
    args: tuple[Any, ...]  # as the driver gets them: start_xmit's are (skb, device)
    where: str  # where the driver's function is
    result: Any = None
    error: BaseException | None = None
    notes: dict[str, Any] = field(default_factory=dict)

    @property
    def operation(self) -> str:
        """As the kernel calls it: ndo_start_xmit."""
        return f"ndo_{self.name}"


class _Calls(threading.local):
    """The operations this thread is inside of, the innermost last."""

    def __init__(self) -> None:
        self.inside: list[Call] = []


_calls = _Calls()


def calls() -> list[Call]:
    """The operations this thread is inside of, the innermost last."""
    return _calls.inside


def current_call(device: NetDevice | None = None) -> Call | None:
    """The innermost operation, of this device, that this thread is inside of."""
    for call in reversed(_calls.inside):
        if device is None or call.device is device:
            return call
    return None


class CheckedOps:
    """A driver as its device sees it: its operations are reported to the checker, all else is the driver's own."""

    __slots__ = ("_checker", "_device", "_ops")
    _checker: Checker
    _device: NetDevice
    _ops: Any

    def __init__(self, ops: Any, device: NetDevice, checker: Checker) -> None:
        object.__setattr__(self, "_ops", ops)
        object.__setattr__(self, "_device", device)
        object.__setattr__(self, "_checker", checker)

    def __getattribute__(self, name: str) -> Any:
        ops = object.__getattribute__(self, "_ops")
        value = getattr(ops, name)
        if name not in OPERATIONS or not callable(value):
            return value
        get = object.__getattribute__
        return partial(observe, get(self, "_checker"), get(self, "_device"), name, value)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(object.__getattribute__(self, "_ops"), name, value)

    def __delattr__(self, name: str) -> None:
        delattr(object.__getattribute__(self, "_ops"), name)

    def __repr__(self) -> str:
        return repr(object.__getattribute__(self, "_ops"))

    def __eq__(self, other: object) -> bool:
        return bool(object.__getattribute__(self, "_ops") == unchecked(other))

    def __hash__(self) -> int:
        return hash(object.__getattribute__(self, "_ops"))


def unchecked(ops: Any) -> Any:
    """The driver itself, whether or not a checker looks at it."""
    return object.__getattribute__(ops, "_ops") if type(ops) is CheckedOps else ops


def observe(checker: Checker, device: NetDevice, name: str, operation: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call an operation of a driver, and tell when it begins and ends."""
    inside = _calls.inside
    if not checker.active or (inside and inside[-1].name == name and inside[-1].device is device):  # a driver around a driver
        return operation(*args, **kwargs)
    call = Call(device, name, args, definition(operation))
    checker.tell("op_begins", call)
    inside.append(call)
    try:
        call.result = operation(*args, **kwargs)
    except BaseException as error:
        call.error = error
        raise
    finally:
        inside.pop()
        checker.tell("op_ends", call)
    return call.result


@dataclass(eq=False)
class QueueEvent:
    """One use of a queue's interface.

    `action`, with its `args`: "stop", "start", "wake", "maybe_stop" (free_slots, stop, start), "completed_wake" (packets, bytes, free,
    start), "sent" (bytes), "completed" (packets, bytes), "reset".
    """

    queue: NetdevQueue
    action: str
    args: tuple[Any, ...]
    by_stack: bool  # softnet itself, as NetDevice.stop does, and not the driver
    call: Call | None  # the operation of the same device that it happens in
    where: str
    awake: bool  # not stopped by its driver, before this
    result: Any = None
    notes: dict[str, Any] = field(default_factory=dict)

    @property
    def device(self) -> NetDevice:
        return self.queue.device


class CheckedTxQueue(TxQueue):
    """A TxQueue that reports what its Python interface is asked for. What Cython asks of it goes straight through."""

    checked_queue: NetdevQueue

    def _tell(self, action: str, method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        queue = self.checked_queue
        checker = queue.device.stack.checker
        if checker is None or not checker.active:
            return method(*args, **kwargs)
        event = QueueEvent(queue, action, args, called_by_stack(), current_call(queue.device), driver_line(), not queue.driver_stopped)
        checker.tell("queue_begins", event)
        event.result = method(*args, **kwargs)
        checker.tell("queue_done", event)
        return event.result

    def stop(self) -> None:
        self._tell("stop", super().stop)

    def start(self) -> None:
        self._tell("start", super().start)

    def wake(self) -> None:
        self._tell("wake", super().wake)

    def txq_maybe_stop(self, free_slots: Callable[[], int], stop: int, start: int) -> int:
        result: int = self._tell("maybe_stop", super().txq_maybe_stop, free_slots, stop, start)
        return result

    def txq_completed_wake(self, packets: int, bytes: int, free: int, start: int, *, now: int = 0) -> int:
        result: int = self._tell("completed_wake", super().txq_completed_wake, packets, bytes, free, start, now=now)
        return result

    def tx_sent(self, bytes: int) -> None:
        self._tell("sent", super().tx_sent, bytes)

    def tx_completed(self, packets: int, bytes: int, *, now: int = 0) -> None:
        self._tell("completed", super().tx_completed, packets, bytes, now=now)

    def tx_reset(self) -> None:
        self._tell("reset", super().tx_reset)
