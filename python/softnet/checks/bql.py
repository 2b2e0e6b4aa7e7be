"""Rule 16: what a driver counts as completed it has sent, and a stopped device has nothing in flight."""

from __future__ import annotations

from weakref import WeakKeyDictionary

from softnet.checks.calls import Call, QueueEvent
from softnet.checks.checker import Checker
from softnet.checks.group import RuleGroup
from softnet.netdev_queue import NetdevQueue
from softnet.stack import Stack


class BqlRules(RuleGroup):
    """By the queue's own counters: so of drivers in Cython, too."""

    def __init__(self, checker: Checker) -> None:
        super().__init__(checker)
        self._excess: WeakKeyDictionary[NetdevQueue, int] = WeakKeyDictionary()

    def queue_done(self, event: QueueEvent) -> None:
        if event.action in ("completed", "completed_wake"):
            self._completed(event.queue, event.where)

    def stack_ran(self, stack: Stack) -> None:
        for device in list(stack.devices.values()):
            for queue in device.tx:
                self._completed(queue, "")

    def op_ends(self, call: Call) -> None:
        if call.name != "stop" or call.error is not None:
            return
        for queue in call.device.tx:
            self._completed(queue, call.where)
            if queue.txq.bql and queue.txq.inflight:
                detail = f"tx-{queue.index} has {queue.txq.inflight} bytes in flight after it, which hold back what the next open sends"
                self.checker.report(16, call.device, call.operation, detail, call.where)

    def _completed(self, queue: NetdevQueue, where: str) -> None:
        excess = queue.txq.bql_excess
        more = excess - self._excess.get(queue, 0)
        if more:
            self._excess[queue] = excess
            detail = f"{more} bytes more than were in flight in tx-{queue.index} were completed"
            self.checker.report(16, queue.device, "netdev_tx_completed_queue", detail, where)
