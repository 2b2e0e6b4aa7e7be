"""UniqueIpSource: other IP addresses in each pass over a capture."""

from typing import final

from fastring.burst import BurstSource

@final
class UniqueIpSource(BurstSource):
    @property
    def source(self) -> BurstSource: ...
    @property
    def shift(self) -> int: ...
    @property
    def changed(self) -> int: ...
    @property
    def unchanged(self) -> int: ...
    def __init__(self, source: BurstSource, *, shift: int) -> None: ...
