"""Rule 16: what a driver counts as completed it has sent, and a stopped device has nothing in flight."""

from __future__ import annotations

from weakref import WeakKeyDictionary, WeakSet

from softnet.checks.calls import Call, QueueEvent
from softnet.checks.checker import Checker
from softnet.checks.group import RuleGroup
from softnet.checks.skb import SkbRules
from softnet.netdev_queue import NetdevQueue
from softnet.stack import Stack


class BqlRules(RuleGroup):
    """By the queue's own counters: so of drivers in Cython, too."""

    def __init__(self, checker: Checker) -> None:
        super().__init__(checker)
        self._said: WeakSet[NetdevQueue] = WeakSet()
        self._excess: WeakKeyDictionary[NetdevQueue, int] = WeakKeyDictionary()

    def queue_done(self, event: QueueEvent) -> None:
        if event.action in ("completed", "completed_wake"):
            self._completed(event.queue, event.where)

    def stack_ran(self, stack: Stack) -> None:
        for device in list(stack.devices.values()):
            for queue in device.tx:
                self._completed(queue, "")
                self._left_over(queue)

    def op_ends(self, call: Call) -> None:
        if call.name != "stop" or call.error is not None:
            return
        for queue in call.device.tx:
            self._completed(queue, call.where)
            if queue.txq.bql and queue.txq.inflight:
                detail = f"tx-{queue.index} has {queue.txq.inflight} bytes in flight after it, which hold back what the next open sends"
                self.checker.report(16, call.device, call.operation, detail, call.where)

    def _left_over(self, queue: NetdevQueue) -> None:
        """Packets were freed, and less was counted than had been for them: with time the queue stops for good."""
        device = queue.device
        if not queue.txq.inflight:
            self._said.discard(queue)
        elif queue not in self._said and device.running and device.carrier_ok and not device.takes_bursts:
            packets = self.checker.group(SkbRules)
            if not packets.taken(device) and packets.idle(device) > packets.finite:
                self._said.add(queue)
                detail = f"every packet of tx-{queue.index} is freed, and {queue.txq.inflight} bytes are not counted as completed"
                self.checker.report(16, device, "netdev_tx_completed_queue", detail, "")

    def _completed(self, queue: NetdevQueue, where: str) -> None:
        excess = queue.txq.bql_excess
        more = excess - self._excess.get(queue, 0)
        if more:
            self._excess[queue] = excess
            detail = f"{more} bytes more than were in flight in tx-{queue.index} were completed"
            self.checker.report(16, queue.device, "netdev_tx_completed_queue", detail, where)
