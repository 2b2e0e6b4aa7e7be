"""LocalBus: driver and device in one process, an access costing a call."""

from e1000.bus.base cimport Bus
from e1000.device.card cimport E1000Device


cdef class LocalBus(Bus):
    cdef readonly E1000Device device
