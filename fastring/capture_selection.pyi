"""Selection: which packets of a capture are sent, and by which of two interfaces, by their number."""

from collections.abc import Iterable
from typing import final

from fastring.capture import Capture, CaptureCursor

@final
class Selection:
    @property
    def cached(self) -> int: ...
    def __init__(
        self, ranges: Iterable[tuple[int, int]] = (), *, excludes: bool = False, cache: bytes | None = None, cached: int = 0
    ) -> None: ...
    def __getitem__(self, number: int, /) -> int | None: ...

@final
class SelectingCursor(CaptureCursor):
    @property
    def selection(self) -> Selection: ...
    @property
    def unselected(self) -> int: ...
    def __init__(self, capture: Capture, selection: Selection, *, limit: int | None = None) -> None: ...
