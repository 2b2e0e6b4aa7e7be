from typing_extensions import disjoint_base

from e1000.bus.base import Bus, HostMemory
from e1000.device.card import E1000Device
from fastring.irq import IrqLine

@disjoint_base
class LocalLine(IrqLine): ...

@disjoint_base
class LocalBus(Bus):
    def __init__(self, device: E1000Device, *, memory: HostMemory | None = None, enabled: bool = True) -> None: ...
    @property
    def device(self) -> E1000Device: ...
