"""Who refers to a device, and when it ends (dev_hold, the kobject's own count, free_netdev).

Two counts, as the kernel has them. `hold` is for who uses the device and must let go at its UNREGISTER: routes, packet sockets. One
that does not is the kernel's "waiting for eth0 to become free". `get_device` is for who only keeps the object from going, such as an open
file of its sysfs folder; nobody waits for it. The private data goes with the last of both.
"""

from __future__ import annotations

import logging
import threading
from typing import Any, NoReturn, Self

from softnet.netdev_features import RegState

log = logging.getLogger("softnet")


class DeviceRefs:
    """NetDevice's part that counts references. Any thread."""

    name: str

    def __init__(self, priv: Any) -> None:
        self.reg_state = RegState.UNINITIALIZED
        self._priv = priv
        self._refs_lock = threading.Lock()
        self._refs = 1  # alloc_netdev's own, which `free` gives back
        self._kobject_refs = 0

    @property
    def priv(self) -> Any:
        """netdev_priv: the driver's own. Raises RuntimeError once the device has been freed and nobody refers to it."""
        if self.reg_state is RegState.RELEASED:
            self._used_after_free(f"{self.name}: its private data was used after free_netdev")
        return self._priv

    @property
    def refs(self) -> int:
        """netdev_refcnt_read: users of it, the driver included; not those that only keep the object."""
        return self._refs

    def hold(self) -> Self:
        """dev_hold: somebody uses it, and will `put` it, at its UNREGISTER at the latest. Raises RuntimeError after it was freed."""
        with self._refs_lock:
            self._check_alive()
            self._refs += 1
        return self

    def put(self) -> None:
        """dev_put: and does so no more. Raises RuntimeError where there is none to give back."""
        with self._refs_lock:
            if self._refs <= 0:
                raise RuntimeError(f"{self.name}: more references given back than taken")
            self._refs -= 1
            self._release_last()

    def get_device(self) -> Self:
        """Keep the object, as an open file of its sysfs folder does. Raises RuntimeError after it was freed."""
        with self._refs_lock:
            self._check_alive()
            self._kobject_refs += 1
        return self

    def put_device(self) -> None:
        """And no more. Raises RuntimeError where there is none to give back."""
        with self._refs_lock:
            if self._kobject_refs <= 0:
                raise RuntimeError(f"{self.name}: more references given back than taken")
            self._kobject_refs -= 1
            self._release_last()

    def _check_alive(self) -> None:
        if self.reg_state is RegState.RELEASED:
            self._used_after_free(f"{self.name} is used after it was freed")

    def _used_after_free(self, what: str) -> NoReturn:
        raise RuntimeError(what)

    def _release_last(self) -> None:
        """netdev_release: nobody is left."""
        if not self._refs and not self._kobject_refs:
            self.reg_state = RegState.RELEASED
            self._priv = None

    def _wait_allrefs(self) -> None:
        """netdev_wait_allrefs_any, which cannot wait here: whoever is to let go may be this very thread."""
        if self._refs > 1:
            log.critical("unregister_netdevice: waiting for %s to become free. Usage count = %d", self.name, self._refs)
