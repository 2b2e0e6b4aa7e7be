"""Rule 14: each operation under its lock and in its context, and nothing that sleeps where it must not.

The table is that of networking/netdevices. Atomic is what runs under a spinlock or with BHs off: the operations marked so, a poll, an
interrupt handler. What timers call is not, here: work runs there, too. `threading.Lock` is what a driver has for a spinlock, and is
not known to sleep; a Condition, an Event, a queue, a Thread that is joined, time.sleep, rtnl and napi_disable are.
"""

from __future__ import annotations

import sys
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal
from weakref import WeakKeyDictionary

from softnet.checks.calls import Call, unchecked
from softnet.checks.contexts import SoftirqEvent, contexts
from softnet.checks.group import RuleGroup
from softnet.checks.probes import Wrapper, probe, tell
from softnet.netdev import NetDevice
from softnet.netdev_config import DeviceConfig
from softnet.netdev_features import Feature
from softnet.netdev_queue import NetdevQueue
from softnet.rtnl import Rtnl

if TYPE_CHECKING:
    from softnet.checks.checker import Checker

FROZEN = 4  # QUEUE_STATE_FROZEN in TxQueue.state
SLEEP = time.sleep

Lock = Literal["rtnl", "tx", "frozen", "addr", None]


@dataclass(frozen=True)
class CalledWith:
    """How an operation is called: under which lock, and whether it may sleep."""

    lock: Lock
    sleeps: bool


PROCESS = CalledWith("rtnl", sleeps=True)
TABLE = {
    "init": PROCESS,
    "uninit": PROCESS,
    "open": PROCESS,
    "stop": PROCESS,
    "validate_addr": PROCESS,
    "set_mac_address": PROCESS,
    "change_mtu": PROCESS,
    "fix_features": PROCESS,
    "set_features": PROCESS,
    "vlan_rx_add_vid": PROCESS,
    "vlan_rx_kill_vid": PROCESS,
    "eth_ioctl": PROCESS,
    "bpf": PROCESS,
    "start_xmit": CalledWith("tx", sleeps=False),
    "tx_timeout": CalledWith("frozen", sleeps=False),
    "set_rx_mode": CalledWith("addr", sleeps=False),
    "get_stats64": CalledWith(None, sleeps=False),
    "select_queue": CalledWith(None, sleeps=False),
}
NAMES = {
    "rtnl": "rtnl_lock", "tx": "the queue's transmit lock", "frozen": "the transmit lock, all queues frozen", "addr": "the address lock",
}  # fmt: skip


class Locking(RuleGroup):
    """Rule 14."""

    def __init__(self, checker: Checker) -> None:
        super().__init__(checker)
        self._held: WeakKeyDictionary[Call, frozenset[str]] = WeakKeyDictionary()
        self._imported: list[tuple[Any, str]] = []

    def registering(self, device: NetDevice) -> None:
        """A driver's own `from time import sleep` is to be seen, too."""
        for kind in type(unchecked(device.netdev_ops)).__mro__:
            module = sys.modules.get(kind.__module__)
            for name, value in list(vars(module).items() if module is not None and module is not time else ()):
                if value is SLEEP:
                    setattr(module, name, time.sleep)
                    self._imported.append((module, name))

    def finished(self) -> None:
        while self._imported:
            module, name = self._imported.pop()
            setattr(module, name, SLEEP)

    def op_begins(self, call: Call) -> None:
        rule = TABLE.get(call.name)
        if rule is None:
            return
        device = call.device
        held = locks_held(device)
        self._held[call] = held
        if not _is_held(rule.lock, call, held):
            assert rule.lock is not None
            self.checker.report(14, device, call.operation, f"called without {NAMES[rule.lock]}", call.where)
        if rule.sleeps and (device.stack.softirq.in_softirq or held - {"rtnl"}):
            self.checker.report(14, device, call.operation, "called where it cannot sleep: it is for process context", call.where)

    def op_ends(self, call: Call) -> None:
        before = self._held.pop(call, None)
        if before is not None and (changed := before ^ locks_held(call.device)):
            detail = f"it returned with {' and '.join(sorted(changed))} {'released' if changed <= before else 'held'}"
            self.checker.report(14, call.device, call.operation, detail, call.where)

    def softirq_event(self, event: SoftirqEvent) -> None:
        if event.event == "napi_disabling":
            self.slept("it called napi_disable, which sleeps")

    def slept(self, what: str) -> None:
        """Not where it is atomic. In ndo_tx_timeout that is rule 19's."""
        for context in reversed(contexts()):
            if isinstance(context, Call):
                rule = TABLE.get(context.name)
                if rule is None or rule.sleeps:
                    continue
                if context.name == "tx_timeout":
                    return
                operation = context.operation
            elif context.kind == "timer":
                return
            else:
                operation = "napi poll" if context.kind == "poll" else "interrupt handler"
            device = context.device
            if device is None or device.stack.checker is self.checker:
                self.checker.report(14, device or "?", operation, f"{what}, and this must not sleep")
            return


def locks_held(device: NetDevice) -> frozenset[str]:
    """By this thread."""
    held = [f"the transmit lock of tx-{queue.index}" for queue in device.tx if queue.locked_here]
    if device.stack.rtnl.held:
        held.append("rtnl")
    if device.addr_lock.held:
        held.append(NAMES["addr"])
    return frozenset(held)


def _is_held(lock: Lock, call: Call, held: frozenset[str]) -> bool:
    device = call.device
    if lock == "rtnl":
        return "rtnl" in held
    if lock == "addr":
        return NAMES["addr"] in held
    if lock == "frozen":
        return all(queue.txq.state & FROZEN for queue in device.tx)
    if lock == "tx":
        return bool(device.features & Feature.LLTX) or device.tx[call.args[0].queue_mapping].locked_here
    return True


# --- what sleeps ---


def _sleeper(owner: Any, name: str, what: str) -> None:
    """might_sleep. What is in braces is the first argument."""

    @probe(owner, name)
    def sleeping(original: Wrapper, *args: Any, **kwargs: Any) -> Any:
        for stack in {context.device.stack for context in contexts() if context.device is not None}:
            tell(stack, "slept", what.format(*args))
        return original(*args, **kwargs)


_sleeper(time, "sleep", "it slept for {:g} s")
_sleeper(threading.Condition, "wait", "it waited for another thread")
_sleeper(threading.Thread, "join", "it waited for a thread to end")
_sleeper(Rtnl, "__enter__", "it took rtnl, which may sleep")


# --- what needs rtnl, and does not take it ---


def _needs_rtnl(owner: type, name: str, kernel: str) -> None:
    @probe(owner, name)
    def asserting(original: Wrapper, self: Any, *args: Any, **kwargs: Any) -> Any:
        device = self.device if isinstance(self, NetdevQueue) else self
        checker = device.stack.checker
        if checker is not None and checker.active and not device.stack.rtnl.held:
            checker.report(14, device, kernel, "called without rtnl_lock")
        return original(self, *args, **kwargs)


_needs_rtnl(NetDevice, "activate", "dev_activate")
_needs_rtnl(NetDevice, "deactivate", "dev_deactivate")
_needs_rtnl(DeviceConfig, "update_features", "netdev_update_features")
_needs_rtnl(NetdevQueue, "attach", "attach_default_qdiscs")
_needs_rtnl(NetdevQueue, "reset", "qdisc_reset_all_tx_gt")
