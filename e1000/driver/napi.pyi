from collections.abc import Callable
from typing import Final

from typing_extensions import disjoint_base

from e1000.bus.base import Bus
from e1000.driver.rxring import RxRing
from e1000.driver.txring import TxRing
from fastring.napi import Napi

IMS_ENABLE_MASK: Final[int]

@disjoint_base
class E1000Napi(Napi):
    tx: TxRing | None
    rx: RxRing | None
    def __init__(self, bus: Bus, *, weight: int = 64) -> None: ...
    @property
    def bus(self) -> Bus: ...
    @property
    def interrupts(self) -> int: ...
    @property
    def spurious(self) -> int: ...
    @property
    def link_events(self) -> int: ...
    link_changed: Callable[[], object] | None
    itr_setting: int
    itr: int
    gigabit: bool
    @property
    def tx_latency(self) -> int: ...
    @property
    def rx_latency(self) -> int: ...
    def reset_itr(self) -> None: ...
    def request_irq(self) -> None: ...
    def free_irq(self) -> None: ...
