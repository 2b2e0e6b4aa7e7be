from typing import Final

from typing_extensions import disjoint_base

from fastring.host_wire import HostWire

FANOUT_MODES: Final[dict[str, int]]

@disjoint_base
class PacketWire(HostWire):
    def __init__(
        self,
        name: str,
        *,
        promisc: bool = True,
        fanout: int | None = None,
        fanout_mode: str = "hash",
        qdisc_bypass: bool = True,
        vnet_hdr: bool = True,
        ring: int = 8,
        block_timeout: int = 1,
    ) -> None: ...
    @property
    def name(self) -> str: ...
    @property
    def ifindex(self) -> int: ...
