"""GuestMemory: the memory that a vfio-user client lets a card reach: mapped from descriptors it passed, or reached by messages.

The client is hostile: it may shrink a file under its mapping, which then reads as zeroes (fastring.file_mapping), and map what overlaps.
"""

from __future__ import annotations

import errno
import fcntl
import os
from typing import TYPE_CHECKING

from fastring.file_mapping import FileMapping
from fastring.memory import AddressSpace

if TYPE_CHECKING:
    from e1000.vfio_user.dma_messages import DmaMessages

MOST_MAPS = 512  # of one client: all clients' share the process's 1,024 guarded mappings


class GuestMemory:
    """Ranges of bus addresses: in `addresses` those with a descriptor, those without are the `messages`'.

    Between two runs of the card's engines, or while one waits for a message: what is unmapped then stays until it is over.
    """

    most = MOST_MAPS

    def __init__(self, addresses: AddressSpace, messages: DmaMessages) -> None:
        self.addresses, self.messages = addresses, messages
        self._sizes: dict[int, int] = {}  # by address
        self._mapped: dict[int, FileMapping] = {}  # of them, those with a descriptor
        self._far: set[int] = set()  # those without
        self._leaving: list[FileMapping] = []

    def map(self, address: int, size: int, *, fd: int | None, offset: int, readable: bool, writable: bool) -> None:
        """Raises OSError: EINVAL, EEXIST for what overlaps another, ENOSPC, or what mmap does. The descriptor stays the caller's."""
        if size == 0 or address + size > 1 << 64 or offset + size > 1 << 63:
            raise OSError(errno.EINVAL, f"{size} bytes at {address:#x}, of a file from {offset:#x} on")
        if any(start < address + size and address < start + length for start, length in self._sizes.items()):
            raise OSError(errno.EEXIST, f"{size} bytes at {address:#x} overlap a mapping")
        if len(self._sizes) >= self.most:
            raise OSError(errno.ENOSPC, f"{self.most} mappings are the most")
        self._let_go()
        if not (readable or writable):
            pass
        elif fd is None:
            self.messages.map(address, size, readable=readable, writable=writable)
            self._far.add(address)
        else:
            mapping = FileMapping(fd, size, offset=offset, readable=readable, writable=writable)
            if not mapping.guarded and not _cannot_shrink(fd):
                raise OSError(errno.ENOSPC, "too many mappings of files that may shrink")
            self.addresses.map_pointer(mapping.address, size, mapping, writable, address)
            self._mapped[address] = mapping
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
        if address in self._far:
            self._far.remove(address)
            self.messages.unmap(address)
        elif address in self._mapped:
            self.addresses.unmap(address)
            self._leaving.append(self._mapped.pop(address))
            self._let_go()

    def _let_go(self) -> None:
        if not self.messages.busy:
            self._leaving.clear()

    def __len__(self) -> int:
        return len(self._sizes)

    def __repr__(self) -> str:
        return f"<GuestMemory: {len(self)} mappings of {sum(self._sizes.values())} bytes>"


def _cannot_shrink(fd: int) -> bool:
    try:
        return bool(fcntl.fcntl(fd, fcntl.F_GET_SEALS) & fcntl.F_SEAL_SHRINK) and os.fstat(fd).st_size > 0
    except OSError:
        return False
