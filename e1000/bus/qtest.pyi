from typing_extensions import disjoint_base

from e1000.bus.base import Bus
from e1000.bus.qemu import Qemu
from fastring.clock import Clock
from fastring.irq import IrqLine

BAR0: int
IO_BAR: int
SLOT: int
BAR0_SIZE: int
IO_BAR_SIZE: int
LOOK: int
PCI_COMMAND: int
PCI_BAR0: int
PCI_BAR1: int
IO_MEMORY_MASTER: int

@disjoint_base
class QtestLine(IrqLine): ...

@disjoint_base
class QtestBus(Bus):
    def __init__(self, qemu: Qemu, *, clock: Clock | None = None, enabled: bool = True) -> None: ...
    @property
    def qemu(self) -> Qemu: ...
    @property
    def clock(self) -> Clock: ...
