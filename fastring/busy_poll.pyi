from collections.abc import Callable

from fastring.napi import Napi

BUSY_POLL_BUDGET: int

def napi_busy_loop(
    napi: Napi, loop_end: Callable[[], object] | None = None, *, prefer_busy_poll: bool = False, budget: int = 8
) -> int: ...
