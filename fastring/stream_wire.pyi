import socket
from collections.abc import Callable

from typing_extensions import disjoint_base

from fastring.host_wire import HostWire

@disjoint_base
class StreamWire(HostWire):
    def __init__(
        self,
        *,
        listener: socket.socket | None = None,
        connect: Callable[[], socket.socket] | None = None,
        retry: float | None = None,
        name: str = "stream",
        on_close: Callable[[], object] | None = None,
    ) -> None: ...
    @property
    def name(self) -> str: ...
    @property
    def connections(self) -> int: ...
    @property
    def disconnections(self) -> int: ...
    @property
    def violations(self) -> int: ...
    @property
    def connected(self) -> bool: ...
