"""ReplayResult: what became of a replay."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from softnet.drop_counts import DropCounts


@dataclass
class ReplayResult(DropCounts):
    """What became of a replay. `sent` + `duplicated` = `received` + `lost`, and `drops` names where each lost frame went.

    `bytes` were given to the driver, `received_bytes` arrived, padding included; rates are of what arrived, without CRC, preamble and
    gaps. `seconds` are the clock's: on a virtual clock, the capture's own. `unselected` frames were not to be sent (--include, --exclude,
    --cachefile).

    `filtered` frames did not match --filter; `edited` were, `deleted` by --fixlen=del, `malformed` as far as their headers can be believed,
    `unchecked` have a checksum to make anew whose bytes are not all there.

    `timing`: topspeed, pps, mbps, multiplier, oneatatime; the rates asked and achieved are in its unit. Lateness is from when a frame was
    due to when the wire had it. `interfaces`: what each sent, and what arrived.
    """

    sent: int = 0
    received: int = 0
    lost: int = 0
    duplicated: int = 0
    drops: dict[str, int] = field(default_factory=dict)
    bytes: int = 0
    received_bytes: int = 0
    padded: int = 0
    pad_bytes: int = 0
    truncated: int = 0
    unselected: int = 0
    filtered: int = 0
    edited: int = 0
    deleted: int = 0
    malformed: int = 0
    unchecked: int = 0
    seconds: float = 0.0
    pps: float = 0.0
    bits_per_second: float = 0.0
    timing: str = "topspeed"
    rate_asked: float | None = None
    rate_achieved: float | None = None
    late_p50_ns: int | None = None
    late_p99_ns: int | None = None
    late_max_ns: int | None = None
    interrupts: int = 0
    polls: int = 0
    packets_per_poll: float = 0.0
    queue_stops: int = 0
    queue_wakes: int = 0
    bql_stops: int = 0
    mtu: int = 0
    clock: str = "real"
    complete: bool = True
    interrupted: bool = False
    interfaces: list[dict[str, Any]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    def count_feed(self, unselected: int, edits: dict[str, int]) -> None:
        """Add what was left out of a capture, and edited in it."""
        self.unselected += unselected
        for name, frames in edits.items():
            setattr(self, name, getattr(self, name) + frames)

    def fail(self, problem: str) -> None:
        """It ended early, and why."""
        self.complete = False
        self.problems.append(problem)
