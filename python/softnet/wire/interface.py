"""What a user calls an interface, as the spec of a wire."""

from __future__ import annotations

from softnet.wire import KINDS, wire_kind


def wire_spec(name: str) -> str:
    """A spec as it is; a name that is none is an interface of this machine, `packet:NAME`. Raises ValueError for what is neither."""
    if name.partition(":")[0] not in KINDS and not set(":@") & set(name) and "packet" in KINDS:
        return f"packet:{name}"
    wire_kind(name)
    return name
