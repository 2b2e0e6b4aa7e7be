"""The 82540EM itself: registers, DMA engines, interrupts. Knows nothing of any driver."""

from e1000.device.card import E1000Device
from e1000.device.faults import Faults
from e1000.device.thread import DeviceThread

__all__ = ["DeviceThread", "E1000Device", "Faults"]
