"""The DMA API for drivers in Python (the kernel's dma-mapping.h): coherent memory, streaming mappings, and who owns a buffer.

A card reaches memory by bus addresses only. What is mapped DMA_TO_DEVICE it can read and not write; what is not mapped, or not any
more, is a master abort. Between map and unmap a buffer is the device's: the CPU looks at it, or writes to it, only after a
dma_sync_single_for_cpu. Misuse is told to `watchers` (softnet.checks), as dma-debug does it; while there are none it raises.
"""

from __future__ import annotations

import enum
import errno
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, NoReturn, Protocol

if TYPE_CHECKING:
    from typing_extensions import Buffer


class DmaDirection(enum.IntEnum):
    """enum dma_data_direction."""

    BIDIRECTIONAL = 0
    TO_DEVICE = 1
    FROM_DEVICE = 2


DMA_BIDIRECTIONAL, DMA_TO_DEVICE, DMA_FROM_DEVICE = DmaDirection


class DmaMisuse(enum.Enum):
    """What dma-debug complains about."""

    NOT_MAPPED = "unmapped or synced what is not mapped"  # twice, most often
    WRONG_FUNCTION = "freed by the wrong function"
    WRONG_SIZE = "freed with another size than it was made with"
    WRONG_DIRECTION = "freed or synced with another direction than it was mapped with"
    OUT_OF_RANGE = "synced past its end"


class DmaMemory(Protocol):
    """Memory that a card reaches, as a bus has it (e1000.bus.HostMemory)."""

    @property
    def arena(self) -> Buffer:
        """What alloc_coherent hands out pieces of."""

    @property
    def iova(self) -> int:
        """The arena's bus address."""

    def alloc_coherent(self, size: int, *, align: int = 4096) -> int:
        """Zeroed memory; its bus address. Raises OSError ENOMEM."""

    def free_coherent(self, iova: int) -> None:
        """Give it back."""

    def map(self, buffer: Buffer) -> int:
        """Let the card reach a buffer, read-only if it is; its bus address. Raises OSError ENOMEM."""

    def unmap(self, iova: int) -> None:
        """And no more."""


@dataclass(eq=False, slots=True)
class DmaMapping:
    """One piece of memory that the card can reach. `view`: the CPU's side; `coherent`: both may use it at any time."""

    handle: int
    view: memoryview
    direction: DmaDirection
    coherent: bool
    bounce: memoryview | None = None  # where the card reads and writes instead
    device_owned: bool = True

    @property
    def size(self) -> int:
        return len(self.view)

    def to_bounce(self, start: int, stop: int) -> None:
        """What the CPU wrote, to where the card looks (swiotlb_bounce)."""
        if self.bounce is not None and self.direction is not DMA_FROM_DEVICE:
            self.bounce[start:stop] = self.view[start:stop]

    def from_bounce(self, start: int, stop: int) -> None:
        """What the card wrote, to where the CPU looks."""
        if self.bounce is not None and self.direction is not DMA_TO_DEVICE:
            self.view[start:stop] = self.bounce[start:stop]


class DmaWatcher(Protocol):
    """Who is told of all DMA (dma-debug). Called before the memory changes hands, from whatever thread maps."""

    def dma_mapped(self, device: DmaDevice, mapping: DmaMapping) -> None:
        """Memory was allocated or mapped."""

    def dma_unmapping(self, device: DmaDevice, mapping: DmaMapping) -> None:
        """It is about to be freed or unmapped."""

    def dma_synced(self, device: DmaDevice, mapping: DmaMapping, *, for_device: bool) -> None:
        """It goes to the device, or to the CPU; `mapping.device_owned` is as it was before."""

    def dma_misuse(self, device: DmaDevice, misuse: DmaMisuse, message: str) -> None:
        """A call that must not be; nothing is done, or what can be."""


class DmaDevice:
    """A card's DMA (the `struct device *` of the kernel's calls), over its bus' memory. The driver makes one in its probe.

    `swiotlb`: have every streaming mapping copied through memory of the arena (swiotlb=force): for a bus whose card reaches nothing
    else, such as QEMU's, for a card on a thread of its own, beside which nothing may be mapped, and to see whether a driver syncs
    what it should. Control plane and packets: one thread at a time. Raises OSError: ENOMEM, EINVAL for misuse.
    """

    watchers: ClassVar[list[DmaWatcher]] = []  # of all devices, as dma-debug is of the machine

    def __init__(self, memory: DmaMemory, *, swiotlb: bool = False) -> None:
        self.memory = memory
        self.swiotlb = swiotlb
        self._mappings: dict[int, DmaMapping] = {}

    @property
    def mappings(self) -> list[DmaMapping]:
        """What is allocated and mapped now: nothing, once the driver is gone."""
        return list(self._mappings.values())

    # --- coherent memory ---

    def dma_alloc_coherent(self, size: int, *, align: int = 4096) -> tuple[memoryview, int]:
        """Zeroed memory that card and CPU use at the same time: the CPU's view of it, and its bus address. Raises OSError ENOMEM."""
        handle = self.memory.alloc_coherent(size, align=align)
        view = self._view(handle, size)
        self._add(DmaMapping(handle, view, DMA_BIDIRECTIONAL, coherent=True, device_owned=False))
        return view, handle

    def dma_free_coherent(self, size: int, handle: int) -> None:
        """Give it back. The view is released: using it afterwards raises ValueError."""
        mapping = self._find(handle, "dma_free_coherent", coherent=True)
        if mapping is None:
            return
        self._check_size(mapping, size, "dma_free_coherent")
        self._remove(mapping)
        mapping.view.release()
        self.memory.free_coherent(handle)

    # --- streaming mappings ---

    def dma_map_single(self, buffer: Buffer, direction: DmaDirection) -> int:
        """Hand a buffer to the device; returns its bus address. Raises OSError ENOMEM (the kernel's DMA_MAPPING_ERROR), EINVAL.

        The buffer is held, and cannot be resized, until dma_unmap_single.
        """
        view = memoryview(buffer).cast("B")
        if not len(view):
            raise OSError(errno.EINVAL, "dma_map_single: a mapping has at least one byte")
        if view.readonly and direction is not DMA_TO_DEVICE:
            raise OSError(errno.EINVAL, f"dma_map_single: {type(buffer).__name__} is read-only: it can be mapped DMA_TO_DEVICE alone")
        if not self.swiotlb:
            handle = self.memory.map(view.toreadonly() if direction is DMA_TO_DEVICE else view)
            mapping = DmaMapping(handle, view, direction, coherent=False)
        else:
            handle = self.memory.alloc_coherent(len(view), align=64)
            mapping = DmaMapping(handle, view, direction, coherent=False, bounce=self._view(handle, len(view)))
            mapping.to_bounce(0, mapping.size)
        self._add(mapping)
        return handle

    def dma_unmap_single(self, handle: int, size: int, direction: DmaDirection) -> None:
        """Take a buffer back from the device, which must be done with it."""
        mapping = self._find(handle, "dma_unmap_single", coherent=False)
        if mapping is None:
            return
        self._check_size(mapping, size, "dma_unmap_single")
        self._check_direction(mapping, direction, "dma_unmap_single")
        self._remove(mapping)
        if mapping.bounce is None:
            self.memory.unmap(handle)
        else:
            mapping.from_bounce(0, mapping.size)
            mapping.bounce.release()
            self.memory.free_coherent(handle)

    def dma_sync_single_for_cpu(self, handle: int, size: int, direction: DmaDirection) -> None:
        """Let the CPU at `size` bytes of what stays mapped: the device must not use them meanwhile."""
        mapping = self._sync(handle, size, direction, "dma_sync_single_for_cpu", for_device=False)
        if mapping is not None:
            mapping.from_bounce(0, min(size, mapping.size))

    def dma_sync_single_for_device(self, handle: int, size: int, direction: DmaDirection) -> None:
        """And back to the device."""
        mapping = self._sync(handle, size, direction, "dma_sync_single_for_device", for_device=True)
        if mapping is not None:
            mapping.to_bounce(0, min(size, mapping.size))

    # --- how ---

    def _view(self, handle: int, size: int) -> memoryview:
        start = handle - self.memory.iova
        return memoryview(self.memory.arena)[start : start + size]

    def _add(self, mapping: DmaMapping) -> None:
        self._mappings[mapping.handle] = mapping
        for watcher in self.watchers:
            watcher.dma_mapped(self, mapping)

    def _remove(self, mapping: DmaMapping) -> None:
        for watcher in self.watchers:
            watcher.dma_unmapping(self, mapping)
        del self._mappings[mapping.handle]

    def _find(self, handle: int, call: str, *, coherent: bool) -> DmaMapping | None:
        mapping = self._mappings.get(handle)
        if mapping is None:
            self._misused(DmaMisuse.NOT_MAPPED, f"{call}: nothing is mapped at {handle:#x}: given back twice, or never mapped")
        elif mapping.coherent is not coherent:
            made, right = ("dma_alloc_coherent", "dma_free_coherent") if mapping.coherent else ("dma_map_single", "dma_unmap_single")
            self._misused(DmaMisuse.WRONG_FUNCTION, f"{call}: {handle:#x} is of {made}: it goes back by {right}")
        else:
            return mapping
        return None

    def _sync(self, handle: int, size: int, direction: DmaDirection, call: str, *, for_device: bool) -> DmaMapping | None:
        mapping = self._find(handle, call, coherent=False)
        if mapping is None:
            return None
        if not 0 < size <= mapping.size:
            self._misused(DmaMisuse.OUT_OF_RANGE, f"{call}: {size} bytes of a mapping of {mapping.size} at {handle:#x}")
        self._check_direction(mapping, direction, call)
        for watcher in self.watchers:
            watcher.dma_synced(self, mapping, for_device=for_device)
        mapping.device_owned = for_device
        return mapping

    def _check_size(self, mapping: DmaMapping, size: int, call: str) -> None:
        if size != mapping.size:
            self._misused(DmaMisuse.WRONG_SIZE, f"{call}: {size} bytes at {mapping.handle:#x}, where {mapping.size} are mapped")

    def _check_direction(self, mapping: DmaMapping, direction: DmaDirection, call: str) -> None:
        if direction is not mapping.direction:
            self._misused(
                DmaMisuse.WRONG_DIRECTION,
                f"{call}: {mapping.handle:#x} is mapped DMA_{mapping.direction.name}, not DMA_{DmaDirection(direction).name}",
            )

    def _misused(self, misuse: DmaMisuse, message: str) -> None:
        if not self.watchers:
            self._refuse(message)
        for watcher in self.watchers:
            watcher.dma_misuse(self, misuse, message)

    def _refuse(self, message: str) -> NoReturn:
        raise OSError(errno.EINVAL, message)

    def __repr__(self) -> str:
        return f"<DmaDevice: {len(self._mappings)} mappings, {sum(mapping.size for mapping in self._mappings.values())} bytes>"
