from typing import Final

from typing_extensions import disjoint_base

from fastring.host_wire import HostWire
from fastring.xdp_program import XdpProgram

MODES: Final[dict[str, int]]

@disjoint_base
class XdpWire(HostWire):
    def __init__(self, name: str, *, queue: int = 0, mode: str = "auto", rx: bool = True) -> None: ...
    @property
    def name(self) -> str: ...
    @property
    def ifindex(self) -> int: ...
    @property
    def queue(self) -> int: ...
    @property
    def zerocopy(self) -> bool: ...
    @property
    def program(self) -> XdpProgram | None: ...
