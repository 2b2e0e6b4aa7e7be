"""CaptureMapping: the mapped bytes of a capture file, which outlive the Capture while cursors and bursts point into them."""

from typing import Self

from typing_extensions import disjoint_base

@disjoint_base
class CaptureMapping:
    @property
    def size(self) -> int: ...
    def __new__(cls, fd: int, size: int) -> Self: ...
    def __buffer__(self, flags: int, /) -> memoryview: ...
