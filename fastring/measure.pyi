from typing_extensions import disjoint_base

from fastring.burst import BurstSink
from fastring.histogram import Histogram

@disjoint_base
class MeasuringSink(BurstSink):
    def __init__(self, inner: BurstSink) -> None: ...
    @property
    def inner(self) -> BurstSink: ...
    @property
    def sizes(self) -> Histogram: ...
    @property
    def gaps(self) -> Histogram: ...
