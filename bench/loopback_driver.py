"""A driver in Python, packet by packet, to measure the stack by: what it is given to send it receives, through NAPI.

As small as a driver can be that keeps the rules: a ring of packets, stop and wake, byte limits, completion and receive in the poll.
"""

from collections import deque

from fastring.napi import Napi
from softnet import NETDEV_TX_BUSY, NETDEV_TX_OK, NetDevice, SkBuff, eth_type_trans, netif_receive_skb

RING, STOP, START = 256, 18, 34


class LoopbackNapi(Napi):
    """Completes what was sent, and receives it."""

    def __init__(self, driver: "LoopbackDriver") -> None:
        super().__init__()
        self.driver = driver

    def on_poll(self, budget: int) -> int:
        ring, device = self.driver.ring, self.driver.device
        work = length = 0
        while work < budget and ring:
            skb = ring.popleft()
            data = bytes(skb)
            length += len(data)
            skb.consume()
            received = SkBuff.from_bytes(data)
            received.protocol = eth_type_trans(received, device)
            netif_receive_skb(received)
            work += 1
        if work:
            device.txq.txq_completed_wake(work, length, RING - len(ring), START)
        if work < budget:
            self.napi_complete_done(work)
        return work


class LoopbackDriver:
    """net_device_ops. What leaves `device` arrives at it."""

    device: NetDevice

    def __init__(self) -> None:
        self.ring: deque[SkBuff] = deque()
        self.napi = LoopbackNapi(self)

    def open(self, device: NetDevice) -> None:
        self.device = device
        if not device.napi_list:
            device.napi_add(self.napi)
        self.napi.enable()

    def stop(self, device: NetDevice) -> None:
        self.napi.disable()
        while self.ring:
            self.ring.popleft().kfree()
        device.txq.tx_reset()

    def start_xmit(self, skb: SkBuff, device: NetDevice) -> int:
        txq, ring = device.txq, self.ring
        if RING - len(ring) < STOP:
            return NETDEV_TX_BUSY
        ring.append(skb)
        txq.tx_sent(len(skb))
        txq.txq_maybe_stop(self.free, STOP, START)
        if not skb.xmit_more or txq.xmit_stopped:
            self.napi.napi_schedule()
        return NETDEV_TX_OK

    def free(self) -> int:
        return RING - len(self.ring)
