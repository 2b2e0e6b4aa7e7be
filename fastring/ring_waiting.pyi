from typing_extensions import disjoint_base

from fastring.memory import Arena
from fastring.ring_memory import BrokenRing as BrokenRing
from fastring.ring_memory import RingMemory, _Strategy, _Sync, _Wait

@disjoint_base
class RingWaiting(RingMemory):
    def __init__(
        self,
        capacity: int,
        *,
        strategy: _Strategy = "cached",
        sync: _Sync | None = None,
        item_size: int = 8,
        batch: int | None = None,
        wait: _Wait = "poll",
        arena: Arena | None = None,
        low_watermark: int | None = None,
        high_watermark: int | None = None,
        patience: float = 1.0,
    ) -> None: ...
    def flush(self) -> None: ...
    def wait_for_items(self, n: int = 1, *, timeout: float | None = None, spin: float = 50e-6) -> bool: ...
    def wait_for_room(self, n: int | None = None, *, timeout: float | None = None, spin: float = 50e-6) -> bool: ...
    def arm(self, *, items: bool = True) -> bool: ...
    def set_watermarks(self, *, low: int | None = None, high: int | None = None) -> None: ...
    @property
    def watermarks(self) -> tuple[int, int]: ...
    @property
    def congested(self) -> bool: ...
