from typing import Self

from typing_extensions import disjoint_base

from fastring.memory import Arena

@disjoint_base
class Meeting:
    def __new__(
        cls, workers: int, *, arena: Arena | None = None, offset: int | None = None, seconds: float = 60, spins: int = 0
    ) -> Self: ...
    @property
    def workers(self) -> int: ...
    @property
    def offset(self) -> int: ...
    @property
    def arena(self) -> Arena | None: ...
