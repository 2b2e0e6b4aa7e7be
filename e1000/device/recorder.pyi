from collections.abc import Callable
from typing import Self

from typing_extensions import disjoint_base

from fastring.clock import Clock

@disjoint_base
class Recorder:
    def __new__(cls, sink: Callable[[bytes], object], *, clock: Clock | None = None, capacity: int = 1 << 14) -> Self: ...
    @property
    def error(self) -> BaseException | None: ...
    @property
    def recorded(self) -> int: ...
    @property
    def lost(self) -> int: ...
    def flush(self) -> None: ...
