"""The way of a packet from its driver (net/core/dev.c): taps, rx_handler, protocols; and bursts that somebody wants packet by packet."""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import TYPE_CHECKING

from fastring.burst import Burst, BurstSink
from softnet.ethernet import ETH_HLEN, ETH_P_8021AD, ETH_P_8021Q, PACKET_OTHERHOST, eth_type_trans
from softnet.skbuff import DropReason, SkBuff

if TYPE_CHECKING:
    from softnet.netdev import NetDevice

NET_RX_SUCCESS, NET_RX_DROP = 0, 1

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

    Softirq. Returns NET_RX_SUCCESS or NET_RX_DROP; the packet is gone either way.
    """
    for _ in range(8):  # another device a time: no endless round
        device = skb.dev
        assert device is not None
        stack = device.stack
        if not skb.tstamp:
            skb.tstamp = stack.clock.time_ns()
        if skb.protocol in (ETH_P_8021Q, ETH_P_8021AD):
            skb_vlan_untag(skb)
        for tap in (*stack.taps, *device.taps):
            tap(skb.clone(), device)
        exact = False
        if device.rx_handler is not None:
            result = device.rx_handler(skb)
            if result is RxHandlerResult.CONSUMED:
                return NET_RX_SUCCESS
            if result is RxHandlerResult.ANOTHER:
                continue
            exact = result is RxHandlerResult.EXACT
        return _deliver(skb, device, exact=exact)
    skb.kfree()
    return NET_RX_DROP


def _deliver(skb: SkBuff, device: NetDevice, *, exact: bool) -> int:
    handlers = [*device.protocols.get(skb.protocol, ()), *(() if exact else device.stack.protocols.get(skb.protocol, ()))]
    if skb.pkt_type == PACKET_OTHERHOST and handlers:
        device.rx_otherhost_dropped += 1
        skb.kfree(DropReason.OTHERHOST)
        return NET_RX_DROP
    if not handlers and device.sink is None:
        device.rx_nohandler += 1
        skb.kfree(DropReason.UNHANDLED_PROTO)
        return NET_RX_DROP
    if device.sink is not None and not handlers:
        skb.push(skb.data_offset - skb.mac_header)
        device.sink.put(Burst.from_packets([bytes(skb)], times=[skb.tstamp]))
        skb.consume()
        return NET_RX_SUCCESS
    for handler in handlers[:-1]:
        handler(skb.clone(), device)
    handlers[-1](skb, device)
    return NET_RX_SUCCESS


def skb_vlan_untag(skb: SkBuff) -> None:
    """Take the tag out of the packet, to lie beside it, as a card with VLAN offload does. Too short for one: it stays as it is."""
    if skb.vlan_tci is not None or skb.headlen < 4:
        return
    tag = bytes(skb.data[:4])
    addresses = bytes(memoryview(skb.head)[skb.mac_header : skb.mac_header + ETH_HLEN - 2])
    skb.cow_head()
    skb.vlan_proto, skb.vlan_tci = skb.protocol, tag[0] << 8 | tag[1]
    skb.protocol = tag[2] << 8 | tag[3]
    skb.pull(4)
    skb.mac_header = skb.data_offset - ETH_HLEN
    memoryview(skb.head)[skb.mac_header : skb.data_offset] = addresses + tag[2:]
    skb.network_header = skb.data_offset


class SkbReceiver(BurstSink):
    """A driver's bursts as SkBuffs, one by one through netif_receive_skb: for devices with taps, handlers or an rx_handler."""

    def __init__(self, device: NetDevice) -> None:
        self.device = device

    def on_burst(self, burst: Burst) -> None:
        for packet, time in zip(burst, burst.times, strict=True):
            skb = SkBuff.from_bytes(packet)
            skb.tstamp = time
            skb.protocol = eth_type_trans(skb, self.device)
            netif_receive_skb(skb)
