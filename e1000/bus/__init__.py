"""Buses between driver and device: registers, DMA memory and an interrupt line, and nothing else."""

from e1000.bus.base import Bus, HostMemory
from e1000.bus.local import LocalBus

__all__ = ["Bus", "HostMemory", "LocalBus"]
