"""GuestMemory: the memory that a vfio-user client lets a card reach, mapped from the descriptors it passed.

The client is hostile: it may shrink a file under its mapping, which then reads as zeroes (fastring.file_mapping), and map what overlaps.
"""

from __future__ import annotations

import errno
import fcntl
import os

from fastring.file_mapping import FileMapping
from fastring.memory import AddressSpace

MOST_MAPS = 512  # of one client: all clients' share the process's 1,024 guarded mappings


class GuestMemory:
    """Ranges of bus addresses in `addresses`, each from a descriptor. Between two runs of the card's engines only."""

    most = MOST_MAPS

    def __init__(self, addresses: AddressSpace) -> None:
        self.addresses = addresses
        self._sizes: dict[int, int] = {}  # by address
        self._unreachable: set[int] = set()  # of them, those without a descriptor, or no access allowed

    def map(self, address: int, size: int, *, fd: int | None, offset: int, readable: bool, writable: bool) -> None:
        """Raises OSError: EINVAL, EEXIST for what overlaps another, ENOSPC, or what mmap does. The descriptor stays the caller's."""
        if size == 0 or address + size > 1 << 64 or offset + size > 1 << 63:
            raise OSError(errno.EINVAL, f"{size} bytes at {address:#x}, of a file from {offset:#x} on")
        if any(start < address + size and address < start + length for start, length in self._sizes.items()):
            raise OSError(errno.EEXIST, f"{size} bytes at {address:#x} overlap a mapping")
        if len(self._sizes) >= self.most:
            raise OSError(errno.ENOSPC, f"{self.most} mappings are the most")
        if fd is None or not (readable or writable):
            self._unreachable.add(address)
        else:
            mapping = FileMapping(fd, size, offset=offset, readable=readable, writable=writable)
            if not mapping.guarded and not _cannot_shrink(fd):
                raise OSError(errno.ENOSPC, "too many mappings of files that may shrink")
            self.addresses.map_pointer(mapping.address, size, mapping, writable, address)
        self._sizes[address] = size

    def unmap(self, address: int, size: int) -> None:
        """Raises OSError ENOENT unless it is just what was mapped."""
        if self._sizes.get(address) != size:
            raise OSError(errno.ENOENT, f"no mapping of {size} bytes at {address:#x}")
        self._drop(address)

    def clear(self) -> None:
        """All of them."""
        for address in tuple(self._sizes):
            self._drop(address)

    def _drop(self, address: int) -> None:
        del self._sizes[address]
        if address in self._unreachable:
            self._unreachable.remove(address)
        else:
            self.addresses.unmap(address)

    def __len__(self) -> int:
        return len(self._sizes)

    def __repr__(self) -> str:
        return f"<GuestMemory: {len(self)} mappings of {sum(self._sizes.values())} bytes>"


def _cannot_shrink(fd: int) -> bool:
    try:
        return bool(fcntl.fcntl(fd, fcntl.F_GET_SEALS) & fcntl.F_SEAL_SHRINK) and os.fstat(fd).st_size > 0
    except OSError:
        return False
