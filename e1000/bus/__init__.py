"""Buses between driver and device: registers, DMA memory and an interrupt line, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from e1000.bus.base import Bus, HostMemory
from e1000.bus.local import LocalBus

if TYPE_CHECKING:
    from e1000.vfio_user.bus import VfioUserBus


def __getattr__(name: str) -> object:
    if name != "VfioUserBus":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from e1000.vfio_user.bus import VfioUserBus  # when it is asked for: it imports this package itself

    return VfioUserBus


__all__ = ["Bus", "HostMemory", "LocalBus", "VfioUserBus"]
