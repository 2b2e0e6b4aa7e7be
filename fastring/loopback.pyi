from typing_extensions import disjoint_base

from fastring.wire import Wire

@disjoint_base
class LoopbackWire(Wire):
    @property
    def packets(self) -> int: ...
    @property
    def bytes(self) -> int: ...
    def __init__(self) -> None: ...
