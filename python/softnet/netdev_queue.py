"""NetdevQueue: one transmit queue of a device (netdev_queue): its stop and wake state, its qdisc, its lock."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from fastring.txq import TxQueue

if TYPE_CHECKING:
    from softnet.netdev import NetDevice
    from softnet.sch_generic import Qdisc


class NetdevQueue:
    """Queue `index` of `device`. `txq` is what the driver stops and wakes."""

    def __init__(self, device: NetDevice, index: int, *, bql: bool) -> None:
        self.device = device
        self.index = index
        self.txq = TxQueue(bql=bql)
        self.qdisc: Qdisc | None = None
        self.qdisc_sleeping: Qdisc | None = None  # what it has while it is up; kept, with its counters, while it is down
        self.trans_timeout = 0  # how often the watchdog found it stuck (/sys/class/net/*/queues/tx-*/tx_timeout)
        self._lock = threading.Lock()
        self._owner: int | None = None

    def lock(self) -> None:
        """__netif_tx_lock: one CPU transmits at a time. Raises RuntimeError where the kernel would wait for itself."""
        if self._owner == threading.get_ident():
            raise RuntimeError(f"{self!r}: its transmit lock is held by this very thread")
        self._lock.acquire()
        self._owner = threading.get_ident()

    def unlock(self) -> None:
        """__netif_tx_unlock."""
        self._owner = None
        self._lock.release()

    @property
    def locked_here(self) -> bool:
        """Whether this thread transmits on it: xmit_lock_owner is this CPU."""
        return self._owner == threading.get_ident()

    def __repr__(self) -> str:
        return f"<NetdevQueue {self.device.name} tx-{self.index}: {self.txq!r}, {self.qdisc!r}>"
