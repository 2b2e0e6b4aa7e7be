import os

from typing_extensions import disjoint_base

from e1000.bus.base import Bus
from e1000.vfio_user.client import Client
from e1000.vfio_user.shared_memory import SharedMemory
from fastring.irq import IrqLine

@disjoint_base
class VfioUserLine(IrqLine):
    @property
    def fired(self) -> int: ...
    @property
    def held_up(self) -> bool: ...
    def attach(self, client: Client, masks: bool) -> None: ...
    def forget(self) -> None: ...
    def fileno(self) -> int | None: ...

def parts_of(memory: SharedMemory, mapped: int | None) -> list[tuple[int | None, int, int]]: ...
@disjoint_base
class VfioUserBus(Bus):
    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        memory: SharedMemory | None = None,
        mapped: int | None = None,
        enabled: bool = True,
        timeout: float = 10.0,
        map_doorbells: bool = True,
    ) -> None: ...
    @property
    def maps_doorbells(self) -> bool: ...
    @property
    def path(self) -> str: ...
    @property
    def stores(self) -> int: ...
    @property
    def messages(self) -> dict[str, int]: ...
    def failure(self) -> OSError | None: ...
