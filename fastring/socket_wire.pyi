import os
import socket
from collections.abc import Callable, Mapping

from typing_extensions import disjoint_base

from fastring.host_wire import HostWire

def named(counts: Mapping[str, int]) -> dict[str, int]: ...
@disjoint_base
class DatagramWire(HostWire):
    def __init__(
        self,
        receiver: socket.socket,
        *,
        sender: socket.socket | None = None,
        peer: str | os.PathLike[str] | None = None,
        name: str = "socket",
        on_close: Callable[[], object] | None = None,
    ) -> None: ...
    @property
    def name(self) -> str: ...
    @property
    def refusals(self) -> int: ...
