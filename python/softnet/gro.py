"""Generic receive offload (net/core/gro.c, tcp_offload.c, udp_offload.c): packets of a flow that came in a row become one.

What is merged can be cut again to the same bytes: `gso_size`, `gso_segs` and `gso_type` say how, and dev_queue_xmit does so. A Gro
belongs to one NAPI context and to its softirq; see `Gro` for how a driver uses it. Rules and limits are the kernel's, except that
packets that have a gso_size already are left alone, and that UDP with one identification for all (DF, 0) keeps it when it is cut.
"""

from __future__ import annotations

import enum
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING
from zlib import crc32

from fastring.checksum import checksum
from softnet.ethernet import ETH_P_8021AD, ETH_P_8021Q, ETH_P_IP, ETH_P_IPV6
from softnet.gro_flow import Flow, Headers, parse
from softnet.netdev_features import Feature
from softnet.receive import netif_receive_skb, skb_vlan_untag
from softnet.skbuff import CHECKSUM_PARTIAL, CHECKSUM_UNNECESSARY, DropReason, SkBuff

if TYPE_CHECKING:
    from fastring.clock import TimerHandle
    from fastring.napi import Napi
    from softnet.stack import Stack

GRO_HASH_BUCKETS = 8
MAX_GRO_SKBS = 8  # held in a bucket
JIFFY = 1_000_000  # ns: HZ is 1000


class GroResult(enum.Enum):
    """gro_result_t: what became of a packet. It is never the driver's any more."""

    MERGED_FREE = enum.auto()  # its payload is another's now, and it was freed
    HELD = enum.auto()  # waits for more of its flow
    NORMAL = enum.auto()  # went up by itself


@dataclass
class GroStats:
    """Packets by what became of them, and what was passed up after waiting."""

    merged: int = 0
    held: int = 0
    normal: int = 0
    flushed: int = 0  # passed up, merged from one packet or more
    dropped: int = 0  # held when it was closed


class Gro:
    """The GRO state of one NAPI context, empty. A driver's poll calls `receive` after eth_type_trans, and `complete_done` at its end.

    `flush_timeout` (ns; /sys/class/net/*/gro_flush_timeout): how long packets may be held after a poll that found some; 0: not at all.
    `udp`: merge UDP, too (rx-udp-gro-forwarding). Softirq.
    """

    def __init__(self, stack: Stack, *, flush_timeout: int = 0, udp: bool = False) -> None:
        self.stack = stack
        self.flush_timeout = flush_timeout
        self.udp = udp
        self.stats = GroStats()
        self._buckets: list[dict[bytes, Flow]] = [{} for _ in range(GRO_HASH_BUCKETS)]  # each with the oldest first
        self._timer: TimerHandle | None = None

    def __len__(self) -> int:
        """Packets held, those merged counted as one."""
        return sum(map(len, self._buckets))

    # --- packets in ---

    def receive(self, skb: SkBuff) -> GroResult:
        """napi_gro_receive: merge it, hold it, or pass it up (netif_receive_skb), after what it shows to be at its end."""
        if skb.protocol in (ETH_P_8021Q, ETH_P_8021AD):
            skb_vlan_untag(skb)
        headers = self._parse(skb)
        if headers is None:
            return self._normal(skb)
        bucket = self._buckets[crc32(headers.key) % GRO_HASH_BUCKETS]
        flow = bucket.get(headers.key)
        if not headers.unfit and not _checksum_good(skb, headers):
            return self._normal(skb)
        merged = False
        if flow is not None:
            merged, ended = flow.try_merge(skb, headers)
            if ended or not merged:
                self._pass_up(bucket.pop(headers.key))
        if merged:
            self.stats.merged += 1
            skb.consume()
            return GroResult.MERGED_FREE
        if headers.unfit or not headers.may_be_held:
            return self._normal(skb)
        if len(bucket) >= MAX_GRO_SKBS:
            self._pass_up(bucket.pop(next(iter(bucket))))  # gro_flush_oldest
        bucket[headers.key] = Flow(skb, headers, self.stack.clock.monotonic_ns())
        self.stats.held += 1
        return GroResult.HELD

    def _parse(self, skb: SkBuff) -> Headers | None:
        device = skb.dev
        assert device is not None
        if skb.gso_size or skb.protocol not in (ETH_P_IP, ETH_P_IPV6) or not device.features & Feature.GRO:
            return None
        return parse(skb, udp=self.udp)

    def _normal(self, skb: SkBuff) -> GroResult:
        self.stats.normal += 1
        netif_receive_skb(skb)
        return GroResult.NORMAL

    # --- packets up ---

    def flush(self, *, older_than: int | None = None) -> int:
        """napi_gro_flush: pass up what is held, or what has been held since before `older_than` (ns); returns how many."""
        before = self.stats.flushed
        for bucket in self._buckets:
            for key, flow in tuple(bucket.items()):
                if older_than is not None and flow.since >= older_than:
                    break  # so are those behind it
                if bucket.get(key) is flow:  # still: what was passed up may have brought more in
                    self._pass_up(bucket.pop(key))
        return self.stats.flushed - before

    def _pass_up(self, flow: Flow) -> None:
        self.stats.flushed += 1
        netif_receive_skb(flow.complete())

    def flush_old(self) -> int:
        """What napi_poll does after a poll that used up its budget: pass up what is held since an earlier jiffy."""
        return self.flush(older_than=self.stack.clock.monotonic_ns() // JIFFY * JIFFY)

    def complete_done(self, napi: Napi | None, work: int) -> bool:
        """napi_complete_done for a poll that received `work` packets: flush, or arm the timer; returns whether to unmask interrupts.

        `napi` is None for a driver without one.
        """
        if self.flush_timeout and work and len(self):
            self.flush_old()
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self.stack.clock.call_later(self.flush_timeout, self.flush)
        else:
            self.flush()
        return napi is None or napi.napi_complete_done(work)

    def close(self) -> None:
        """netif_napi_del: nothing is delivered any more; what is held is dropped."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for bucket in self._buckets:
            for flow in bucket.values():
                self.stats.dropped += 1 + len(flow.merged)
                flow.skb.kfree(DropReason.DEV_READY)
            bucket.clear()

    def __repr__(self) -> str:
        return f"<Gro: {len(self)} held, {self.stats!r}>"


def _checksum_good(skb: SkBuff, headers: Headers) -> bool:
    """skb_gro_checksum_validate: by the card, or else worked out here."""
    if skb.ip_summed in (CHECKSUM_UNNECESSARY, CHECKSUM_PARTIAL):
        return True
    data = bytes(skb)
    length = len(data) - headers.transport
    pseudo = headers.addresses + struct.pack("!II", length, headers.kind)
    if checksum(pseudo + data[headers.transport :]):
        return False
    skb.ip_summed = CHECKSUM_UNNECESSARY
    return True
