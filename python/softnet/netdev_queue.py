"""NetdevQueue: one transmit queue of a device (netdev_queue): its stop and wake state, its qdisc, its lock."""

from __future__ import annotations

import threading
from collections.abc import Callable
from threading import get_ident
from typing import TYPE_CHECKING

from fastring.txq import TxQueue
from softnet.sch_generic import Noop, Qdisc

if TYPE_CHECKING:
    from softnet.netdev import NetDevice

DRV_XOFF = 1  # __QUEUE_STATE_DRV_XOFF in TxQueue.state


class NetdevQueue:
    """Queue `index` of `device`. `txq` is what the driver stops and wakes."""

    def __init__(self, device: NetDevice, index: int, *, bql: bool) -> None:
        self.device = device
        self.index = index
        self.txq = TxQueue(bql=bql)
        self.noop = Noop(self)
        self.qdisc: Qdisc = self.noop
        self.qdisc_sleeping: Qdisc | None = None  # what it has while it is up; kept, with its counters, while it is down
        self._made_by: Callable[[NetdevQueue], Qdisc] | None = None
        self.trans_timeout = 0  # how often the watchdog found it stuck (/sys/class/net/*/queues/tx-*/tx_timeout)
        self._lock = threading.Lock()
        self._owner: int | None = None

    def lock(self) -> None:
        """__netif_tx_lock: one CPU transmits at a time. Raises RuntimeError where the kernel would wait for itself."""
        me = get_ident()
        if self._owner == me:
            raise RuntimeError(f"{self!r}: its transmit lock is held by this very thread")
        self._lock.acquire()
        self._owner = me

    def unlock(self) -> None:
        """__netif_tx_unlock."""
        self._owner = None
        self._lock.release()

    @property
    def driver_stopped(self) -> bool:
        """netif_tx_queue_stopped: the driver stopped it; BQL does not count."""
        return bool(self.txq.state & DRV_XOFF)

    @property
    def bulk_limit(self) -> int:
        """qdisc_avail_bulklimit: bytes that BQL lets in; 0 without it."""
        txq = self.txq
        return txq.limit - txq.inflight if txq.bql else 0

    def attach(self, make: Callable[[NetdevQueue], Qdisc]) -> None:
        """See to a qdisc, made anew if `make` is not what made the last one (attach_default_qdiscs). rtnl."""
        if self.qdisc_sleeping is None or self._made_by is not make:
            self.qdisc_sleeping, self._made_by = make(self), make

    def activate(self) -> None:
        """Let packets into it. rtnl."""
        assert self.qdisc_sleeping is not None
        self.qdisc_sleeping.activate()
        self.qdisc = self.qdisc_sleeping

    def deactivate(self) -> int:
        """Take its qdisc away; returns how many packets that waited in it are dropped. rtnl. Raises OSError EDEADLK from its own run."""
        qdisc = self.qdisc
        if qdisc is self.noop:
            return 0
        dropped = qdisc.deactivate()
        self.qdisc = self.noop
        return dropped

    def reset(self) -> int:
        """Drop what waits in it, and leave it as it is; returns how many packets (qdisc_reset). rtnl. Raises OSError EDEADLK as above."""
        dropped = self.qdisc.deactivate()
        self.qdisc.activate()
        return dropped

    @property
    def locked_here(self) -> bool:
        """Whether this thread transmits on it: xmit_lock_owner is this CPU."""
        return self._owner == get_ident()

    @property
    def runs_here(self) -> bool:
        """Whether this thread runs its qdisc: the caller is a tap, or the driver's start_xmit."""
        return self.qdisc.runner == get_ident()

    def __repr__(self) -> str:
        return f"<NetdevQueue {self.device.name} tx-{self.index}: {self.txq!r}, {self.qdisc!r}>"
