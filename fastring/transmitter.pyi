from collections.abc import Callable
from typing import Any, final

from fastring.burst import Burst, BurstSource
from fastring.clock import Clock
from fastring.pacer import Pacer
from fastring.softirq import Softirq
from fastring.txq import TxQueue, XmitTarget

@final
class Transmitter:
    def __init__(
        self,
        target: XmitTarget,
        queue: TxQueue,
        softirq: Softirq,
        clock: Clock,
        *,
        max_frame: int,
        burst_size: int = 128,
        replays: bool = False,
        taps: tuple[list[Any], list[Any]] = ...,
        tap: Callable[[list[tuple[bytes, int]]], object] | None = None,
        pacer: Pacer | None = None,
        second: Transmitter | None = None,
    ) -> None: ...
    @property
    def pacer(self) -> Pacer | None: ...
    @property
    def second(self) -> Transmitter | None: ...
    @property
    def packets(self) -> int: ...
    @property
    def bytes(self) -> int: ...
    @property
    def oversize(self) -> int: ...
    def play(self, source: BurstSource, *, rounds: int = 1000, patience: float = 5.0) -> bool: ...
    def send(self, burst: Burst, *, patience: float = 5.0) -> int: ...
