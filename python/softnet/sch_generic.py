"""Queueing disciplines, and how they are run (net/sched/sch_generic.c): noqueue, noop, pfifo_fast.

A qdisc is run by whoever adds to it, and by Stack.run as long as it has packets and its queue may transmit: a driver's wake needs
no call from here. What a driver answers with BUSY goes back to the head, and is counted in `requeues`.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING

from softnet.skbuff import DropReason, SkBuff

if TYPE_CHECKING:
    from softnet.netdev_queue import NetdevQueue

NET_XMIT_SUCCESS, NET_XMIT_DROP, NET_XMIT_CN = 0, 1, 2
DEV_TX_WEIGHT = 64  # packets a run may send before others get their turn
DEFAULT_TX_QUEUE_LEN = 1000

# From skb.priority to a band, the lowest first (prio2band; `tc` calls it priomap).
PRIOMAP = (1, 2, 2, 2, 1, 2, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1)


class Qdisc:
    """The queue of packets before one transmit queue. Subclass: `push`, `pop`, `clear`."""

    kind = "?"
    enqueues = True  # False: packets are never kept, but sent or dropped at once
    can_bypass = False  # an empty one may be passed by (TCQ_F_CAN_BYPASS)

    def __init__(self, queue: NetdevQueue) -> None:
        self.queue = queue
        self.qlen = 0
        self.backlog = 0  # bytes
        self.packets = 0  # sent on to the driver
        self.bytes = 0
        self.drops = 0
        self.overlimits = 0
        self.requeues = 0
        self.requeued: deque[SkBuff] = deque()  # gso_skb: dequeued, and not taken by the driver
        self.running = threading.Lock()

    # --- what a discipline is ---

    def push(self, skb: SkBuff) -> bool:
        """Keep a packet; False: it has no room, and the packet is dropped for QDISC_DROP."""
        raise NotImplementedError

    def pop(self) -> SkBuff | None:
        """The next packet, or None."""
        raise NotImplementedError

    def clear(self) -> list[SkBuff]:
        """Give up all packets."""
        raise NotImplementedError

    # --- what all of them do ---

    def enqueue(self, skb: SkBuff) -> int:
        """Returns NET_XMIT_*."""
        length = len(skb)
        if not self.push(skb):
            self.drop(skb, DropReason.QDISC_DROP)
            return NET_XMIT_DROP
        self.qlen += 1
        self.backlog += length
        return NET_XMIT_SUCCESS

    def dequeue(self) -> SkBuff | None:
        """The next packet: what was requeued first."""
        skb = self.requeued.popleft() if self.requeued else self.pop()
        if skb is not None:
            self.qlen -= 1
            self.backlog -= len(skb)
        return skb

    def requeue(self, skbs: list[SkBuff]) -> None:
        """dev_requeue_skb: the driver did not take them."""
        for skb in skbs:
            self.requeued.append(skb)
            self.qlen += 1
            self.backlog += len(skb)
        self.requeues += len(skbs)

    def drop(self, skb: SkBuff, reason: DropReason) -> None:
        """Count and free a packet that is no longer in it."""
        self.drops += 1
        skb.kfree(reason)

    def reset(self, reason: DropReason = DropReason.QDISC_REMOVED) -> int:
        """Drop all it has; returns how many."""
        skbs = [*self.requeued, *self.clear()]
        self.requeued.clear()
        for skb in skbs:
            self.drop(skb, reason)
        self.qlen = self.backlog = 0
        return len(skbs)

    def __repr__(self) -> str:
        return f"<{self.kind}: {self.qlen} packets, {self.backlog} bytes, {self.drops} dropped, {self.requeues} requeued>"


class Noop(Qdisc):
    """What a device has that is down, or has no carrier: everything is dropped."""

    kind = "noop"

    def push(self, skb: SkBuff) -> bool:
        return False

    def pop(self) -> SkBuff | None:
        return None

    def clear(self) -> list[SkBuff]:
        return []


class NoQueue(Noop):
    """For devices without a queue of their own, tx_queue_len 0: a packet is sent at once, or dropped."""

    kind = "noqueue"
    enqueues = False


class PfifoFast(Qdisc):
    """Three bands; a packet leaves only when those before its own are empty. Each band holds tx_queue_len packets."""

    kind = "pfifo_fast"
    can_bypass = True

    def __init__(self, queue: NetdevQueue, *, limit: int | None = None) -> None:
        super().__init__(queue)
        self.limit = queue.device.tx_queue_len if limit is None else limit
        self.bands: tuple[deque[SkBuff], ...] = (deque(), deque(), deque())

    def push(self, skb: SkBuff) -> bool:
        band = self.bands[PRIOMAP[skb.priority & 15]]
        if len(band) >= self.limit:
            return False
        band.append(skb)
        return True

    def pop(self) -> SkBuff | None:
        for band in self.bands:
            if band:
                return band.popleft()
        return None

    def clear(self) -> list[SkBuff]:
        skbs = [skb for band in self.bands for skb in band]
        for band in self.bands:
            band.clear()
        return skbs
