"""CaptureMapping: the mapped bytes of a capture file, which outlive the Capture while cursors and bursts point into them."""

from typing import Self

from typing_extensions import disjoint_base

from fastring.file_mapping import FileMapping

@disjoint_base
class CaptureMapping(FileMapping):
    def __new__(cls, fd: int, size: int) -> Self: ...
    def preload(self) -> bool: ...
