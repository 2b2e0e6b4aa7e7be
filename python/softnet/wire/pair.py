"""`pair`: a cable with a second card at its other end."""

from __future__ import annotations

from fastring.clock import Clock
from fastring.wire import pair
from softnet.wire.cabling import Cabling


def open_pair(argument: str, clock: Clock) -> Cabling:
    """`pair` holds the sender up when the receiver has no room; `pair:lossy` lets frames be missed, as without flow control."""
    if argument not in ("", "lossy"):
        raise ValueError(f"the wire is 'pair' or 'pair:lossy', not 'pair:{argument}'")
    near, far = pair(lossless=argument == "")
    return Cabling(near, far)
