"""Several transmit queues (net/core/dev.c): which one a packet takes, and how many there are.

A socket that wants its packets to stay on one queue has an attribute `tx_queue_mapping`, None at first (sk_tx_queue_mapping).
"""

from __future__ import annotations

import errno
import logging
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

from softnet.flow_dissector import reciprocal_scale, skb_get_hash

if TYPE_CHECKING:
    from softnet.netdev import NetDevice
    from softnet.netdev_queue import NetdevQueue
    from softnet.skbuff import SkBuff

log = logging.getLogger("softnet")

_counting = threading.Lock()


def count_tx_dropped(device: NetDevice, packets: int = 1) -> None:
    """dev_core_stats_tx_dropped_inc: the stack dropped so many before its driver got them. Any thread."""
    with _counting:
        device.tx_dropped += packets


def netdev_core_pick_tx(device: NetDevice, skb: SkBuff) -> NetdevQueue:
    """The driver's choice (ndo_select_queue), or netdev_pick_tx's; noted in `skb.queue_mapping`. Any thread."""
    index = 0
    if device.real_num_tx_queues != 1:
        select = device.select_queue
        index = netdev_pick_tx(device, skb) if select is None else select(device, skb)
        if not 0 <= index < device.real_num_tx_queues:  # netdev_cap_txqueue
            log.warning("%s selects TX queue %d, but real number of TX queues is %d", device.name, index, device.real_num_tx_queues)
            index = 0
    skb.queue_mapping = index
    return device.tx[index]


def netdev_pick_tx(device: NetDevice, skb: SkBuff) -> int:
    """The queue of the sender's packets before, so that they cannot overtake one another; else this thread's (XPS); else by the flow."""
    count = device.real_num_tx_queues
    index: int | None = getattr(skb.sk, "tx_queue_mapping", None)
    if index is None or index >= count:
        index = get_xps_queue(device, skb)
        if index is None:
            index = skb_tx_hash(device, skb)
        if hasattr(skb.sk, "tx_queue_mapping"):
            skb.sk.tx_queue_mapping = index
    return index


def skb_tx_hash(device: NetDevice, skb: SkBuff) -> int:
    """A queue by the packet's flow; of a packet that is passed on, the one of the number it was received by."""
    count = device.real_num_tx_queues
    if skb.queue_mapping:  # skb_rx_queue_recorded: one more than the queue
        return (skb.queue_mapping - 1) % count
    return reciprocal_scale(skb_get_hash(skb), count)


def get_xps_queue(device: NetDevice, skb: SkBuff) -> int | None:
    """One of the queues of the thread that sends, in place of the kernel's CPU; None if it has none."""
    if not device.xps:
        return None
    queues = device.xps.get(threading.get_ident())
    if not queues:
        return None
    index = queues[0] if len(queues) == 1 else queues[reciprocal_scale(skb_get_hash(skb), len(queues))]
    return index if index < device.real_num_tx_queues else None


def netif_set_xps_queue(device: NetDevice, thread: int, queues: Sequence[int]) -> None:
    """Have what `thread` (threading.get_ident) sends leave by `queues`; none: by any. Raises OSError EINVAL for one there is not."""
    for index in queues:
        if not 0 <= index < device.num_tx_queues:
            raise OSError(errno.EINVAL, f"{device.name}: transmit queue {index} is none of its {device.num_tx_queues}")
    with device.stack.rtnl:
        if queues:
            device.xps[thread] = tuple(queues)
        else:
            device.xps.pop(thread, None)


def netif_set_real_num_tx_queues(device: NetDevice, count: int) -> None:
    """Use the first `count` of its queues. What waits in the others is dropped, and counted in tx_dropped. Raises OSError EINVAL."""
    if not 1 <= count <= device.num_tx_queues:
        raise OSError(errno.EINVAL, f"{device.name}: 1 to {device.num_tx_queues} transmit queues can be in use, not {count}")
    with device.stack.rtnl:
        before, device.real_num_tx_queues = device.real_num_tx_queues, count
        for queue in device.tx[count:before]:  # qdisc_reset_all_tx_gt
            count_tx_dropped(device, queue.reset())
        if count < before:  # netif_reset_xps_queues_gt
            left = {thread: tuple(index for index in queues if index < count) for thread, queues in device.xps.items()}
            device.xps = {thread: queues for thread, queues in left.items() if queues}
