from typing import Any, NamedTuple

from numpy.typing import NDArray

from fastring.burst import Burst

class BurstView(NamedTuple):
    offset: NDArray[Any]
    length: NDArray[Any]
    time: NDArray[Any]
    payload: NDArray[Any]

def view_of(burst: Burst) -> BurstView: ...
def payload_of(burst: Burst, index: int) -> memoryview: ...
def copy_of(burst: Burst) -> Burst: ...
