from typing import Literal

from typing_extensions import disjoint_base

from fastring.clock import Clock
from fastring.wire import Wire
from fastring.wrapper import WrapperWire

@disjoint_base
class NetemWire(WrapperWire):
    def __init__(
        self,
        wire: Wire,
        *,
        clock: Clock,
        loss: float = 0,
        duplicate: float = 0,
        corrupt: float = 0,
        reorder: float = 0,
        delay: int = 0,
        jitter: int = 0,
        rate: int = 0,
        limit: int = 1000,
        gap: int = 1,
        seed: int = 0,
        direction: Literal["out", "in", "both"] = "out",
    ) -> None: ...
    @property
    def clock(self) -> Clock: ...
    @property
    def counts(self) -> dict[str, dict[str, int]]: ...
