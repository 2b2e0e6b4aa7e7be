from collections.abc import Mapping, Sequence
from typing import Final

from typing_extensions import disjoint_base

from fastring.wire import Wire
from fastring.wrapper import WrapperWire

NAMES: Final[tuple[str, ...]]

def parse_rates(names: Sequence[str], rates: Mapping[str, float]) -> list[int]: ...
@disjoint_base
class FaultyWire(WrapperWire):
    def __init__(
        self,
        wire: Wire,
        *,
        seed: int = 0,
        bad_crc: float = 0,
        alignment: float = 0,
        symbol_error: float = 0,
        rx_error: float = 0,
        sequence_error: float = 0,
        carrier_error: float = 0,
        runt: float = 0,
        fragment: float = 0,
        oversize: float = 0,
        jabber: float = 0,
        bad_checksum: float = 0,
        lost: float = 0,
    ) -> None: ...
    @property
    def counts(self) -> dict[str, int]: ...
