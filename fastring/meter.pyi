from collections.abc import Mapping

from typing_extensions import disjoint_base

from fastring.clock import Clock
from fastring.wire import Wire
from fastring.wrapper import WrapperWire

@disjoint_base
class MeterWire(WrapperWire):
    def __init__(self, wire: Wire, *, clock: Clock) -> None: ...
    def read(self) -> dict[str, int]: ...
    def rates(self, earlier: Mapping[str, int]) -> dict[str, float]: ...
