"""Drivers in Python, packet by packet, for tests of the stack: no card below, a ring of packets that a test completes."""

from collections import deque

from softnet import NETDEV_TX_BUSY, NETDEV_TX_OK, DropReason, NetDevice

MAC = bytes.fromhex("525400000001")
STOP, START = 1, 4


class RingDriver:
    """A driver with a ring of `size` packets. `complete(n)` is its completion interrupt; `sent` is what went over its wire.

    `unrung`: packets in the ring that the doorbell has not told of.
    """

    stop_below, start_at = STOP, START

    def __init__(self, size=8):
        self.size = size
        self.ring = deque()
        self.sent = []
        self.doorbells = self.unrung = 0
        self.calls = []
        self.device = None

    def open(self, device):
        self.calls.append("open")
        self.device = device

    def stop(self, device):
        self.calls.append("stop")
        while self.ring:
            self.ring.popleft().kfree(DropReason.TX_ABORTED)
        for queue in device.tx:
            queue.txq.tx_reset()

    def free(self):
        return self.size - len(self.ring)

    def start_xmit(self, skb, device):
        txq = device.tx[skb.queue_mapping].txq
        if self.free() < self.stop_below:
            self.ring_doorbell()
            return NETDEV_TX_BUSY
        txq.tx_sent(len(skb))  # before a completion on another thread can find it
        self.ring.append(skb)
        self.unrung += 1
        txq.txq_maybe_stop(self.free, self.stop_below, self.start_at)
        if not skb.xmit_more or txq.xmit_stopped:
            self.ring_doorbell()
        return NETDEV_TX_OK

    def ring_doorbell(self):
        self.doorbells += self.unrung > 0
        self.unrung = 0

    def complete(self, count=None):
        """Complete that many packets, or all."""
        done = [self.ring.popleft() for _ in range(len(self.ring) if count is None else min(count, len(self.ring)))]
        self.sent += [bytes(skb) for skb in done]
        length = sum(map(len, done))
        for skb in done:
            skb.consume()
        self.device.txq.txq_completed_wake(len(done), length, self.free(), self.start_at, now=self.device.stack.clock.monotonic_ns())


def make_device(stack, driver, **options):
    """A NetDevice over a driver, registered and open."""
    device = NetDevice(stack, driver, dev_addr=MAC, **options)
    device.register()
    device.open()
    return device
