from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from typing import Any, Final

from typing_extensions import disjoint_base

from fastring.burst import BurstSource
from fastring.clock import Clock
from fastring.memory import Arena
from fastring.stream import PacketStream
from fastring.txq import XmitTarget

MOST_STREAMS: Final[int]
SLOTS: Final[int]
FRACTION: Final[int]
NEVER: Final[int]
SLACK: Final[int]

@disjoint_base
class StreamSource(BurstSource):
    def __init__(
        self,
        streams: Iterable[tuple[PacketStream, Mapping[str, Any]]],
        clock: Clock,
        *,
        paced: bool = False,
        duration: int | None = None,
        slots: int = 1024,
    ) -> None: ...
    def add_lane(
        self, stream: PacketStream, *, phases: Sequence[tuple[Fraction | int, Fraction | int, int, int]], burst: int = 1, gap: int = 0
    ) -> None: ...
    def mapped_at(self, iova: int, target: XmitTarget) -> None: ...
    def unsent(self, packets: int) -> list[int]: ...
    @property
    def streams(self) -> tuple[PacketStream, ...]: ...
    @property
    def paced(self) -> bool: ...
    @property
    def memory(self) -> Arena: ...
    @property
    def stride(self) -> int: ...
    @property
    def slots(self) -> int: ...
    @property
    def packets(self) -> int: ...
    @property
    def bytes(self) -> int: ...
    @property
    def copied(self) -> int: ...
