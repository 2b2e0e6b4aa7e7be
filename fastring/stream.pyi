from collections.abc import Sequence
from typing import Final

from typing_extensions import disjoint_base

MOST_FIELDS: Final[int]
LONGEST: Final[int]
SIGNATURE_BYTES: Final[int]
CHECK_AT: Final[dict[int, int]]
KINDS: Final[dict[str, int]]

@disjoint_base
class PacketStream:
    def __init__(
        self,
        template: bytes,
        *,
        number: int = 0,
        fields: Sequence[tuple[int, int, str, int, int, int | Sequence[int], int]] = (),
        lengths: Sequence[int] | None = None,
        order: Sequence[int] | None = (0,),
        trailer: int = 0,
        random_from: int = 0,
        signature: int = 0,
        seed: int = 0,
        count: int = ...,
    ) -> None: ...
    @property
    def number(self) -> int: ...
    @property
    def template(self) -> bytes: ...
    @property
    def made(self) -> int: ...
    @property
    def left(self) -> int: ...
    @property
    def signature(self) -> int | None: ...
    def make(self, count: int, *, time: int = 0) -> list[bytes]: ...
