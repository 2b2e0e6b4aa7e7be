from typing import NamedTuple

from typing_extensions import Buffer

class FrameHeaders(NamedTuple):
    vlans: tuple[int, ...]
    ethertype: int
    version: int | None
    l3: int | None
    l4: int | None
    protocol: int | None
    payload: int
    end: int | None

def frame_headers(frame: Buffer) -> FrameHeaders: ...
