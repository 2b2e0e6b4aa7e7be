"""LocalBus: driver and device in one process, an access costing a call."""

from e1000.bus.base cimport Bus
from e1000.device.card cimport E1000Device
from fastring.irq cimport IrqLine


cdef class LocalLine(IrqLine):
    cdef E1000Device device         # None off the bus


cdef class LocalBus(Bus):
    cdef readonly E1000Device device
