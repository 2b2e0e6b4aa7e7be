"""The way of a packet from its driver (net/core/dev.c): taps, rx_handler, protocols; and bursts that somebody wants packet by packet."""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import TYPE_CHECKING

from fastring.burst import Burst, BurstSink
from softnet.ethernet import ETH_ALEN, ETH_HLEN, ETH_P_8021AD, ETH_P_8021Q, PACKET_OTHERHOST, VLAN_HLEN, eth_protocol, eth_type_trans
from softnet.gso import skb_gso_segment
from softnet.skbuff import CHECKSUM_COMPLETE, CHECKSUM_NONE, DropReason, SkBuff
from softnet.validate_xmit import skb_vlan_push

if TYPE_CHECKING:
    from softnet.gro import Gro
    from softnet.netdev import NetDevice

NET_RX_SUCCESS, NET_RX_DROP = 0, 1
MAX_ROUNDS = 8  # from device to device, by rx_handlers: no endless round
VLAN_VID_MASK = 0x0FFF

Handler = Callable[[SkBuff, "NetDevice"], object]  # a packet_type's func: the packet is its own, and it frees it


class RxHandlerResult(enum.Enum):
    """What an rx_handler answers (rx_handler_result_t)."""

    CONSUMED = enum.auto()  # it has the packet
    ANOTHER = enum.auto()  # skb.dev is another device now: begin again there
    EXACT = enum.auto()  # only to handlers of this very device
    PASS = enum.auto()


RxHandler = Callable[[SkBuff], RxHandlerResult]


def netif_receive_skb(skb: SkBuff) -> int:
    """Deliver what eth_type_trans has been done to: to taps, the device's rx_handler, and the handlers of its protocol.

    Softirq. Returns NET_RX_SUCCESS or NET_RX_DROP; the packet is gone either way. A tap or handler that was removed is not called
    any more, even if it was removed by another of this very packet.
    """
    for _ in range(MAX_ROUNDS):
        device = skb.dev
        assert device is not None
        stack = device.stack
        if stack.checker is not None:
            stack.checker.tell("skb_received", skb)
        if not skb.tstamp:
            skb.tstamp = stack.clock.time_ns()
        skb.network_header = skb.transport_header = skb.data_offset
        if skb.protocol in (ETH_P_8021Q, ETH_P_8021AD):
            skb_vlan_untag(skb)
        tapped = False
        if stack.taps or device.taps:
            tapped = _call(skb, device, stack.taps, device.taps)
        exact = False
        if device.rx_handler is not None:
            tapped = False
            result = device.rx_handler(skb)
            if result is RxHandlerResult.CONSUMED:
                return NET_RX_SUCCESS
            if result is RxHandlerResult.ANOTHER:
                continue
            exact = result is RxHandlerResult.EXACT
        return _deliver(skb, device, exact=exact, tapped=tapped)
    assert skb.dev is not None
    skb.dev.rx_dropped += 1
    skb.kfree()
    return NET_RX_DROP


def _call(skb: SkBuff, device: NetDevice, *lists: list[Handler]) -> bool:
    """Give each handler that is still there a clone; returns whether there was one."""
    called = False
    for handlers in lists:
        for handler in tuple(handlers):
            if handler in handlers:
                called = True
                handler(skb.clone(), device)
    return called


def _deliver(skb: SkBuff, device: NetDevice, *, exact: bool, tapped: bool) -> int:
    """To the protocol's handlers, the stack's before the device's own, or to the device's sink; or drop and count it."""
    sink = device.sink
    if isinstance(sink, SkbReceiver):
        sink = None  # from that one it came
    if skb.vlan_tci is not None:
        _vlan_for_whom(skb, device, keep=sink is not None)
    handlers = None if exact else device.stack.protocols.get(skb.protocol)
    own = device.protocols.get(skb.protocol) if device.protocols else None
    if handlers or own:
        if skb.pkt_type == PACKET_OTHERHOST:  # ip_rcv, ipv6_rcv, arp_rcv
            device.rx_otherhost_dropped += 1
            skb.kfree(DropReason.OTHERHOST)
            return NET_RX_DROP
        if not own and handlers and len(handlers) == 1:
            handlers[0](skb, device)
        else:
            _deliver_to_all(skb, device, handlers or [], own or [])
        return NET_RX_SUCCESS
    if sink is not None:
        sink.put(_as_burst(skb))
    elif not tapped:
        if exact:
            device.rx_nohandler += 1
        else:
            device.rx_dropped += 1
        skb.kfree(DropReason.UNHANDLED_PROTO)
        return NET_RX_DROP
    skb.consume()
    return NET_RX_SUCCESS


def _deliver_to_all(skb: SkBuff, device: NetDevice, handlers: list[Handler], own: list[Handler]) -> None:
    """A clone to each; the packet itself if there is only one."""
    if len(handlers) + len(own) == 1:
        (handlers or own)[0](skb, device)
    else:
        _call(skb, device, handlers, own)
        skb.consume()


def _vlan_for_whom(skb: SkBuff, device: NetDevice, *, keep: bool) -> None:
    """A VLAN that was not added to the device is others' traffic. A tag of VLAN 0 has only a priority: away with it, and look behind it.

    See check_vlan_id in __netif_receive_skb_core. `keep`: somebody wants the packet as it was on the wire.
    """
    while skb.vlan_tci is not None:
        if skb.vlan_tci & VLAN_VID_MASK:
            if (skb.vlan_proto, skb.vlan_tci & VLAN_VID_MASK) not in device.vlans:
                skb.pkt_type = PACKET_OTHERHOST
            return
        if keep:
            return
        skb.vlan_tci = None
        if skb.protocol in (ETH_P_8021Q, ETH_P_8021AD):
            skb_vlan_untag(skb)


def _as_burst(skb: SkBuff) -> Burst:
    """A packet as it was on the wire: with its header and tag, and if GRO merged it, in its segments."""
    skb.cow_head()
    skb.push(skb.data_offset - skb.mac_header)
    if skb.vlan_tci is not None:
        skb_vlan_push(skb)
    packets = skb_gso_segment(skb, checksums=True) if skb.gso_size else [skb]
    return Burst.from_packets([bytes(packet) for packet in packets], times=[skb.tstamp] * len(packets))


def skb_vlan_untag(skb: SkBuff) -> None:
    """Take the tag out of the packet, to lie beside it, as a card with VLAN offload does. Too short for one: it stays as it is."""
    if skb.vlan_tci is not None or not skb.may_pull(VLAN_HLEN):
        return
    skb.cow_head()
    tag = bytes(skb.data[:VLAN_HLEN])
    addresses = bytes(memoryview(skb.head)[skb.mac_header : skb.mac_header + 2 * ETH_ALEN])
    skb.vlan_proto, skb.vlan_tci = skb.protocol, tag[0] << 8 | tag[1]
    skb.pull(VLAN_HLEN)
    skb.protocol = eth_protocol(tag[2] << 8 | tag[3], skb)
    skb.mac_header = skb.data_offset - ETH_HLEN
    memoryview(skb.head)[skb.mac_header : skb.data_offset] = addresses + tag[2:]
    skb.network_header = skb.transport_header = skb.data_offset
    if skb.ip_summed == CHECKSUM_COMPLETE:
        skb.ip_summed = CHECKSUM_NONE  # it was the sum over the tag, too


class SkbReceiver(BurstSink):
    """A driver's bursts as SkBuffs, one by one through netif_receive_skb: for devices with taps, handlers or an rx_handler.

    With `gro`, through that: its NAPI flushes it; one without a NAPI is flushed at the end of each burst.
    """

    def __init__(self, device: NetDevice, *, gro: Gro | None = None) -> None:
        self.device = device
        self.gro = gro

    def on_burst(self, burst: Burst) -> None:
        receive = netif_receive_skb if self.gro is None else self.gro.receive
        for packet, time in zip(burst, burst.times, strict=True):
            skb = SkBuff.from_bytes(packet)
            skb.tstamp = time
            skb.protocol = eth_type_trans(skb, self.device)
            receive(skb)
        if self.gro is not None and self.gro.napi is None:
            self.gro.flush()
