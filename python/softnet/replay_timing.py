"""Timing: when the frames of a replay leave."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Final, Literal

from fastring.clock import Clock, VirtualClock
from fastring.pacer import Pacer

Mode = Literal["topspeed", "pps", "mbps", "multiplier", "oneatatime"]
MODES: Final[tuple[Mode, ...]] = ("topspeed", "pps", "mbps", "multiplier", "oneatatime")
TIMERS = ("nano", "select", "gtod", "ioport")  # tcpreplay's
SPINNING = ("gtod", "ioport")  # those that never sleep


@dataclass(frozen=True)
class Timing:
    """When frames leave, in tcpreplay's terms: `mode` and its `rate`, packets or Mbit a second or times the capture's own speed.

    `pps_multi`: so many packets at a time. `maxsleep`: ms a gap is at most. `loopdelay`: s between two passes. `duration`: s after which
    nothing is sent. `timer`: select and nano sleep until shortly before a frame is due and spin the rest; gtod and ioport only spin.
    Raises ValueError for what makes no sense together.
    """

    mode: Mode = "topspeed"
    rate: Fraction = Fraction(1)
    pps_multi: int = 1
    maxsleep: Fraction | None = None
    loopdelay: Fraction = Fraction(0)
    duration: Fraction | None = None
    timer: str = "nano"

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ValueError(f"the timing is {', '.join(MODES)}, not {self.mode!r}")
        if self.timer not in TIMERS:
            raise ValueError(f"the timer is {', '.join(TIMERS)}, not {self.timer!r}")
        if self.pps_multi < 1 or (self.pps_multi > 1 and self.mode != "pps"):
            raise ValueError("--pps-multi is 1 or more packets, and goes with --pps")
        if self.maxsleep is not None and (self.maxsleep <= 0 or self.mode in ("topspeed", "oneatatime")):
            raise ValueError("--maxsleep is above 0 ms, and goes with --pps, --mbps, --gbps or --multiplier")
        if self.loopdelay < 0 or (self.duration is not None and self.duration <= 0):
            raise ValueError("--loopdelay-ms is 0 or more, and --duration above 0")

    def on(self, clock: Clock) -> Timing:
        """The same on this clock: on a virtual one there is no top speed, and what needs a schedule goes by time stamps.

        Raises ValueError for what a virtual clock cannot be.
        """
        if not isinstance(clock, VirtualClock):
            return self
        if self.mode == "oneatatime":
            raise ValueError("--oneatatime needs the real clock: a virtual one waits for nobody")
        if self.mode == "topspeed" and (self.duration is not None or self.loopdelay):
            return Timing("multiplier", Fraction(1), loopdelay=self.loopdelay, duration=self.duration, timer=self.timer)
        return self

    def pacer(self, clock: Clock) -> Pacer | None:
        """The schedule, or None where there is none to keep."""
        if self.mode in ("topspeed", "oneatatime"):
            return None
        return Pacer(
            clock,
            by={"pps": "packets", "mbps": "bits", "multiplier": "times"}[self.mode],  # type: ignore[arg-type]
            rate=self.rate * 10**6 if self.mode == "mbps" else self.rate,
            group=self.pps_multi,
            longest_gap=None if self.maxsleep is None else max(1, int(self.maxsleep * 10**6)),
            duration=None if self.duration is None else max(1, int(self.duration * 10**9)),
            spins=self.timer in SPINNING,
        )
