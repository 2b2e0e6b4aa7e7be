from collections.abc import Callable

from typing_extensions import disjoint_base

from e1000.bus.local import LocalBus

@disjoint_base
class WatchedBus(LocalBus):
    watch: Callable[[int, int, bool], object] | None
