"""Rules 1 to 4: a queue is stopped in time, woken only with room, and asked only about what the ring's index says already."""

from __future__ import annotations

import threading
from collections.abc import Callable
from weakref import WeakKeyDictionary

from softnet.checks.calls import Call, QueueEvent
from softnet.checks.checker import Checker
from softnet.checks.group import RuleGroup
from softnet.netdev import NetDevice
from softnet.netdev_features import Feature
from softnet.netdev_ops import NETDEV_TX_BUSY, NETDEV_TX_OK
from softnet.netdev_queue import NetdevQueue
from softnet.skbuff import MAX_SKB_FRAGS


def slots_needed(device: NetDevice) -> int:
    """The most a packet may take of the ring: a slot for its linear part and one for each piece, which only a device with SG gets."""
    return MAX_SKB_FRAGS + 1 if device.features & Feature.SG else 1


class _Queue:
    """What is known of one queue."""

    def __init__(self) -> None:
        self.ask: Callable[[], int] | None = None  # how many slots are free, as the driver tells netif_txq_maybe_stop
        self.sender = 0  # the thread of the last transmission
        self.wake: tuple[str, int, str] | None = None  # the last since a packet was taken: the call's name, its thread, where
        self.blamed = False  # a rule broken before makes the next packet find no room
        self.reclaimed: tuple[int, str] | None = None  # free slots when netif_txq_completed_wake was called last, and where

    def free(self) -> int | None:
        """Free slots, if the driver ever told how to ask; None if not, or if it has no ring now."""
        if self.ask is None:
            return None
        try:
            return int(self.ask())
        except Exception:
            return None


class TxRules(RuleGroup):
    """By what the driver answers, and by the free slots that it tells the stop and wake helpers."""

    def __init__(self, checker: Checker) -> None:
        super().__init__(checker)
        self._queues: WeakKeyDictionary[NetdevQueue, _Queue] = WeakKeyDictionary()

    def queue(self, queue: NetdevQueue) -> _Queue:
        """What is known of this one."""
        return self._queues.setdefault(queue, _Queue())

    # --- transmissions ---

    def op_begins(self, call: Call) -> None:
        if call.name != "start_xmit":
            for queue in call.device.tx:
                self.queue(queue).reclaimed = None  # it may empty the ring, and needs no helper for that
            return
        queue = call.device.tx[call.args[0].queue_mapping]
        known = self.queue(queue)
        self._check_reclaimed(queue, known)
        known.sender = threading.get_ident()
        call.notes["awake"] = not queue.txq.xmit_stopped
        call.notes["free"] = known.free()
        call.notes["stops"] = queue.txq.stops

    def op_ends(self, call: Call) -> None:
        if call.name == "stop":
            for queue in call.device.tx:
                self.queue(queue).ask = None  # its ring is gone
        if call.name != "start_xmit" or call.error is not None:
            return
        queue = call.device.tx[call.args[0].queue_mapping]
        known = self.queue(queue)
        if call.result == NETDEV_TX_BUSY:
            if call.notes["awake"] and not known.blamed:
                self._busy(call, queue, known)
        elif call.result == NETDEV_TX_OK:
            known.blamed = False
            known.wake = None
            self._taken(call, queue, known)

    def _busy(self, call: Call, queue: NetdevQueue, known: _Queue) -> None:
        """Rules 1, 2 and 3: the packet was refused, with the queue awake; which mistake made it so?"""
        room = "" if call.notes["free"] is None else f" with {call.notes['free']} slots free"
        if known.wake is not None and (call.notes["free"] or 0) < slots_needed(call.device):
            name, thread, where = known.wake
            if thread == threading.get_ident():  # otherwise it may be the race that no driver can exclude
                self.checker.report(
                    3, call.device, name, f"tx-{queue.index} was woken, and the next packet was refused with BUSY{room}", where
                )
        elif queue.txq.stops != call.notes["stops"]:
            detail = f"tx-{queue.index} was stopped only by the call that found no room{room} and answered BUSY"
            self.checker.report(2, call.device, call.operation, detail, call.where)
        else:
            detail = f"answered BUSY to a packet of {len(call.args[0])} bytes{room}; tx-{queue.index} was awake and was left awake"
            self.checker.report(1, call.device, call.operation, detail, call.where)

    def _taken(self, call: Call, queue: NetdevQueue, known: _Queue) -> None:
        """Rules 4 and 2, after a packet was taken: what it took was told, and there is room for another, or the queue is stopped."""
        told = call.notes.get("told")
        awake = not queue.driver_stopped  # before the free slots: others only make these more
        free = known.free()
        if free is None:
            return
        if told is not None and free < told:
            known.blamed = True
            detail = f"was told of {told} free slots in tx-{queue.index}; when ndo_start_xmit returned there were {free}"
            self.checker.report(4, call.device, "netif_txq_maybe_stop", detail, call.notes["told_where"])
        elif awake and free < slots_needed(call.device):
            known.blamed = True
            detail = f"tx-{queue.index} is awake with {free} slots free, and a packet may need {slots_needed(call.device)}"
            self.checker.report(2, call.device, call.operation, detail, call.where)

    # --- helpers ---

    def queue_begins(self, event: QueueEvent) -> None:
        if event.by_stack:
            return
        known = self.queue(event.queue)
        if event.action == "maybe_stop":
            known.ask = event.args[0]
            self._maybe_stop_begins(event, known)
        known.reclaimed = None
        if event.action == "completed_wake":
            free = known.free()
            if free is not None and event.args[0]:
                known.reclaimed = free, event.where
        self._check_context(event)

    def _maybe_stop_begins(self, event: QueueEvent, known: _Queue) -> None:
        if event.call is None or event.call.name != "start_xmit":
            detail = f"called for tx-{event.queue.index} outside of ndo_start_xmit: a queue it starts again is not run"
            self.checker.report(3, event.device, "netif_txq_maybe_stop", detail, event.where)
        else:
            event.call.notes.update(told=known.free(), told_where=event.where)

    def _check_context(self, event: QueueEvent) -> None:
        """Rule 3: who may stop, start and wake, and when."""
        name = f"netif_tx_{event.action}_queue"
        tx = f"tx-{event.queue.index}"
        inside = None if event.call is None else event.call.name
        if event.action in ("start", "wake") and not event.device.running:
            self._wrong_context(event, name, f"{tx} of a device that is down")
        elif event.action == "start" and inside not in ("start_xmit", "open"):
            self._wrong_context(event, name, f"{tx} was started outside of ndo_start_xmit and ndo_open: what waits for it is not run")
        elif event.action == "stop" and inside is None and event.device.stack.softirq.in_softirq:
            self._wrong_context(event, name, f"{tx} was stopped from the softirq, where a poll may only wake it")

    def _wrong_context(self, event: QueueEvent, name: str, detail: str) -> None:
        event.notes["reported"] = True
        self.checker.report(3, event.device, name, detail, event.where)

    def queue_done(self, event: QueueEvent) -> None:
        woken = event.action in ("wake", "start") or (event.action == "completed_wake" and event.result == 0)
        if not woken or event.awake or event.by_stack or event.notes:
            return
        known = self.queue(event.queue)
        name = "netif_txq_completed_wake" if event.action == "completed_wake" else f"netif_tx_{event.action}_queue"
        known.wake = name, threading.get_ident(), event.where
        told = [event.args[2]] if event.action == "completed_wake" else []
        free = known.free()
        if free is not None and known.sender in (0, threading.get_ident()):  # on two threads, slots may be gone again already
            told.append(free)
        if told and min(told) < slots_needed(event.device):
            known.blamed = True
            detail = f"tx-{event.queue.index} was woken with {min(told)} slots free, and a packet may need {slots_needed(event.device)}"
            self.checker.report(3, event.device, name, detail, event.where)

    # --- completions ---

    def stack_ran(self, stack: object) -> None:
        for queue, known in list(self._queues.items()):
            if queue.device.stack is stack:
                self._check_reclaimed(queue, known)

    def _check_reclaimed(self, queue: NetdevQueue, known: _Queue) -> None:
        """Rule 4: since the helper was called, slots became free of which it did not know."""
        if known.reclaimed is None:
            return
        told, where = known.reclaimed
        known.reclaimed = None
        free = known.free()
        if free is not None and free > told:
            detail = f"the ring had {told} free slots when it was called for tx-{queue.index}, and {free} soon after"
            self.checker.report(4, queue.device, "netif_txq_completed_wake", detail, where)
