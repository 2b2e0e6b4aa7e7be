"""fq_codel: fair queueing, each flow with CoDel over it (RFC 8290; net/sched/sch_fq_codel.c).

`device.qdisc_class = FqCodel`, or functools.partial(FqCodel, target=..., ...). It is what hosts with systemd have by default.
"""

from __future__ import annotations

import errno
import secrets
from collections import deque
from typing import TYPE_CHECKING

from softnet.codel import MILLISECOND, Codel, CodelParams, CodelVars
from softnet.flow_dissector import reciprocal_scale, skb_get_hash_perturb
from softnet.sch_generic import NET_XMIT_CN, NET_XMIT_SUCCESS, Qdisc, qdisc_pkt_len
from softnet.skbuff import DropReason, SkBuff

if TYPE_CHECKING:
    from softnet.netdev_queue import NetdevQueue

MIN_QUANTUM, MAX_QUANTUM = 256, 1 << 20
MAX_FLOWS = 65536
SKB_OVERHEAD = 576  # what sk_buff and skb_shared_info take of memory


class Flow(CodelVars):
    """One queue, of all flows that hash alike."""

    __slots__ = ("backlog", "deficit", "index", "listed", "packets")

    def __init__(self, index: int) -> None:
        super().__init__()
        self.index = index
        self.packets: deque[tuple[SkBuff, int, int]] = deque()  # with when it came, and its memory
        self.backlog = 0
        self.deficit = 0  # bytes it may still send in this round
        self.listed = False  # among the new or the old flows


class FqCodel(Qdisc):
    """Up to `flows` queues take turns of `quantum` bytes; one that had nothing waiting goes first. Times in ns.

    `limit` packets and `memory_limit` bytes in all: past either, up to `drop_batch` packets and half of the bytes of the longest
    queue are dropped from its head. `perturbation` seeds the hash; without it, it is random. Raises OSError EINVAL.
    """

    kind = "fq_codel"

    def __init__(
        self,
        queue: NetdevQueue,
        *,
        limit: int = 10240,
        flows: int = 1024,
        quantum: int | None = None,
        target: int = 5 * MILLISECOND,
        interval: int = 100 * MILLISECOND,
        ce_threshold: int | None = None,
        ecn: bool = True,
        memory_limit: int = 32 << 20,
        drop_batch: int = 64,
        perturbation: int | None = None,
    ) -> None:
        super().__init__(queue)
        device = queue.device
        mtu = device.mtu + device.hard_header_len  # psched_mtu
        for name, value, least, most in (
            ("limit", limit, 0, 0xFFFFFFFF),
            ("flows", flows, 1, MAX_FLOWS),
            ("quantum", mtu if quantum is None else quantum, 0, MAX_QUANTUM),
            ("target", target, 0, 1 << 62),
            ("interval", interval, 1, 1 << 62),
            ("memory_limit", memory_limit, 0, 1 << 31),
            ("drop_batch", drop_batch, 1, 0xFFFFFFFF),
        ):
            if not least <= value <= most:
                raise OSError(errno.EINVAL, f"{device.name}: fq_codel's {name} is {least} to {most}, not {value}")
        self.limit, self.flow_count, self.memory_limit, self.drop_batch = limit, flows, memory_limit, drop_batch
        self.quantum = max(MIN_QUANTUM, mtu if quantum is None else quantum)
        self.can_bypass = limit > 0
        self.key = secrets.token_bytes(8) if perturbation is None else (perturbation & (1 << 64) - 1).to_bytes(8, "big")
        self.params = CodelParams(target, interval, ce_threshold, ecn, mtu)
        self.codel = Codel(self.params, self._take, lambda skb: self.drop(skb, DropReason.QDISC_CONGESTED), lambda: self.backlog)
        self.flows: dict[int, Flow] = {}  # by their hash, those that ever had a packet
        self.new_flows: deque[Flow] = deque()
        self.old_flows: deque[Flow] = deque()
        self.memory_usage = 0
        self.drop_overlimit = self.drop_overmemory = self.new_flow_count = 0

    def push(self, skb: SkBuff) -> int:
        index = reciprocal_scale(skb_get_hash_perturb(skb, self.key), self.flow_count)
        flow = self.flows.get(index)
        if flow is None:
            flow = self.flows[index] = Flow(index)
        length = qdisc_pkt_len(skb)
        memory = len(skb.head) + skb.data_len + SKB_OVERHEAD  # truesize
        flow.packets.append((skb, self.queue.device.stack.clock.monotonic_ns(), memory))
        flow.backlog += length
        self.qlen += 1
        self.backlog += length
        self.memory_usage += memory
        if not flow.listed:
            flow.listed = True
            flow.deficit = self.quantum
            self.new_flows.append(flow)
            self.new_flow_count += 1
        too_much = self.memory_usage > self.memory_limit
        if self.qlen <= self.limit and not too_much:
            return NET_XMIT_SUCCESS
        fattest, dropped = self._drop_batch()
        self.drop_overlimit += dropped
        if too_much:
            self.drop_overmemory += dropped
        return NET_XMIT_CN if fattest is flow else NET_XMIT_SUCCESS

    def _drop_batch(self) -> tuple[Flow, int]:
        """fq_codel_drop: from the head of the longest queue, half of its bytes at most; returns it, and how many packets."""
        fattest = max(self.flows.values(), key=lambda flow: (flow.backlog, -flow.index))
        threshold = fattest.backlog // 2
        dropped = length = 0
        while True:
            taken = self._take(fattest)
            if taken is None:
                break
            length += qdisc_pkt_len(taken[0])
            self.drop(taken[0], DropReason.QDISC_OVERLIMIT)
            dropped += 1
            if dropped >= self.drop_batch or length >= threshold:
                break
        fattest.count += dropped  # its CoDel is to be stronger, too
        return fattest, dropped

    def _take(self, flow: CodelVars) -> tuple[SkBuff, int] | None:
        """The packet at a queue's head, and when it came."""
        assert isinstance(flow, Flow)
        if not flow.packets:
            return None
        skb, came, memory = flow.packets.popleft()
        length = qdisc_pkt_len(skb)
        flow.backlog -= length
        self.qlen -= 1
        self.backlog -= length
        self.memory_usage -= memory
        return skb, came

    def pop(self) -> SkBuff | None:
        now = self.queue.device.stack.clock.monotonic_ns()
        while flows := self.new_flows or self.old_flows:
            flow = flows[0]
            if flow.deficit <= 0:
                flow.deficit += self.quantum
                self.old_flows.append(flows.popleft())
                continue
            skb = self.codel.dequeue(flow, now)
            if skb is not None:
                flow.deficit -= qdisc_pkt_len(skb)
                return skb
            flows.popleft()
            if flows is self.new_flows and self.old_flows:
                self.old_flows.append(flow)  # once through the old ones, or it would starve them by coming back
            else:
                flow.listed = False
        return None

    def clear(self) -> list[SkBuff]:
        skbs = [skb for flow in self.flows.values() for skb, _, _ in flow.packets]
        self.flows.clear()
        self.new_flows.clear()
        self.old_flows.clear()
        self.memory_usage = 0
        return skbs

    @property
    def options(self) -> str:
        params = self.params
        parts = [f"limit {self.limit}p flows {self.flow_count} quantum {self.quantum} target {show_time(params.target)}"]
        if params.ce_threshold is not None:
            parts.append(f"ce_threshold {show_time(params.ce_threshold)}")
        parts.append(f"interval {show_time(params.interval)} memory_limit {show_size(self.memory_limit)}")
        parts += ["ecn"] * params.ecn
        return " ".join([*parts, f"drop_batch {self.drop_batch}"])

    @property
    def xstats(self) -> list[str]:
        stats = self.codel.stats
        first = f"maxpacket {stats.maxpacket} drop_overlimit {self.drop_overlimit} new_flow_count {self.new_flow_count}"
        first += f" ecn_mark {stats.ecn_mark}"
        for name, value in (("ce_mark", stats.ce_mark), ("memory_used", self.memory_usage), ("drop_overmemory", self.drop_overmemory)):
            if value:
                first += f" {name} {value}"
        return [first, f"new_flows_len {len(self.new_flows)} old_flows_len {len(self.old_flows)}"]


def show_time(ns: int) -> str:
    """A time as tc shows it (sprint_time)."""
    us = ns / 1000
    if us >= 1_000_000:
        return f"{us / 1_000_000:.3g}s"
    return f"{us / 1000:.3g}ms" if us >= 1000 else f"{us:.0f}us"


def show_size(size: int) -> str:
    """Bytes as tc shows them (sprint_size)."""
    for unit, name in ((1 << 20, "Mb"), (1 << 10, "Kb")):
        if size >= unit and abs(size - round(size / unit) * unit) < 1024:
            return f"{round(size / unit)}{name}"
    return f"{size}b"
