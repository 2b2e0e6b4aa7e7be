"""The way of a packet to its driver (net/core/dev.c): dev_queue_xmit, the qdisc's run, dev_hard_start_xmit.

BHs are off all the way, so what runs here must not sleep, and runs under the queue's transmit lock in the driver.
"""

from __future__ import annotations

import errno
import logging
from typing import TYPE_CHECKING

from softnet.ethernet import PACKET_OUTGOING
from softnet.netdev_features import Feature
from softnet.netdev_ops import NETDEV_TX_OK
from softnet.sch_generic import DEV_TX_WEIGHT, NET_XMIT_DROP, NET_XMIT_SUCCESS, Qdisc
from softnet.skbuff import DropReason, SkBuff
from softnet.validate_xmit import validate_xmit_skb

if TYPE_CHECKING:
    from softnet.netdev import NetDevice
    from softnet.netdev_queue import NetdevQueue

log = logging.getLogger("softnet")


def dev_queue_xmit(skb: SkBuff) -> int:
    """Send `skb` by `skb.dev`: it is the stack's from now on. Returns NET_XMIT_SUCCESS, _DROP or _CN, or -ENETDOWN.

    Any thread; from a driver's own start_xmit only to another device.
    """
    device = skb.dev
    if device is None:
        raise ValueError(f"{skb!r} has no device to be sent by")
    queue = device.pick_tx(skb)
    qdisc = queue.qdisc
    if qdisc is None:
        device.tx_dropped += 1
        skb.kfree(DropReason.DEV_READY)
        return -errno.ENETDOWN
    if not qdisc.enqueues:
        return xmit_without_queue(skb, device, queue)
    if qdisc.can_bypass and not qdisc.qlen and not queue.txq.xmit_stopped and qdisc.running.acquire(blocking=False):
        try:
            qdisc.packets += 1
            qdisc.bytes += len(skb)
            sch_direct_xmit(qdisc, skb, device, queue)
        finally:
            qdisc.running.release()
        result = NET_XMIT_SUCCESS
    else:
        result = qdisc.enqueue(skb)
    if qdisc.qlen:
        qdisc_run(qdisc)
    return result


def xmit_without_queue(skb: SkBuff, device: NetDevice, queue: NetdevQueue) -> int:
    """A device without a queue: sent at once, or dropped."""
    if not device.up:
        device.tx_dropped += 1
        skb.kfree(DropReason.DEV_READY)
        return -errno.ENETDOWN
    if queue.locked_here:
        log.critical("Dead loop on virtual device %s, fix it urgently!", device.name)
        device.tx_dropped += 1
        skb.kfree(DropReason.NOT_SPECIFIED)
        return -errno.ENETDOWN
    skbs = validate_xmit_skb(skb, device)
    if not skbs:
        return NET_XMIT_DROP
    queue.lock()
    try:
        left = skbs if queue.txq.xmit_stopped else dev_hard_start_xmit(skbs, device, queue)
    finally:
        queue.unlock()
    for each in left:
        log.critical("Virtual device %s asks to queue packet!", device.name)
        device.tx_dropped += 1
        each.kfree(DropReason.FULL_RING)
    return NET_XMIT_DROP if left else NET_XMIT_SUCCESS


# --- running a qdisc ---


def qdisc_run(qdisc: Qdisc) -> int:
    """Send what it has as long as the driver takes it, at most DEV_TX_WEIGHT packets; returns how many. The rest: Stack.run."""
    if not qdisc.running.acquire(blocking=False):
        return 0  # somebody does already
    sent = 0
    try:
        while sent < DEV_TX_WEIGHT and not qdisc.queue.txq.xmit_stopped:
            skb = qdisc.dequeue()
            if skb is None:
                break
            qdisc.packets += 1
            qdisc.bytes += len(skb)
            skb.xmit_more = qdisc.qlen > 0 and sent + 1 < DEV_TX_WEIGHT
            sent += 1
            if not sch_direct_xmit(qdisc, skb, qdisc.queue.device, qdisc.queue):
                break
    finally:
        qdisc.running.release()
    if qdisc.qlen:
        qdisc.queue.device.stack.netif_schedule(qdisc)
    return sent


def sch_direct_xmit(qdisc: Qdisc, skb: SkBuff, device: NetDevice, queue: NetdevQueue) -> bool:
    """Give one dequeued packet to the driver; what it does not take is requeued. Returns whether to go on."""
    skbs = validate_xmit_skb(skb, device)
    if not skbs:
        return True
    lltx = device.features & Feature.LLTX
    if not lltx:
        queue.lock()
    try:
        left = skbs if queue.txq.xmit_stopped else dev_hard_start_xmit(skbs, device, queue)
    finally:
        if not lltx:
            queue.unlock()
    if left:
        qdisc.requeue(left)
        device.stack.netif_schedule(qdisc)
        return False
    return not queue.txq.xmit_stopped


def dev_hard_start_xmit(skbs: list[SkBuff], device: NetDevice, queue: NetdevQueue) -> list[SkBuff]:
    """Hand packets to the driver, under its lock; returns those it did not take."""
    last = len(skbs) - 1
    for i, skb in enumerate(skbs):
        more = skb.xmit_more
        if i < last:
            skb.xmit_more = True
        if device.stack.taps or device.taps:
            tap_outgoing(skb, device)
        if device.start_xmit(skb, device) != NETDEV_TX_OK:
            skb.xmit_more = more
            queue.txq.count_requeue()
            return skbs[i:]
        queue.txq.trans_update(device.stack.clock.monotonic_ns())
        if i < last and queue.txq.xmit_stopped:
            return skbs[i + 1 :]
    return []


def tap_outgoing(skb: SkBuff, device: NetDevice) -> None:
    """dev_queue_xmit_nit: what tcpdump sees of what is sent."""
    for tap in (*device.stack.taps, *device.taps):
        copy = skb.clone()
        copy.pkt_type = PACKET_OUTGOING
        copy.tstamp = copy.tstamp or device.stack.clock.time_ns()
        tap(copy, device)
