from typing import Final

from typing_extensions import disjoint_base

from fastring.burst import Burst, BurstSink
from fastring.txq import XmitTarget

FORWARD_IO: Final[int]
FORWARD_MAC: Final[int]
FORWARD_MACSWAP: Final[int]
FORWARD_CSUM: Final[int]
FORWARD_ICMPECHO: Final[int]
FORWARD_RXONLY: Final[int]

@disjoint_base
class Forwarder(BurstSink):
    def __init__(
        self,
        target: XmitTarget | None,
        mode: int,
        *,
        source: bytes = ...,
        peer: bytes = ...,
        vlan_push: int | None = None,
        vlan_pop: bool = False,
    ) -> None: ...
    @property
    def target(self) -> XmitTarget | None: ...
    @property
    def mode(self) -> int: ...
    @property
    def rx_packets(self) -> int: ...
    @property
    def rx_bytes(self) -> int: ...
    @property
    def tx_packets(self) -> int: ...
    @property
    def tx_bytes(self) -> int: ...
    @property
    def drops(self) -> dict[str, int]: ...
    def on_burst(self, burst: Burst) -> None: ...
