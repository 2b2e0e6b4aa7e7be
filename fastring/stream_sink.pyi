from collections.abc import Iterable
from typing import NamedTuple

from typing_extensions import disjoint_base

from fastring.burst import BurstSink
from fastring.clock import Clock
from fastring.histogram import Histogram

class StreamArrivals(NamedTuple):
    packets: int
    bytes: int
    unique: int
    duplicates: int
    reordered: int
    stale: int
    early: int
    expected: int
    jitter: float
    latency: Histogram
    def lost(self, sent: int | None = None) -> int: ...

@disjoint_base
class StreamSink(BurstSink):
    def __init__(self, numbers: Iterable[int], clock: Clock) -> None: ...
    @property
    def packets(self) -> int: ...
    @property
    def bytes(self) -> int: ...
    @property
    def foreign(self) -> int: ...
    def arrivals(self, number: int) -> StreamArrivals: ...
