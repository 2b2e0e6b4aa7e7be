from typing import Any, Final, NamedTuple

from numpy.typing import NDArray
from typing_extensions import disjoint_base

from fastring.burst import Burst

FRAME_FIELDS: Final[dict[str, Any]]

@disjoint_base
class PacketBytes:
    def __buffer__(self, flags: int, /) -> memoryview: ...

@disjoint_base
class FrameTable:
    def __buffer__(self, flags: int, /) -> memoryview: ...

class BurstView(NamedTuple):
    offset: NDArray[Any]
    length: NDArray[Any]
    time: NDArray[Any]
    payload: NDArray[Any]

def view_of(burst: Burst) -> BurstView: ...
def payload_of(burst: Burst, index: int) -> memoryview: ...
def copy_of(burst: Burst) -> Burst: ...
