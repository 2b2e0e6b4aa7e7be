from typing_extensions import disjoint_base

from fastring.wire import Wire

@disjoint_base
class WrapperWire(Wire):
    def __init__(self, wire: Wire) -> None: ...
    @property
    def inner(self) -> Wire: ...
