"""A device's address lists: the unicast and multicast addresses it receives besides its own (netdev_hw_addr_list)."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator

from softnet.ethernet import ETH_ALEN


class AddrList:
    """Addresses with reference counts. `changed()` is called when one comes or goes: the driver's set_rx_mode."""

    def __init__(self, changed: Callable[[], object]) -> None:
        self._refs: dict[bytes, int] = {}
        self._changed = changed

    def add(self, address: bytes) -> None:
        """dev_uc_add, dev_mc_add: once more. Raises OSError EINVAL for what is no address."""
        if len(address) != ETH_ALEN:
            raise OSError(errno.EINVAL, f"an Ethernet address has {ETH_ALEN} bytes, not {len(address)}")
        address = bytes(address)
        self._refs[address] = self._refs.get(address, 0) + 1
        if self._refs[address] == 1:
            self._changed()

    def delete(self, address: bytes) -> None:
        """dev_uc_del, dev_mc_del: once less. Raises OSError ENOENT if it is not there."""
        address = bytes(address)
        if address not in self._refs:
            raise OSError(errno.ENOENT, f"{address.hex(':')} is not in the list")
        self._refs[address] -= 1
        if not self._refs[address]:
            del self._refs[address]
            self._changed()

    def flush(self) -> None:
        """Forget all, telling nobody: the device is going."""
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
