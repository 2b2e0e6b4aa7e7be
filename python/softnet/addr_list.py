"""A device's address lists: the unicast and multicast addresses it receives besides its own (netdev_hw_addr_list)."""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable, Iterator

from softnet.ethernet import ETH_ALEN


class AddrLock:
    """netif_addr_lock: the address lists and the receive mode of one device. `with` it; whoever has it must not sleep.

    A spinlock: not to be taken again by who has it. Raises RuntimeError where the kernel would wait for itself. Under rtnl or without it.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = threading.Lock()
        self._owner: int | None = None

    @property
    def held(self) -> bool:
        """Whether this thread has it."""
        return self._owner == threading.get_ident()

    def __enter__(self) -> AddrLock:
        if self.held:
            raise RuntimeError(f"{self._name}: its address lock is held by this very thread, as ndo_set_rx_mode's caller does")
        self._lock.acquire()
        self._owner = threading.get_ident()
        return self

    def __exit__(self, *exc: object) -> None:
        self._owner = None
        self._lock.release()


class AddrList:
    """Addresses with reference counts. Under `lock`, `changed()` is called when one came or went: __dev_set_rx_mode."""

    def __init__(self, changed: Callable[[], object], lock: AddrLock) -> None:
        self._refs: dict[bytes, int] = {}
        self._changed = changed
        self._lock = lock

    def add(self, address: bytes) -> None:
        """dev_uc_add, dev_mc_add: once more. Any thread. Raises OSError EINVAL for what is no address."""
        if len(address) != ETH_ALEN:
            raise OSError(errno.EINVAL, f"an Ethernet address has {ETH_ALEN} bytes, not {len(address)}")
        address = bytes(address)
        with self._lock:
            self._refs[address] = self._refs.get(address, 0) + 1
            if self._refs[address] == 1:
                self._changed()

    def delete(self, address: bytes) -> None:
        """dev_uc_del, dev_mc_del: once less. Any thread. Raises OSError ENOENT if it is not there."""
        address = bytes(address)
        with self._lock:
            if address not in self._refs:
                raise OSError(errno.ENOENT, f"{address.hex(':')} is not in the list")
            self._refs[address] -= 1
            if not self._refs[address]:
                del self._refs[address]
                self._changed()

    def flush(self) -> None:
        """Forget all, telling nobody: the device is going (dev_uc_flush)."""
        with self._lock:
            self._refs.clear()

    def __iter__(self) -> Iterator[bytes]:
        return iter(tuple(self._refs))

    def __len__(self) -> int:
        return len(self._refs)

    def __contains__(self, address: object) -> bool:
        return address in self._refs

    def refs(self, address: bytes) -> int:
        """How often it was added and not deleted."""
        return self._refs.get(bytes(address), 0)

    def __repr__(self) -> str:
        return f"<AddrList: {', '.join(address.hex(':') for address in self._refs) or 'empty'}>"
