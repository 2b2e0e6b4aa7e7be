from typing import Final

from typing_extensions import disjoint_base

NAMES: Final[tuple[str, ...]]

@disjoint_base
class Faults:
    def __init__(
        self,
        *,
        seed: int = 0,
        link_flap: float = 0,
        flap_time: int = 200_000_000,
        lost_interrupt: float = 0,
        delayed_dma: float = 0,
        dma_delay: int = 100_000,
        early_interrupt: bool = False,
        single_collision: float = 0,
        multiple_collisions: float = 0,
        excessive_collisions: float = 0,
        late_collision: float = 0,
        deferred: float = 0,
        no_carrier: float = 0,
    ) -> None: ...
    @property
    def counts(self) -> dict[str, int]: ...
