"""A driver that keeps every rule, on a card made of a clock; those that break one are made from it, with one thing changed."""

from collections import deque

from softnet import (
    NETDEV_TX_BUSY,
    NETDEV_TX_OK,
    DropReason,
    Feature,
    NetDevice,
    SkBuff,
    dev_queue_xmit,
    eth_type_trans,
    netif_receive_skb,
)
from softnet.ethernet import ETH_HLEN, VLAN_HLEN
from softnet.skbuff import MAX_SKB_FRAGS

MAC = bytes.fromhex("525400000001")
SECOND = 10**9
MILLISECOND = 10**6


class ModelDriver:
    """A ring of slots, one for each piece of a packet, which the card completes a millisecond later, `at_once` packets at a time."""

    size = 64
    at_once = 100
    stop_below, start_at = MAX_SKB_FRAGS + 1, 2 * MAX_SKB_FRAGS
    address = MAC
    features = Feature.SG | Feature.HW_CSUM

    def __init__(self):
        self.ring = deque()
        self.producer = self.consumer = 0  # free-running
        self.hung = False
        self.interrupt = self.reset_task = None
        self.received = []

    def probe(self, device):
        """What the driver does between alloc_etherdev and register_netdev."""
        device.carrier_off()

    # --- open and stop ---

    def open(self, device):
        self.device = device
        device.txq.tx_reset()
        device.carrier_on()

    def stop(self, device):
        device.carrier_off()
        for timer in (self.interrupt, self.reset_task):
            if timer is not None:
                timer.cancel()
        self.empty_ring()

    def empty_ring(self):
        while self.ring:
            skb, _ = self.ring.popleft()
            skb.kfree(DropReason.TX_ABORTED)
        self.consumer = self.producer
        self.device.txq.tx_reset()

    # --- transmitting ---

    def free(self):
        return self.size - (self.producer - self.consumer)

    def start_xmit(self, skb, device):
        pieces = 1 + len(skb.frags)
        if self.free() < pieces:
            return self.busy(skb, device)
        self.prepare(skb)
        self.sent(skb, device)
        self.put(skb, pieces)
        self.maybe_stop(device)
        self.doorbell()
        return NETDEV_TX_OK

    def busy(self, skb, device):
        return NETDEV_TX_BUSY

    def prepare(self, skb):
        """What hardware wants to find in the packet: a field of its header set to zero."""
        skb.cow_head()
        skb.data[12:14] = bytes(2)

    def sent(self, skb, device):
        device.txq.tx_sent(len(skb))

    def put(self, skb, pieces):
        self.ring.append((skb, pieces))
        self.producer += pieces

    def maybe_stop(self, device):
        device.txq.txq_maybe_stop(self.free, self.stop_below, self.start_at)

    def doorbell(self):
        if self.interrupt is None or not self.interrupt.armed:
            self.interrupt = self.device.stack.clock.call_later(MILLISECOND, self.on_interrupt)

    # --- its completion ---

    def on_interrupt(self):
        if self.hung or not self.device.carrier_ok:
            return
        self.reclaim()
        if self.ring:
            self.doorbell()

    def reclaim(self):
        done = [self.ring.popleft() for _ in range(min(self.at_once, len(self.ring)))]
        length = sum(len(skb) for skb, _ in done)
        for skb, pieces in done:
            self.consumer += pieces
            skb.consume()
        self.completed(len(done), length)

    def completed(self, packets, length):
        self.device.txq.txq_completed_wake(packets, length, self.free(), self.start_at, now=self.device.stack.clock.monotonic_ns())

    # --- a card that hangs ---

    def tx_timeout(self, device, queue):
        self.reset_task = device.stack.clock.call_later(0, self.reset)

    def reset(self):
        self.hung = False
        self.empty_ring()
        self.device.txq.wake()

    # --- its link ---

    def link(self, up):
        """The cable is pulled, or plugged in: without it the card completes nothing."""
        if up and not self.device.carrier_ok:
            self.device.carrier_on()
            self.doorbell()
        elif not up and self.device.carrier_ok:
            self.device.carrier_off()

    # --- receiving ---

    def longest(self):
        return self.device.mtu + ETH_HLEN + VLAN_HLEN

    def receive(self, frame):
        """A frame comes from the wire."""
        if len(frame) <= self.longest():
            self.received.append(frame)
            skb = SkBuff.from_bytes(frame)
            skb.protocol = eth_type_trans(skb, self.device)
            netif_receive_skb(skb)


def probe(stack, driver, **options):
    """A device of it, registered."""
    device = NetDevice(stack, driver, dev_addr=driver.address, max_mtu=9000, **options)
    device.features |= driver.features
    device.txq.limit_min = 1 << 20  # the ring is to be full before the byte limit
    driver.probe(device)
    device.register()
    return device


def send(device, count=1, size=100, pieces=0, **fields):
    """Queue packets of so many bytes, with as many pieces behind the first."""
    for _ in range(count):
        skb = SkBuff.from_bytes(bytes(size - pieces), dev=device)
        for _ in range(pieces):
            skb.add_frag(b"p")
        for name, value in fields.items():
            setattr(skb, name, value)
        dev_queue_xmit(skb)


def pass_time(stack, ns, steps=10):
    """Let time go by, with the stack run in between."""
    for _ in range(steps):
        stack.clock.advance(ns // steps)
        stack.run()
