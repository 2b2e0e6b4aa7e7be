from typing_extensions import disjoint_base

from fastring.wire import Wire

@disjoint_base
class HostWire(Wire):
    @property
    def tx_packets(self) -> int: ...
    @property
    def tx_bytes(self) -> int: ...
    @property
    def rx_packets(self) -> int: ...
    @property
    def rx_bytes(self) -> int: ...
