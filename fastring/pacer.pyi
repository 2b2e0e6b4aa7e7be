"""Pacer: when each packet is due: an absolute schedule on a clock, and how late packets left."""

from fractions import Fraction
from typing import Final, Literal, final

from fastring.clock import Clock
from fastring.histogram import Histogram

KINDS: Final[dict[str, int]]

@final
class Pacer:
    def __init__(
        self,
        clock: Clock,
        *,
        by: Literal["packets", "bits", "times"],
        rate: Fraction | int = 1,
        group: int = 1,
        longest_gap: int | None = None,
        duration: int | None = None,
        spins: bool = False,
    ) -> None: ...
    @property
    def clock(self) -> Clock: ...
    @property
    def lateness(self) -> Histogram: ...
    @property
    def ended(self) -> bool: ...
    @property
    def scheduled(self) -> int: ...
    def pause(self, ns: int = 0) -> None: ...
