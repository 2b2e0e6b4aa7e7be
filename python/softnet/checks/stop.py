"""Rules 10 and 11: after ndo_stop nothing happens any more, and a device is not taken away before it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary, WeakSet, ref

from softnet.checks.calls import Call
from softnet.checks.contexts import SoftirqEvent, armed_timers, napis
from softnet.checks.group import RuleGroup
from softnet.checks.where import definition
from softnet.netdev_features import RegState
from softnet.skbuff import DropReason, SkBuff

if TYPE_CHECKING:
    from fastring.clock import TimerHandle
    from softnet.netdev import NetDevice

MOST = 4096  # packets in flight that are kept account of, of a device


class ActiveAfterStop(RuleGroup):
    """Rule 10. What is left at the end of ndo_stop is told of there; what happens later, when it does."""

    def __init__(self, checker: Any) -> None:
        super().__init__(checker)
        self._stopped: WeakSet[NetDevice] = WeakSet()
        self._in_flight: WeakKeyDictionary[NetDevice, dict[int, ref[SkBuff]]] = WeakKeyDictionary()

    def _report(self, device: NetDevice, detail: str, where: str | None = None) -> None:
        self.checker.report(10, device, "ndo_stop", detail, where)

    def op_begins(self, call: Call) -> None:
        if call.name == "open":
            self._stopped.discard(call.device)

    def op_ends(self, call: Call) -> None:
        if call.name == "start_xmit" and call.error is None and not call.result and not call.args[0].freed:
            flying = self._in_flight.setdefault(call.device, {})
            if len(flying) < MOST:
                flying[id(call.args[0])] = ref(call.args[0])
        elif call.name == "stop" and not isinstance(call.error, TimeoutError):  # then it is still up
            self._stopped.add(call.device)
            self._look_around(call)

    def skb_freed(self, skb: SkBuff, how: DropReason | bool) -> None:
        if skb.freed and skb.dev is not None:
            self._in_flight.get(skb.dev, {}).pop(id(skb), None)

    def _look_around(self, call: Call) -> None:
        device, where = call.device, call.where
        left = [skb for known in self._in_flight.pop(device, {}).values() if (skb := known()) is not None and not skb.freed]
        if left:
            self._report(device, f"{len(left)} packets in flight were not given up, the first of {len(left[0])} bytes", where)
        for napi in napis(device):
            if not napi.disabled:
                self._report(device, f"{napi!r} is still enabled: napi_disable was not called", where)
        for timer in armed_timers(device):
            self._report(device, f"a timer is still armed: {_name(timer.function)}, due at {timer.when} ns", where)

    def skb_received(self, skb: SkBuff) -> None:
        if skb.dev is not None and skb.dev in self._stopped and skb.dev.reg_state is not RegState.RELEASED:  # that is rule 12's
            self._report(skb.dev, f"{skb!r} was delivered after it")

    def softirq_event(self, event: SoftirqEvent) -> None:
        device = event.device
        if device is not None and device in self._stopped and event.event == "irq":
            self._report(device, f"an interrupt was handled after it: {event.source!r}", "")

    def timer_armed(self, device: NetDevice, timer: TimerHandle) -> None:
        if device in self._stopped:
            self._report(device, f"a timer was armed after it: {_name(timer.function)}", definition(timer.function))


class UnregisteredWhileUp(RuleGroup):
    """Rule 11."""

    def __init__(self, checker: Any) -> None:
        super().__init__(checker)
        self._open: WeakSet[NetDevice] = WeakSet()
        self._released: WeakKeyDictionary[NetDevice, list[str]] = WeakKeyDictionary()

    def op_ends(self, call: Call) -> None:
        if call.name == "open" and call.error is None:
            self._open.add(call.device)
        elif call.name == "stop" and not isinstance(call.error, TimeoutError):
            self._open.discard(call.device)
            self._released.pop(call.device, None)

    def softirq_event(self, event: SoftirqEvent) -> None:
        """What a remove does before unregister_netdev, and what would be all right in ndo_stop, or undone by a resume."""
        device = event.device
        if device is None or device not in self._open:
            return
        what = {"napi": "its NAPI", "irq": "its interrupt"}[event.event.partition("_")[0]]
        released = self._released.setdefault(device, [])
        if event.event in ("napi_removed", "irq_removed") and not isinstance(event.context, Call):
            released.append(what)
        elif event.event in ("napi_added", "irq_added") and what in released:
            released.remove(what)

    def unregistering(self, device: NetDevice) -> None:
        released = self._released.pop(device, [])
        if device in self._open and released:
            self.checker.report(11, device, "unregister_netdev", f"while it was up {' and '.join(released)} had been taken away")

    def unregistered(self, device: NetDevice) -> None:
        if device in self._open:
            self._open.discard(device)
            self.checker.report(11, device, "unregister_netdev", "it was opened, and its ndo_stop was never called")


def _name(function: Any) -> str:
    return getattr(function, "__qualname__", None) or repr(function)
