"""MergedCursors: two captures as one, by time."""

from typing import final

from fastring.burst import BurstSource
from fastring.capture import CaptureCursor

@final
class MergedCursors(BurstSource):
    @property
    def first(self) -> CaptureCursor: ...
    @property
    def second(self) -> CaptureCursor: ...
    @property
    def frames(self) -> int: ...
    def __init__(self, first: CaptureCursor, second: CaptureCursor, *, limit: int | None = None) -> None: ...
