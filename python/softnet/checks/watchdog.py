"""Rule 19: the carrier says what the link does, and a queue that hangs gets going again."""

from __future__ import annotations

from dataclasses import dataclass
from weakref import WeakKeyDictionary

from softnet.checks.calls import Call, QueueEvent, current_call
from softnet.checks.checker import Checker
from softnet.checks.group import RuleGroup
from softnet.checks.where import driver_line
from softnet.netdev import NetDevice
from softnet.netdev_queue import NetdevQueue
from softnet.stack import Stack
from softnet.watchdog import XOFF

TX_TIMEOUT = "ndo_tx_timeout"


@dataclass(eq=False)
class _Recovery:
    """What a queue had done when its tx_timeout was last called."""

    wakes: int
    trans_start: int


def _progress(queue: NetdevQueue) -> _Recovery:
    return _Recovery(queue.txq.wakes + queue.txq.restarts, queue.txq.trans_start)


class CarrierAndTimeout(RuleGroup):
    """Of each device, and each of its queues."""

    def __init__(self, checker: Checker) -> None:
        super().__init__(checker)
        self._timeouts: WeakKeyDictionary[NetdevQueue, _Recovery] = WeakKeyDictionary()
        self._manages_carrier: WeakKeyDictionary[NetDevice, None] = WeakKeyDictionary()
        self._hung: WeakKeyDictionary[NetdevQueue, None] = WeakKeyDictionary()  # reported, until it is woken

    # --- carrier ---

    def carrier_changed(self, device: NetDevice, on: bool) -> None:
        self._manages_carrier[device] = None
        if on and not device.running:
            self.checker.report(19, device, "netif_carrier_on", "the carrier came on while the device is down", driver_line())

    def op_ends(self, call: Call) -> None:
        device = call.device
        if call.name == "stop" and call.error is None and device.carrier_ok and device in self._manages_carrier:
            self.checker.report(19, device, call.operation, "the carrier is still on after it", call.where)
        elif call.name == "tx_timeout" and call.error is not None:
            self.checker.report(19, device, TX_TIMEOUT, f"it failed: {call.error!r}", call.where)

    # --- tx_timeout ---

    def op_begins(self, call: Call) -> None:
        if call.name == "open":
            for queue in call.device.tx:
                self._timeouts.pop(queue, None)
        if call.name != "tx_timeout":
            return
        queue = call.device.tx[call.args[1]]
        before, now = self._timeouts.get(queue), _progress(queue)
        self._timeouts[queue] = now
        if before is not None and (now.wakes, now.trans_start) == (before.wakes, before.trans_start):
            detail = f"called again for tx-{queue.index}, which nobody woke since the last time, and nothing was sent"
            self.checker.report(19, call.device, TX_TIMEOUT, detail, call.where)

    def slept(self, what: str) -> None:
        """The thread sleeps, or may: inside ndo_tx_timeout it must not."""
        call = current_call()
        if call is not None and call.name == "tx_timeout":
            self.checker.report(19, call.device, TX_TIMEOUT, f"{what}, with BHs off and every queue frozen", driver_line())

    def stack_ran(self, stack: Stack) -> None:
        for device in list(stack.devices.values()):
            if device.running and device.carrier_ok and getattr(device.netdev_ops, "tx_timeout", None) is None:
                for queue in device.tx:
                    self._no_watchdog(queue)

    def _no_watchdog(self, queue: NetdevQueue) -> None:
        device = queue.device
        stuck = device.stack.clock.monotonic_ns() - queue.txq.trans_start
        if queue.txq.state & XOFF and stuck > 2 * device.watchdog.timeo and queue not in self._hung:
            self._hung[queue] = None
            detail = f"tx-{queue.index} has been stopped for {stuck / 1e9:.1f} s, and the driver has none to be called"
            self.checker.report(19, device, TX_TIMEOUT, detail, "")

    def queue_done(self, event: QueueEvent) -> None:
        if event.action in ("wake", "start", "completed_wake"):
            self._hung.pop(event.queue, None)
