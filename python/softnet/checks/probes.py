"""Probes: functions of softnet that are wrapped while a checker is on, and are themselves again after. Nothing is paid while none is.

    @probe(NetDevice, "free")
    def _free(original, device):
        original(device)
        tell(device.stack, "freed", device)
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from softnet.checks.calls import CheckedOps, CheckedTxQueue, observe, unchecked
from softnet.netdev import NetDevice
from softnet.netdev_link import LinkState
from softnet.netdev_queue import NetdevQueue
from softnet.skbuff import DropReason, SkBuff
from softnet.stack import Stack

if TYPE_CHECKING:
    from softnet.checks.checker import Checker

Wrapper = Callable[..., Any]

_probes: list[tuple[Any, str, Wrapper]] = []
_originals: list[tuple[Any, str, Any]] = []
_lock = threading.Lock()
_users: list[Checker] = []


def probe(owner: Any, name: str) -> Callable[[Wrapper], Wrapper]:
    """Have `owner.name`, a class's method or property's setter, or a module's function, call this with the original and its arguments.

    Only where the name is looked up in `owner` at each call. Not for classes of compiled modules, which do not change.
    """

    def add(wrapper: Wrapper) -> Wrapper:
        with _lock:
            _probes.append((owner, name, wrapper))
            if _users:
                _install(owner, name, wrapper)
        return wrapper

    return add


def _install(owner: Any, name: str, wrapper: Wrapper) -> None:
    original = vars(owner)[name]
    _originals.append((owner, name, original))
    if isinstance(original, property):
        assert original.fset is not None
        setattr(owner, name, property(original.fget, functools.partial(wrapper, original.fset), doc=original.__doc__))
        return

    @functools.wraps(original)
    def probed(*args: Any, **kwargs: Any) -> Any:
        return wrapper(original, *args, **kwargs)

    setattr(owner, name, probed)


def install(checker: Checker) -> None:
    """One checker more."""
    with _lock:
        _users.append(checker)
        if len(_users) == 1:
            for owner, name, wrapper in _probes:
                _install(owner, name, wrapper)


def remove(checker: Checker) -> None:
    """One less; with the last, everything is as it was."""
    with _lock:
        _users.remove(checker)
        if not _users:
            while _originals:
                owner, name, original = _originals.pop()
                setattr(owner, name, original)


def tell(stack: Stack, hook: str, *args: Any) -> None:
    """Tell the checker of a stack, if it has one that is on."""
    if stack.checker is not None and stack.checker.active:
        stack.checker.tell(hook, *args)


# --- devices ---


@probe(NetDevice, "__init__")
def _device_made(original: Wrapper, device: NetDevice, stack: Stack, *args: Any, **kwargs: Any) -> None:
    original(device, stack, *args, **kwargs)
    tell(stack, "device_made", device)


@probe(NetDevice, "netdev_ops")
def _set_ops(original: Wrapper, device: NetDevice, ops: Any) -> None:
    checker = device.stack.checker
    original(device, ops if checker is None else CheckedOps(unchecked(ops), device, checker))


@probe(NetdevQueue, "__init__")
def _queue_made(original: Wrapper, queue: NetdevQueue, device: NetDevice, index: int, *, bql: bool) -> None:
    original(queue, device, index, bql=bql)
    if device.stack.checker is not None:
        txq = CheckedTxQueue(bql=bql)
        txq.checked_queue = queue
        queue.txq = txq


@probe(NetDevice, "register")
def _register(original: Wrapper, device: NetDevice) -> None:
    tell(device.stack, "registering", device)
    original(device)
    tell(device.stack, "registered", device)


@probe(NetDevice, "unregister")
def _unregister(original: Wrapper, device: NetDevice) -> None:
    tell(device.stack, "unregistering", device)
    original(device)
    tell(device.stack, "unregistered", device)


@probe(NetDevice, "free")
def _free(original: Wrapper, device: NetDevice) -> None:
    original(device)
    tell(device.stack, "freed", device)


@probe(NetDevice, "start_xmit")
def _start_xmit(original: Wrapper, device: NetDevice, skb: SkBuff, by: NetDevice) -> Any:
    if device.takes_packets or device.stack.checker is None:
        return original(device, skb, by)
    return observe(device.stack.checker, device, "start_xmit", functools.partial(original, device), skb, by)  # of a driver of bursts


@probe(LinkState, "_switch")
def _switch(original: Wrapper, device: NetDevice, what: str, value: bool) -> bool:
    changed: bool = original(device, what, value)
    if changed and what == "_carrier":
        tell(device.stack, "carrier_changed", device, value)
    return changed


# --- packets ---


@probe(SkBuff, "_free")
def _skb_freed(original: Wrapper, skb: SkBuff, how: DropReason | bool) -> None:
    try:
        original(skb, how)
    finally:  # a destructor may raise
        if skb.dev is not None:
            tell(skb.dev.stack, "skb_freed", skb, how)
        else:  # whoever had it took that off
            for checker in tuple(_users):
                if checker.active:
                    checker.tell("skb_freed", skb, how)


# --- the stack ---


@probe(Stack, "run")
def _run(original: Wrapper, stack: Stack) -> int:
    done: int = original(stack)
    tell(stack, "stack_ran", stack)
    return done
