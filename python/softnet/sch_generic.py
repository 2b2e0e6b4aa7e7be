"""Queueing disciplines, and what they have in common (net/sched/sch_generic.c): noop, noqueue, pfifo_fast.

A qdisc is run by whoever adds to it, and by Stack.run as long as it has packets and its queue may transmit: a driver's wake needs
no call from here. What a driver answers with BUSY goes back to the head, in its order, and is counted in `requeues`.

`lock` (the kernel's qdisc_lock) guards packets and counters; `running` is held by the one thread that hands packets to the driver
(qdisc_run_begin), so that packets leave in the order they were dequeued. No packet is freed under `lock`: its destructor may send.
"""

from __future__ import annotations

import errno
import threading
from collections import deque
from threading import get_ident
from typing import TYPE_CHECKING

from softnet.gso import GsoError, gso_headers
from softnet.netdev_tx import count_tx_dropped
from softnet.skbuff import DropReason, GsoType, SkBuff

if TYPE_CHECKING:
    from softnet.netdev import NetDevice
    from softnet.netdev_queue import NetdevQueue

NET_XMIT_SUCCESS, NET_XMIT_DROP, NET_XMIT_CN = 0, 1, 2  # _CN: congested; a packet was dropped, not always this one
NET_XMIT_MASK = 0x0F  # what start_xmit answers below it: the packet is gone
DEV_TX_WEIGHT = 64  # packets a run may send before others get their turn
DEFAULT_TX_QUEUE_LEN = 1000

# From skb.priority to a band, the lowest first (sch_default_prio2band; `tc` calls it priomap).
PRIOMAP = (1, 2, 2, 2, 1, 2, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1)


def qdisc_pkt_len_init(skb: SkBuff) -> None:
    """Note what a packet to be cut comes to on the wire: its headers once for each segment. Another weighs what it is long."""
    skb.wire_len = 0
    if not skb.gso_size:
        return
    length = len(skb)
    try:
        headers = gso_headers(skb, bytes(skb))[2]
    except GsoError:
        return
    segments = skb.gso_segs
    if skb.gso_type & GsoType.DODGY:
        segments = -(-(length - headers) // skb.gso_size)
    if segments > 1:
        skb.wire_len = length + (segments - 1) * headers


def qdisc_pkt_len(skb: SkBuff) -> int:
    """What a qdisc counts a packet as: bytes on the wire."""
    return skb.wire_len or len(skb)


class Qdisc:
    """The queue of packets before one transmit queue. Subclass: `push`, `pop`, `clear`, which keep `qlen` and `backlog`; under `lock`."""

    kind = "?"
    enqueues = True  # False: packets are never kept, but sent or dropped at once
    can_bypass = False  # an empty one may be passed by (TCQ_F_CAN_BYPASS)

    def __init__(self, queue: NetdevQueue) -> None:
        self.queue = queue
        self.qlen = 0
        self.backlog = 0  # bytes
        self.packets = 0  # sent on to the driver; a packet to be segmented is as many as it becomes
        self.bytes = 0
        self.drops = 0
        self.overlimits = 0
        self.requeues = 0
        self.requeued: deque[SkBuff] = deque()  # gso_skb: made ready for the driver, and not taken by it
        self.deactivated = False  # __QDISC_STATE_DEACTIVATED
        self.lock = threading.Lock()
        self.running = threading.Lock()
        self.runner: int | None = None  # the thread that has `running`
        self._dropped: deque[tuple[SkBuff, DropReason]] = deque()

    # --- what a discipline is ---

    def push(self, skb: SkBuff) -> int:
        """Keep a packet, or `drop` it, or others in its place. Returns NET_XMIT_*."""
        raise NotImplementedError

    def pop(self) -> SkBuff | None:
        """The next packet, or None."""
        raise NotImplementedError

    def clear(self) -> list[SkBuff]:
        """Give up all packets; the caller frees them."""
        raise NotImplementedError

    def change_tx_queue_len(self, length: int) -> None:
        """The device's tx_queue_len has changed: for those whose limit it is."""

    @property
    def options(self) -> str:
        """Its parameters, as `tc qdisc` shows them."""
        return ""

    @property
    def xstats(self) -> list[str]:
        """Lines that `tc -s qdisc` adds for it."""
        return []

    # --- packets in and out ---

    def enqueue(self, skb: SkBuff) -> int:
        """dev_qdisc_enqueue. Returns NET_XMIT_*."""
        with self.lock:
            if self.deactivated:
                self.drop(skb, DropReason.QDISC_DROP)
                result = NET_XMIT_DROP
            else:
                result = self.push(skb)
        if self._dropped:
            self.free_dropped()
        return result

    def dequeue(self) -> tuple[list[SkBuff], bool]:
        """dequeue_skb: the next packets, and whether they must still be made ready for the device (validate_xmit_skb).

        One that was requeued comes alone; others as many as the byte queue limit has room for (try_bulk_dequeue_skb), which is one
        without BQL, as then nobody would bound how long the first waits for the doorbell. `running` is held.
        """
        with self.lock:
            if self.requeued:
                skb = self.requeued.popleft()
                self.qlen -= 1
                self.backlog -= qdisc_pkt_len(skb)
                return [skb], False
            skbs: list[SkBuff] = []
            room = 1
            while room > 0 and (next_skb := self.pop()) is not None:
                if not skbs:
                    room = self.queue.bulk_limit
                skbs.append(next_skb)
                room -= len(next_skb)
                self.count_sent(next_skb)
        if self._dropped:
            self.free_dropped()
        return skbs, True

    def requeue(self, skbs: list[SkBuff]) -> None:
        """dev_requeue_skb: the driver did not take them; they go before all others, in their order.

        The kernel puts them behind what it requeued before, so that the rest of a list overtakes its first packet when that is
        refused twice.
        """
        with self.lock:
            self.requeued.extendleft(reversed(skbs))
            self.qlen += len(skbs)
            self.backlog += sum(map(qdisc_pkt_len, skbs))
            self.requeues += len(skbs)

    def count_sent(self, skb: SkBuff) -> None:
        """bstats_update."""
        if skb._shared is None:
            self.packets += 1
            self.bytes += skb.tail_offset - skb.data_offset
        else:
            self.packets += (skb.gso_segs or 1) if skb.gso_size else 1
            self.bytes += qdisc_pkt_len(skb)

    def drop(self, skb: SkBuff, reason: DropReason) -> None:
        """qdisc_drop: count a packet that is no longer in it, and free it once `lock` is released."""
        self.drops += 1
        self._dropped.append((skb, reason))

    def free_dropped(self) -> None:
        """Free what was dropped; without `lock`."""
        while self._dropped:
            try:
                skb, reason = self._dropped.popleft()
            except IndexError:
                return  # another thread was quicker
            skb.kfree(reason)

    # --- its run ---

    def run_begin(self) -> bool:
        """qdisc_run_begin: False if it is run already, here or elsewhere; that thread or Stack.run sees to new packets."""
        if self.running.acquire(False):
            self.runner = get_ident()
            return True
        return False

    def run_end(self) -> None:
        """qdisc_run_end: what came meanwhile from those who could not run it, the next Stack.run sends (MISSED)."""
        self.runner = None
        self.running.release()
        if self.qlen:
            self.queue.device.stack.netif_schedule(self)

    # --- coming and going ---

    def activate(self) -> None:
        """transition_one_qdisc: take packets."""
        with self.lock:
            self.deactivated = False
        self.change_tx_queue_len(self.queue.device.tx_queue_len)

    def deactivate(self) -> int:
        """Take no more, wait for who runs it, and drop what it has (dev_deactivate_queue, dev_reset_queue); returns how many packets.

        Raises OSError EDEADLK from within its own run: a tap, a driver's start_xmit.
        """
        if self.runner == get_ident():
            raise OSError(errno.EDEADLK, f"{self.queue.device.name}: its queue cannot be taken away from inside its own transmission")
        with self.lock:
            self.deactivated = True
        with self.running:
            return self.reset()

    def reset(self, reason: DropReason = DropReason.QDISC_REMOVED) -> int:
        """qdisc_reset: drop all it has, and forget nothing else; returns how many packets. These are no `drops` of its own."""
        with self.lock:
            skbs = [*self.requeued, *self.clear()]
            self.requeued.clear()
            self.qlen = self.backlog = 0
        for skb in skbs:
            skb.kfree(reason)
        return len(skbs)

    def __repr__(self) -> str:
        return f"<{self.kind}: {self.qlen} packets, {self.backlog} bytes, {self.drops} dropped, {self.requeues} requeued>"


class Noop(Qdisc):
    """What a queue has while its device is down or has no carrier: everything is dropped, and counted by the device."""

    kind = "noop"

    def push(self, skb: SkBuff) -> int:
        device = self.queue.device if skb.dev is None else skb.dev
        count_tx_dropped(device)
        self._dropped.append((skb, DropReason.QDISC_DROP))
        return NET_XMIT_CN

    def pop(self) -> SkBuff | None:
        return None

    def clear(self) -> list[SkBuff]:
        return []


class NoQueue(Noop):
    """For devices without a queue of their own, tx_queue_len 0: a packet is sent at once, or dropped."""

    kind = "noqueue"
    enqueues = False


class PfifoFast(Qdisc):
    """Three bands; a packet leaves only when those before its own are empty. Each band holds tx_queue_len packets, or `limit`.

    The kernel's default. Hosts with systemd have fq_codel (net.core.default_qdisc): `device.qdisc_class = FqCodel`.
    """

    kind = "pfifo_fast"
    can_bypass = True

    def __init__(self, queue: NetdevQueue, *, limit: int | None = None) -> None:
        super().__init__(queue)
        self._fixed = limit is not None
        self.limit = queue.device.tx_queue_len if limit is None else limit
        self.bands: tuple[deque[SkBuff], ...] = (deque(), deque(), deque())

    def push(self, skb: SkBuff) -> int:
        band = self.bands[PRIOMAP[skb.priority & 15]]
        if len(band) >= self.limit:
            self.drop(skb, DropReason.QDISC_DROP)
            return NET_XMIT_DROP
        band.append(skb)
        self.qlen += 1
        self.backlog += qdisc_pkt_len(skb)
        return NET_XMIT_SUCCESS

    def pop(self) -> SkBuff | None:
        for band in self.bands:
            if band:
                skb = band.popleft()
                self.qlen -= 1
                self.backlog -= qdisc_pkt_len(skb)
                return skb
        return None

    def clear(self) -> list[SkBuff]:
        skbs = [skb for band in self.bands for skb in band]
        for band in self.bands:
            band.clear()
        return skbs

    def change_tx_queue_len(self, length: int) -> None:
        """pfifo_fast_change_tx_queue_len: what is past the new length is dropped, the last to come first."""
        if self._fixed:
            return
        with self.lock:
            self.limit = length
            for band in self.bands:
                while len(band) > length:
                    skb = band.pop()
                    self.qlen -= 1
                    self.backlog -= qdisc_pkt_len(skb)
                    self.drop(skb, DropReason.QDISC_DROP)
        self.free_dropped()

    @property
    def options(self) -> str:
        return f"bands {len(self.bands)} priomap {' '.join(map(str, PRIOMAP))}"


def default_qdisc(device: NetDevice) -> type[Qdisc]:
    """What a queue gets when nobody chose (attach_one_default_qdisc)."""
    return PfifoFast if device.tx_queue_len else NoQueue
