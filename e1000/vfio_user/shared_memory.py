"""SharedMemory: a HostMemory of which a card in another process reaches the arena, and nothing else."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from e1000.bus.base import HostMemory

if TYPE_CHECKING:
    from typing_extensions import Buffer


class SharedMemory(HostMemory):
    """Its arena's descriptor is what a vfio-user server maps. Cards of this process may share it. `size`: as HostMemory's."""

    def map(self, buffer: Buffer) -> int:
        """Let the cards read a copy of `buffer`, made now in the arena (as swiotlb bounces what a card does not reach).

        Raises OSError: EOPNOTSUPP for a buffer that may be written to, whose copy would not follow it; ENOMEM.
        """
        with memoryview(buffer) as view:
            if not view.readonly:
                raise OSError(errno.EOPNOTSUPP, "a card in another process reaches the arena, and copies of what is read-only")
            iova = self.alloc_coherent(max(1, view.nbytes))
            with memoryview(self.arena) as arena:
                arena[iova - self.iova : iova - self.iova + view.nbytes] = view.cast("B")
        return iova

    def unmap(self, iova: int) -> None:
        """Give the copy back. Raises ValueError if there is none."""
        self.free_coherent(iova)
