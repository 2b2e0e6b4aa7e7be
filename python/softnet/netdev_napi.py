"""A device's NAPIs (net/core/dev.c): netif_napi_add, threads of their own, GRO's and the interrupts' delay, and busy polling by number."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import TYPE_CHECKING

from fastring.busy_poll import BUSY_POLL_BUDGET
from fastring.busy_poll import napi_busy_loop as busy_loop
from softnet.gro import Gro

if TYPE_CHECKING:
    from fastring.napi import Napi
    from softnet.stack import Stack

S32_MAX = 2**31 - 1


class DeviceNapis:
    """NetDevice's part that knows its NAPIs. What is set here holds for all of them, and for those that come. Takes rtnl."""

    stack: Stack
    name: str

    def __init__(self, stack: Stack) -> None:
        self.gro = Gro(stack)  # its first NAPI's; each other one has its own, as `napi.gro`
        self.napi_list: list[Napi] = []
        self._threaded = False
        self._gro_flush_timeout = 0
        self._napi_defer_hard_irqs = 0

    def napi_add(self, napi: Napi) -> None:
        """netif_napi_add: the device's from now on, until `napi_del` or free_netdev, disabled. Raises ValueError if it has a Softirq."""
        with self.stack.rtnl:
            self.stack.softirq.add(napi)
            gro = Gro(self.stack) if self.napi_list else self.gro
            napi.gro = gro
            gro.napi = napi
            napi.gro_flush_timeout = self._gro_flush_timeout
            napi.defer_hard_irqs = self._napi_defer_hard_irqs
            self.napi_list.append(napi)
            self.name_napi_threads()

    def napi_del(self, napi: Napi) -> None:
        """netif_napi_del of a disabled one: what its GRO holds is dropped. Raises RuntimeError, OSError EDEADLK as Softirq.remove."""
        with self.stack.rtnl:
            self.stack.softirq.remove(napi)
            self.napi_list.remove(napi)
            if isinstance(napi.gro, Gro):
                napi.gro.close()
                napi.gro.napi = None
            napi.gro = None

    def close_gro(self) -> None:
        """Nothing is delivered any more: drop what is held for more of its flow."""
        self.gro.close()
        for napi in self.napi_list:
            if isinstance(napi.gro, Gro):
                napi.gro.close()

    # --- for all NAPIs ---

    @property
    def threaded(self) -> bool:
        """Whether each NAPI is polled by a thread of its own, napi/eth0-N. Raises OSError EAGAIN if one cannot be started: then none is."""
        return self._threaded

    @threaded.setter
    def threaded(self, threaded: bool) -> None:
        with self.stack.rtnl:
            self._threaded = bool(threaded)
            try:
                self.name_napi_threads()
            except OSError:
                self._threaded = False
                self.name_napi_threads()
                raise

    def name_napi_threads(self) -> None:
        """dev_set_threaded, and again when the device has got its name. rtnl."""
        for napi in self.napi_list:
            napi.set_threaded(f"napi/{self.name}-{napi.napi_id}" if self._threaded else None)

    @property
    def gro_flush_timeout(self) -> int:
        """Nanoseconds for which GRO may hold packets, or interrupts stay masked, when a poll has ended; 0: not at all."""
        return self._gro_flush_timeout

    @gro_flush_timeout.setter
    def gro_flush_timeout(self, timeout: int) -> None:
        with self.stack.rtnl:
            for napi in self.napi_list:
                napi.gro_flush_timeout = min(timeout, 1 << 62)  # 146 years
            self._gro_flush_timeout = timeout

    @property
    def napi_defer_hard_irqs(self) -> int:
        """How many polls in a row may find nothing before interrupts are unmasked; with gro_flush_timeout."""
        return self._napi_defer_hard_irqs

    @napi_defer_hard_irqs.setter
    def napi_defer_hard_irqs(self, count: int) -> None:
        if not 0 <= count <= S32_MAX:
            raise OSError(errno.ERANGE, f"{self.name}: napi_defer_hard_irqs is 0 to {S32_MAX}, not {count}")
        with self.stack.rtnl:
            for napi in self.napi_list:
                napi.defer_hard_irqs = count
            self._napi_defer_hard_irqs = count


def napi_busy_loop(
    stack: Stack,
    napi_id: int,
    loop_end: Callable[[], object] | None = None,
    *,
    prefer_busy_poll: bool = False,
    budget: int = BUSY_POLL_BUDGET,
) -> int:
    """Poll the NAPI of that number from here until `loop_end()`, or once; returns the packets, 0 if there is none of that number.

    See fastring.busy_poll.
    """
    napi = stack.softirq.napi_by_id(napi_id)
    return 0 if napi is None else busy_loop(napi, loop_end, prefer_busy_poll=prefer_busy_poll, budget=budget)
