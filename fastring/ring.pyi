from typing import Any, Self

from typing_extensions import Buffer

from fastring.memory import Arena
from fastring.ring_memory import BrokenRing as BrokenRing
from fastring.ring_memory import _Strategy, _Sync, _Wait
from fastring.ring_waiting import RingWaiting

UINT64: set[bytes]

class Ring(RingWaiting):
    @classmethod
    def create(
        cls,
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
    ) -> Self: ...
    @staticmethod
    def attach(arena: Arena, offset: int, *, eventfds: tuple[int, int] | None = None, patience: float = 1.0) -> Ring: ...
    def push(self, item: int | Buffer) -> bool: ...
    def pop(self) -> Any: ...  # an int, or 16 bytes, or None
    def push_bulk(self, items: Buffer) -> bool: ...
    def push_burst(self, items: Buffer) -> int: ...
    def pop_bulk(self, out: Buffer) -> bool: ...
    def pop_burst(self, out: Buffer) -> int: ...
    def reserve(self, n: int) -> memoryview: ...
    def commit(self, n: int) -> None: ...
    def peek(self, n: int) -> memoryview: ...
    def release(self, n: int) -> None: ...
