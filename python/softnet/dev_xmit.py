"""The way of a packet to its driver (net/core/dev.c): dev_queue_xmit, the qdisc's run, dev_hard_start_xmit.

BHs are off all the way, so what runs here must not sleep, and runs under the queue's transmit lock in the driver.
"""

from __future__ import annotations

import errno
import logging
import threading
from typing import TYPE_CHECKING

from softnet.ethernet import PACKET_OUTGOING
from softnet.netdev_features import Feature
from softnet.netdev_ops import NETDEV_TX_BUSY, NETDEV_TX_OK
from softnet.netdev_tx import count_tx_dropped, netdev_core_pick_tx
from softnet.sch_generic import DEV_TX_WEIGHT, NET_XMIT_MASK, NET_XMIT_SUCCESS, Qdisc, qdisc_pkt_len_init
from softnet.skbuff import DropReason, SkBuff
from softnet.validate_xmit import validate_xmit_skb

if TYPE_CHECKING:
    from softnet.netdev import NetDevice
    from softnet.netdev_queue import NetdevQueue

XMIT_RECURSION_LIMIT = 8  # devices without a queue, one upon the other
LLTX = int(Feature.LLTX)

log = logging.getLogger("softnet")


class _Recursion(threading.local):
    """softnet_data.xmit.recursion: how many devices without a queue this thread is inside of."""

    depth = 0


_recursion = _Recursion()


def dev_queue_xmit(skb: SkBuff) -> int:
    """Send `skb` by `skb.dev`: it is the stack's from now on. Returns NET_XMIT_SUCCESS, _DROP or _CN, -ENETDOWN or -ENOMEM.

    Any thread. Only NET_XMIT_SUCCESS says that nothing was dropped so far; a device that is down or has no carrier drops, with _CN.
    """
    try:
        device = skb.dev
    except AttributeError:
        raise TypeError(f"an SkBuff is sent, not {skb!r}") from None
    if device is None:
        raise ValueError(f"{skb!r} has no device to be sent by")
    queue = netdev_core_pick_tx(device, skb)
    qdisc = queue.qdisc
    if skb._shared is not None:
        qdisc_pkt_len_init(skb)
    if not qdisc.enqueues:
        return xmit_without_queue(skb, device, queue)
    # Past an empty qdisc (TCQ_F_CAN_BYPASS). The kernel does so also before a queue that is stopped, and requeues the packet: here it
    # is enqueued, and those of a better band may still pass it.
    if qdisc.can_bypass and not qdisc.qlen and not queue.txq.xmit_stopped and qdisc.run_begin():
        try:
            if not qdisc.qlen and not qdisc.deactivated:  # now that nobody else dequeues
                qdisc.count_sent(skb)
                if not sch_direct_xmit(qdisc, [skb], device, queue) and qdisc.qlen:
                    _run(qdisc)
                return NET_XMIT_SUCCESS
        finally:
            qdisc.run_end()
    result = qdisc.enqueue(skb)
    if qdisc.qlen:
        qdisc_run(qdisc)
    return result


def xmit_without_queue(skb: SkBuff, device: NetDevice, queue: NetdevQueue) -> int:
    """A device without a queue: sent at once, or dropped with -ENETDOWN."""
    if not device.up:
        return _not_sent([skb], device, DropReason.DEV_READY)
    if queue.locked_here or _recursion.depth > XMIT_RECURSION_LIMIT:
        log.critical("Dead loop on virtual device %s, fix it urgently!", device.name)
        return _not_sent([skb], device, DropReason.NOT_SPECIFIED)
    skbs = validate_xmit_skb(skb, device)
    if not skbs:
        return -errno.ENOMEM
    queue.lock()
    _recursion.depth += 1
    try:
        if not queue.txq.xmit_stopped:
            dev_hard_start_xmit(skbs, device, queue)
    finally:
        _recursion.depth -= 1
        queue.unlock()
    if not skbs:
        return NET_XMIT_SUCCESS
    log.critical("Virtual device %s asks to queue packet!", device.name)
    return _not_sent(skbs, device, DropReason.FULL_RING)


def _not_sent(skbs: list[SkBuff], device: NetDevice, reason: DropReason) -> int:
    for skb in skbs:
        count_tx_dropped(device)
        skb.kfree(reason)
    return -errno.ENETDOWN


# --- running a qdisc ---


def qdisc_run(qdisc: Qdisc) -> int:
    """Send what it has as long as the driver takes it, DEV_TX_WEIGHT packets or little more; returns how many. The rest: Stack.run."""
    if not qdisc.run_begin():
        return 0  # somebody does already
    try:
        return _run(qdisc)
    finally:
        qdisc.run_end()


def _run(qdisc: Qdisc) -> int:
    """__qdisc_run and qdisc_restart. `running` is held."""
    queue = qdisc.queue
    sent = 0
    while sent < DEV_TX_WEIGHT and not queue.txq.xmit_stopped and not qdisc.deactivated:
        skbs, validate = qdisc.dequeue()
        if not skbs:
            break
        left = sch_direct_xmit(qdisc, skbs, queue.device, queue, validate=validate)
        sent += max(0, len(skbs) - left)  # of one that was segmented, what is left may be more than it was
        if left:
            break
    return sent


def sch_direct_xmit(qdisc: Qdisc, skbs: list[SkBuff], device: NetDevice, queue: NetdevQueue, *, validate: bool = True) -> int:
    """Give dequeued packets to the driver; returns how many it did not take, which were requeued. `running` is held."""
    if not validate:
        ready = skbs.copy()
    elif len(skbs) == 1:
        ready = validate_xmit_skb(skbs[0], device)
    else:
        ready = [each for skb in skbs for each in validate_xmit_skb(skb, device)]
    if not ready:
        return 0
    locked = not int(device.features) & LLTX
    if locked:
        queue.lock()
    try:
        if not queue.txq.xmit_stopped:
            dev_hard_start_xmit(ready, device, queue)
    finally:
        if locked:
            queue.unlock()
        if ready:
            qdisc.requeue(ready)
    return len(ready)


def dev_hard_start_xmit(skbs: list[SkBuff], device: NetDevice, queue: NetdevQueue) -> None:
    """Hand packets to the driver, under its lock; those it did not take are left in `skbs`.

    `skb.xmit_more` says that the next call follows at once, unless the driver stops the queue in this one: so it rings its doorbell
    if xmit_more is false, or the queue is stopped by then, or it answers BUSY with packets not yet told of.
    """
    counts_itself = int(device.features) & LLTX  # txq_trans_update leaves trans_start to those
    while skbs:
        skb = skbs.pop(0)
        skb.xmit_more = bool(skbs)
        if device.stack.taps or device.taps:
            tap_outgoing(skb, device)
        result = device.start_xmit(skb, device)
        if result is not NETDEV_TX_OK and result != 0:
            check_netdev_tx(result, device)
            if result >= NET_XMIT_MASK:  # otherwise a device below it dropped the packet (dev_xmit_complete)
                skb.xmit_more = False
                skbs.insert(0, skb)
                queue.txq.count_requeue()
                return
        elif not counts_itself:
            queue.txq.trans_update(device.stack.clock.monotonic_ns())
        if skbs and queue.driver_stopped:
            return


def check_netdev_tx(result: object, device: NetDevice) -> None:
    """Raises TypeError for what start_xmit cannot answer: the packet is the driver's then.

    After a code that is none it is kept, as the kernel does; with a checker it is OSError EINVAL, before the packet is freed twice.
    """
    right = "NETDEV_TX_OK, or, with the packet as it was, NETDEV_TX_BUSY"
    if not isinstance(result, int):
        raise TypeError(f"{device.name}: ndo_start_xmit returned {result!r}; it returns {right}")
    if result >= NET_XMIT_MASK and result != NETDEV_TX_BUSY:
        if device.stack.checker is not None:
            raise OSError(errno.EINVAL, f"{device.name}: ndo_start_xmit returned {result!r}; it returns {right}")
        log.error("BUG %s code %d from start_xmit: neither OK nor BUSY", device.name, result)


def tap_outgoing(skb: SkBuff, device: NetDevice) -> None:
    """dev_queue_xmit_nit: what tcpdump sees of what is sent."""
    for tap in (*device.stack.taps, *device.taps):
        copy = skb.clone()
        copy.pkt_type = PACKET_OUTGOING
        copy.tstamp = copy.tstamp or device.stack.clock.time_ns()
        tap(copy, device)


def tap_burst(device: NetDevice, packets: list[tuple[bytes, int]]) -> None:
    """The same for packets that went past the qdisc in a burst, each with its time stamp in ns (0: now)."""
    for packet, time in packets:
        skb = SkBuff.from_bytes(packet, dev=device)
        skb.protocol = int.from_bytes(packet[12:14], "big")
        skb.tstamp = time
        tap_outgoing(skb, device)
        skb.consume()
