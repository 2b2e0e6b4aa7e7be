"""CoDel, controlled delay (RFC 8289; include/net/codel_impl.h): drop or mark when packets have waited too long for too long.

A queue whose packets' delay has stayed above `target` for an `interval` loses one, and then more, the next after
interval / sqrt(count), until the delay is below the target. The square root is exact; the kernel's comes from one Newton step each
time count changes, in 16 bits, and is a little off after a jump.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from softnet.inet_ecn import inet_ecn_set_ce
from softnet.sch_generic import qdisc_pkt_len
from softnet.skbuff import SkBuff

MILLISECOND = 1_000_000  # ns


@dataclass
class CodelParams:
    """Times in ns."""

    target: int = 5 * MILLISECOND  # delay that a standing queue may cost
    interval: int = 100 * MILLISECOND  # about the longest round trip of those who send
    ce_threshold: int | None = None  # delay beyond which every packet is marked
    ecn: bool = True  # mark instead of dropping, where the sender understands
    mtu: int = 1514  # with this many bytes or fewer waiting nothing is done


@dataclass
class CodelStats:
    """What was done to all queues of one qdisc."""

    maxpacket: int = 0
    ecn_mark: int = 0
    ce_mark: int = 0
    drop_count: int = 0


class CodelVars:
    """The state of one queue."""

    __slots__ = ("count", "drop_next", "dropping", "first_above_time", "lastcount", "ldelay")

    def __init__(self) -> None:
        self.count = self.lastcount = 0  # drops since it began to drop, now and when it last began
        self.dropping = False
        self.first_above_time = 0  # when the delay will have been too long for an interval; 0: it is not
        self.drop_next = 0
        self.ldelay = 0  # of the last packet that left


class Codel:
    """The algorithm over one queue at a time.

    `take(vars)`: its next packet and when that came, or None; `drop(skb)`; `backlog()`: bytes that wait in the qdisc.
    """

    def __init__(
        self,
        params: CodelParams,
        take: Callable[[CodelVars], tuple[SkBuff, int] | None],
        drop: Callable[[SkBuff], object],
        backlog: Callable[[], int],
    ) -> None:
        self.params = params
        self.stats = CodelStats()
        self.take, self.drop, self.backlog = take, drop, backlog

    def dequeue(self, state: CodelVars, now: int) -> SkBuff | None:
        """codel_dequeue: the next packet that is not dropped, or None."""
        skb, too_long = self._next(state, now)
        if skb is None:
            return None
        if state.dropping:
            if too_long:
                skb = self._go_on(state, skb, now)
            else:
                state.dropping = False
        elif too_long:
            skb = self._begin(state, skb, now)
        threshold = self.params.ce_threshold
        if skb is not None and threshold is not None and state.ldelay > threshold and inet_ecn_set_ce(skb):
            self.stats.ce_mark += 1
        return skb

    def _next(self, state: CodelVars, now: int) -> tuple[SkBuff | None, bool]:
        """Take a packet; with whether the delay has been above the target for an interval (codel_should_drop)."""
        taken = self.take(state)
        if taken is None:
            state.first_above_time = 0
            state.dropping = False
            return None, False
        skb, came = taken
        state.ldelay = now - came
        self.stats.maxpacket = max(self.stats.maxpacket, qdisc_pkt_len(skb))
        if state.ldelay < self.params.target or self.backlog() <= self.params.mtu:
            state.first_above_time = 0
            return skb, False
        if not state.first_above_time:
            state.first_above_time = now + self.params.interval
            return skb, False
        return skb, now > state.first_above_time

    def _begin(self, state: CodelVars, skb: SkBuff, now: int) -> SkBuff | None:
        """The first drop after a time without: at a rate near the last one's if that was not long ago."""
        result: SkBuff | None = skb
        if not self._mark(skb):
            self._drop(skb)
            result, _ = self._next(state, now)
        state.dropping = True
        recent = state.count - state.lastcount
        state.count = recent if recent > 1 and now - state.drop_next < 16 * self.params.interval else 1
        state.lastcount = state.count
        state.drop_next = self.control_law(now, state.count)
        return result

    def _go_on(self, state: CodelVars, skb: SkBuff, now: int) -> SkBuff | None:
        """Those drops whose time has come."""
        while now >= state.drop_next:
            state.count += 1
            if self._mark(skb):
                state.drop_next = self.control_law(state.drop_next, state.count)
                return skb
            self._drop(skb)
            following, too_long = self._next(state, now)
            if following is None or not too_long:
                state.dropping = False
                return following
            skb = following
            state.drop_next = self.control_law(state.drop_next, state.count)
        return skb

    def control_law(self, time: int, count: int) -> int:
        """When the next drop is due: interval / sqrt(count) after `time`."""
        return time + math.isqrt(self.params.interval**2 // count)

    def _mark(self, skb: SkBuff) -> bool:
        marked = self.params.ecn and inet_ecn_set_ce(skb)
        self.stats.ecn_mark += marked
        return marked

    def _drop(self, skb: SkBuff) -> None:
        self.stats.drop_count += 1
        self.drop(skb)
