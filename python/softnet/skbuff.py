"""SkBuff: one packet on the control path, and in drivers that transmit packet by packet (the kernel's struct sk_buff).

    head      data          tail       end
     |headroom |  linear     | tailroom |  + frags, pieces elsewhere

`head`, the frags and the segmentation fields (`SharedInfo`) belong to all clones together; who may have clones takes a copy before
writing there (`unshare`, `cow_head`). Everything else is an SkBuff's own. Bursts have no SkBuffs: see fastring.burst.
"""

from __future__ import annotations

import enum
import operator
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from softnet.netdev import NetDevice

NET_SKB_PAD = 64  # headroom that drivers leave in front of what they receive
MAX_SKB_FRAGS = 17
GSO_MAX_SIZE = 65536

# skb.ip_summed (include/linux/skbuff.h)
CHECKSUM_NONE, CHECKSUM_UNNECESSARY, CHECKSUM_COMPLETE, CHECKSUM_PARTIAL = range(4)


class GsoType(enum.IntFlag):
    """SKB_GSO_*: what kind of packets it is to be cut into."""

    TCPV4 = 1 << 0
    DODGY = 1 << 1
    TCP_ECN = 1 << 2  # its first segment alone has CWR
    TCP_FIXEDID = 1 << 3  # IPv4 identification: all segments have the same
    TCPV6 = 1 << 4
    UDP_L4 = 1 << 17


class DropReason(enum.Enum):
    """SKB_DROP_REASON_*: why a packet was freed that went nowhere."""

    NOT_SPECIFIED = enum.auto()
    DEV_READY = enum.auto()  # the device is down, or has no carrier
    FULL_RING = enum.auto()
    QDISC_DROP = enum.auto()
    QDISC_OVERLIMIT = enum.auto()
    QDISC_CONGESTED = enum.auto()
    QDISC_REMOVED = enum.auto()  # it waited in a queue that was emptied
    SKB_GSO_SEG = enum.auto()
    SKB_CSUM = enum.auto()
    NOMEM = enum.auto()
    PKT_TOO_BIG = enum.auto()
    PKT_TOO_SMALL = enum.auto()
    HDR_TRUNC = enum.auto()
    UNHANDLED_PROTO = enum.auto()
    OTHERHOST = enum.auto()
    CPU_BACKLOG = enum.auto()
    TAP_TXFILTER = enum.auto()
    TX_ABORTED = enum.auto()  # in flight when its device was stopped or reset


class SkbPanic(RuntimeError):
    """skb_over_panic and skb_under_panic: the linear part was to grow past its end, or before its head; or it was used after its end."""


class SharedInfo:
    """skb_shared_info: what an SkBuff and its clones have in common, next to the bytes at `head`."""

    __slots__ = ("dataref", "frags", "gso_segs", "gso_size", "gso_type")

    def __init__(self) -> None:
        self.dataref = 1
        self.frags: list[memoryview] = []
        self.gso_size = 0
        self.gso_segs = 0
        self.gso_type = GsoType(0)


class SkBuff:
    """A packet: `SkBuff(size)` has that many bytes of room and no data; `SkBuff.from_bytes` and `alloc_skb` are the usual ways.

    Freed once, by who has it last: `consume` when it reached its end, `kfree(reason)` when it was dropped.
    """

    # What most packets never change stands in the class: making one must be cheap.
    dev: NetDevice | None = None
    protocol: int = 0  # ETH_P_*
    pkt_type: int = 0  # PACKET_*
    ip_summed: int = CHECKSUM_NONE
    csum: int = 0  # CHECKSUM_COMPLETE: the sum over all that was received
    csum_start: int = 0  # CHECKSUM_PARTIAL: from here on, an offset from head,
    csum_offset: int = 0  # and where the result goes, counted from there
    queue_mapping: int = 0
    vlan_tci: int | None = None  # a tag beside the packet, not in it
    vlan_proto: int = 0x8100
    tstamp: int = 0  # ns
    priority: int = 0
    wire_len: int = 0  # qdisc_skb_cb.pkt_len of a packet to be cut: see sch_generic
    mark: int = 0
    hash: int = 0
    mac_header: int = 0  # offsets from head
    network_header: int = 0
    transport_header: int = 0
    xmit_more: bool = False  # another packet follows at once: the doorbell may wait
    destructor: Callable[[SkBuff], object] | None = None  # called when it is freed
    sk: Any = None  # who sent it
    cb: Any = None  # of whoever has it (control block)
    users: int = 1
    freed: DropReason | bool | None = False  # True: consumed; a reason: dropped
    _shared: SharedInfo | None = None

    def __init__(self, size: int = 0) -> None:
        self.head = bytearray(size)
        self.data_offset = self.tail_offset = 0

    @classmethod
    def from_bytes(cls, packet: Buffer, *, headroom: int = NET_SKB_PAD, dev: NetDevice | None = None) -> SkBuff:
        """One with a copy of `packet` as its data, and no tailroom."""
        skb = cls.__new__(cls)
        head = bytearray(headroom)
        head += packet
        skb.head = head
        skb.data_offset = headroom
        skb.tail_offset = len(head)
        if dev is not None:
            skb.dev = dev
        return skb

    # --- where its bytes are ---

    @property
    def shared(self) -> SharedInfo:
        """skb_shinfo."""
        if self._shared is None:
            self._shared = SharedInfo()
        return self._shared

    @property
    def frags(self) -> Sequence[memoryview]:
        """The pieces after the linear part."""
        return self._shared.frags if self._shared is not None else ()

    @property
    def data(self) -> memoryview:
        """The linear part. Writing goes to all clones: `unshare` first."""
        return memoryview(self.head)[self.data_offset : self.tail_offset]

    @property
    def end_offset(self) -> int:
        """Where the room ends."""
        return len(self.head)

    @property
    def headlen(self) -> int:
        """Bytes in the linear part (skb_headlen)."""
        return self.tail_offset - self.data_offset

    @property
    def data_len(self) -> int:
        """Bytes in frags."""
        return sum(map(len, self._shared.frags)) if self._shared is not None else 0

    def __len__(self) -> int:
        if self._shared is None:
            return self.tail_offset - self.data_offset
        return self.headlen + self.data_len

    def __bytes__(self) -> bytes:
        """The whole packet."""
        linear = bytes(memoryview(self.head)[self.data_offset : self.tail_offset])
        return linear + b"".join(self._shared.frags) if self._shared is not None and self._shared.frags else linear

    @property
    def headroom(self) -> int:
        return self.data_offset

    @property
    def tailroom(self) -> int:
        """Bytes that `put` may take; none behind frags (skb_tailroom)."""
        return 0 if self.frags else len(self.head) - self.tail_offset

    # --- growing and shrinking ---

    def put(self, length: int) -> memoryview:
        """Take `length` bytes at the tail into the packet; returns them. Raises SkbPanic without the room."""
        start = self.tail_offset
        if not 0 <= length <= self.tailroom:
            raise SkbPanic(f"skb_over_panic: put({length}) with a tailroom of {self.tailroom}: {self!r}")
        self.tail_offset = start + length
        return memoryview(self.head)[start : start + length]

    def put_data(self, data: Buffer) -> None:
        """Append bytes (skb_put_data)."""
        view = memoryview(data).cast("B")
        self.put(len(view))[:] = view

    def push(self, length: int) -> memoryview:
        """Take `length` bytes before the data into the packet; returns them. Raises SkbPanic without the headroom."""
        if not 0 <= length <= self.data_offset:
            raise SkbPanic(f"skb_under_panic: push({length}) with a headroom of {self.data_offset}: {self!r}")
        self.data_offset -= length
        return memoryview(self.head)[self.data_offset : self.data_offset + length]

    def pull(self, length: int) -> memoryview | None:
        """Take `length` bytes off the front; returns what is left of the linear part, None (and does nothing) if that is too short."""
        if not 0 <= length <= self.headlen:
            return None
        self.data_offset += length
        return self.data

    def reserve(self, length: int) -> None:
        """Make headroom of an empty one's room. Raises SkbPanic if it has data, or too little room."""
        if self.headlen or not 0 <= length <= self.tailroom:
            raise SkbPanic(f"reserve({length}) with {self.headlen} bytes of data and a tailroom of {self.tailroom}: {self!r}")
        self.data_offset = self.tail_offset = self.data_offset + length

    def trim(self, length: int) -> None:
        """Cut the end off; harmless if it is not longer (skb_trim). Frags go first."""
        if length < 0:
            raise ValueError(f"a packet has no {length} bytes")
        excess = len(self) - length
        if excess <= 0:
            return
        if self.frags and self.cloned:
            self._own(headroom=self.data_offset, linear=False)  # the clones' pieces stay
        frags = self._shared.frags if self._shared is not None else []
        while frags and excess:
            last = frags.pop()
            if len(last) > excess:
                frags.append(last[: len(last) - excess])
                excess = 0
            else:
                excess -= len(last)
        self.tail_offset -= excess

    def add_frag(self, piece: Buffer) -> None:
        """Append a piece that stays where it is (skb_add_rx_frag). Raises SkbPanic past MAX_SKB_FRAGS, or while it has clones."""
        if self.cloned or len(self.frags) >= MAX_SKB_FRAGS:
            raise SkbPanic(f"a piece more than {len(self.frags)} cannot be added: {self!r}")
        self.shared.frags.append(memoryview(piece).cast("B"))

    def may_pull(self, length: int) -> bool:
        """Whether the first `length` bytes are in the linear part, moved there if need be (pskb_may_pull)."""
        if length <= self.headlen:
            return True
        if length > len(self):
            return False
        self.linearize()
        return True

    def linearize(self) -> None:
        """Bring all bytes into the linear part: for a device without NETIF_F_SG. Clones keep theirs."""
        if self.frags:
            self._own(headroom=self.data_offset, linear=True)

    # --- sharing ---

    @property
    def cloned(self) -> bool:
        """Whether others have its bytes, too: it must not write to them."""
        return self._shared is not None and self._shared.dataref > 1

    def _like(self) -> SkBuff:
        """One with its fields, and what it shares with nobody."""
        other = SkBuff.__new__(type(self))
        other.__dict__.update(self.__dict__)
        for own in ("users", "destructor", "sk", "freed", "wire_len"):
            other.__dict__.pop(own, None)
        return other

    def clone(self) -> SkBuff:
        """Another SkBuff of the same bytes. Neither may write to them from now on."""
        self._alive()
        self.shared.dataref += 1
        return self._like()

    def copy(self) -> SkBuff:
        """A linear copy of all of it, with the same headroom (skb_copy)."""
        self._alive()
        other = self._like()
        other._own(headroom=self.data_offset, linear=True, release=False)
        return other

    def unshare(self) -> SkBuff:
        """One that may be written to: itself if it has no clones and one user, else a copy, and this one is given up (skb_unshare)."""
        if not self.cloned and self.users == 1:
            return self
        other = self.copy()
        self.consume()
        return other

    def share_check(self) -> SkBuff:
        """One whose fields may be changed: itself, or with more users than one a clone; then this one is given up (skb_share_check)."""
        if self.users == 1:
            return self
        other = self.clone()
        self.consume()
        return other

    def cow_head(self, headroom: int = 0) -> None:
        """See to `headroom` bytes before the data and to a linear part of its own: headers may be written (skb_cow_head)."""
        if self.cloned or headroom > self.data_offset:
            self._own(headroom=max(headroom, self.data_offset), linear=False)

    def _own(self, *, headroom: int, linear: bool, release: bool = True) -> None:
        """Move to a head and a SharedInfo of its own, with `headroom` and as much behind its tail as before (pskb_expand_head)."""
        shared, old_headroom, tailroom = self._shared, self.data_offset, len(self.head) - self.tail_offset
        head = bytearray(headroom)
        head[headroom - old_headroom :] = memoryview(self.head)[:old_headroom]  # pulled headers are there
        head += bytes(self) if linear else self.data
        self.data_offset, self.tail_offset = headroom, len(head)
        head += bytes(tailroom)
        self.head = head
        shift = headroom - old_headroom
        if shift:
            self.mac_header += shift
            self.network_header += shift
            self.transport_header += shift
            self.csum_start += shift
        self._shared = None
        if shared is not None:
            if shared.frags and not linear:
                self.shared.frags.extend(shared.frags)
            if shared.gso_size:
                own = self.shared
                own.gso_size, own.gso_segs, own.gso_type = shared.gso_size, shared.gso_segs, shared.gso_type
            if release:
                shared.dataref -= 1

    # --- its end ---

    def get(self) -> SkBuff:
        """One user more, for whom it must be freed, too (skb_get)."""
        self._alive()
        self.users += 1
        return self

    def consume(self) -> None:
        """Free it: it reached its end. Raises SkbPanic if it was freed before."""
        self._free(True)

    def kfree(self, reason: DropReason = DropReason.NOT_SPECIFIED) -> None:
        """Free it: it was dropped, for `reason`. Raises SkbPanic if it was freed before."""
        self._free(reason)

    def _free(self, how: DropReason | bool) -> None:
        if self.freed:
            raise SkbPanic(f"freed twice: {self!r}")
        self.users -= 1
        if self.users:
            return
        self.freed = how
        if self._shared is not None:
            self._shared.dataref -= 1
        if self.destructor is not None:
            self.destructor(self)

    def _alive(self) -> None:
        if self.freed:
            raise SkbPanic(f"used after it was freed: {self!r}")

    # --- segmentation ---

    @property
    def gso_size(self) -> int:
        """Payload of each packet it is to be cut into; 0: it is sent as it is (skb_is_gso)."""
        return self._shared.gso_size if self._shared is not None else 0

    @gso_size.setter
    def gso_size(self, value: int) -> None:
        self.shared.gso_size = operator.index(value)  # its range is seen to where it is used

    @property
    def gso_segs(self) -> int:
        return self._shared.gso_segs if self._shared is not None else 0

    @gso_segs.setter
    def gso_segs(self, value: int) -> None:
        self.shared.gso_segs = value

    @property
    def gso_type(self) -> GsoType:
        return self._shared.gso_type if self._shared is not None else GsoType(0)

    @gso_type.setter
    def gso_type(self, value: GsoType) -> None:
        self.shared.gso_type = value

    def __repr__(self) -> str:
        parts = [f"{len(self)} bytes"]
        if self.frags:
            parts.append(f"{len(self.frags)} frags")
        if self.protocol:
            parts.append(f"protocol {self.protocol:#06x}")
        if self.gso_size:
            parts.append(f"gso_size {self.gso_size}")
        if self.cloned:
            parts.append("cloned")
        if self.freed:
            parts.append(f"dropped: {self.freed.name}" if isinstance(self.freed, DropReason) else "consumed")
        return f"<SkBuff: {', '.join(parts)}>"


def alloc_skb(size: int, *, headroom: int = 0) -> SkBuff:
    """An empty SkBuff with room for `size` bytes behind `headroom` (__netdev_alloc_skb)."""
    skb = SkBuff(headroom + size)
    skb.data_offset = skb.tail_offset = headroom
    return skb
