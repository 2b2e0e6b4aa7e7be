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
from fastring.gro import GroContext
from softnet.ethernet import ETH_P_8021AD, ETH_P_8021Q, ETH_P_IP, ETH_P_IPV6
from softnet.gro_flow import Flow, Headers, parse
from softnet.netdev_features import Feature
from softnet.receive import netif_receive_skb, skb_vlan_untag
from softnet.skbuff import CHECKSUM_PARTIAL, CHECKSUM_UNNECESSARY, DropReason, SkBuff

if TYPE_CHECKING:
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


class Gro(GroContext):
    """The GRO state of one NAPI, empty. `NetDevice.napi_add` gives each NAPI one; the driver's poll calls `receive` after eth_type_trans.

    What is held goes up when the NAPI completes: at once, or after its gro_flush_timeout, which schedules it again. Without a NAPI who
    calls `receive` calls `flush`, too. `udp`: merge UDP as well (rx-udp-gro-forwarding). Softirq.
    """

    def __init__(self, stack: Stack, *, udp: bool = False) -> None:
        self.stack = stack
        self.udp = udp
        self.napi: Napi | None = None
        self.stats = GroStats()
        self._buckets: list[dict[bytes, Flow]] = [{} for _ in range(GRO_HASH_BUCKETS)]  # each with the oldest first

    def __len__(self) -> int:
        """Packets held, those merged counted as one."""
        return self.held

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
                self._pass_up(bucket, headers.key)
        if merged:
            self.stats.merged += 1
            skb.consume()
            return GroResult.MERGED_FREE
        if headers.unfit or not headers.may_be_held:
            return self._normal(skb)
        if len(bucket) >= MAX_GRO_SKBS:
            self._pass_up(bucket, next(iter(bucket)))  # gro_flush_oldest
        bucket[headers.key] = Flow(skb, headers, self.stack.clock.monotonic_ns())
        self.held += 1
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
        """napi_gro_flush: pass up what is held, or what has been held since before `older_than` (ns); returns how many.

        Raises what a handler did, the last if there were several, when all have gone up.
        """
        before = self.stats.flushed
        failed: Exception | None = None
        for bucket in self._buckets:
            for key, flow in tuple(bucket.items()):
                if older_than is not None and flow.since >= older_than:
                    break  # so are those behind it
                if bucket.get(key) is flow:  # still: what was passed up may have brought more in
                    try:
                        self._pass_up(bucket, key)
                    except Exception as error:
                        failed = error
        if failed is not None:
            raise failed
        return self.stats.flushed - before

    def flush_old(self) -> int:
        """Pass up what is held since an earlier jiffy, as after a poll that used up its budget."""
        return self.flush(older_than=self.stack.clock.monotonic_ns() // JIFFY * JIFFY)

    def on_flush(self, old: bool) -> None:
        if old:
            self.flush_old()
        else:
            self.flush()

    def _pass_up(self, bucket: dict[bytes, Flow], key: bytes) -> None:
        flow = bucket.pop(key)
        self.held -= 1
        self.stats.flushed += 1
        netif_receive_skb(flow.complete())

    def close(self) -> None:
        """netif_napi_del: nothing is delivered any more; what is held is dropped."""
        self.held = 0
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
