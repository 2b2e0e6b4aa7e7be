"""A driver with interrupts, NAPI, DMA and a timer that keeps every rule, and its card; those that break one are made from it."""

from collections import deque
from contextlib import suppress

from e1000.bus import HostMemory
from fastring.irq import IrqLine
from softnet import NETDEV_TX_BUSY, NETDEV_TX_OK, DropReason, Feature, SkBuff, alloc_etherdev, dev_queue_xmit, eth_type_trans
from softnet.dma import DMA_TO_DEVICE, DmaDevice
from softnet.driver import free_irq, netif_napi_add, netif_napi_del, request_irq
from softnet.skbuff import MAX_SKB_FRAGS

MAC = bytes.fromhex("525400000001")
SECOND = 10**9
FRAME = MAC + bytes(6) + b"\x88\xb5" + bytes(86)


class Card:
    """It sends what it is given when it is told to `work`, and raises its line while a cause is pending and not masked."""

    def __init__(self):
        self.memory = HostMemory(size=1 << 20)
        self.irq = IrqLine()
        self.arrived, self.given, self.done, self.sent = deque(), deque(), deque(), []
        self.cause = self.unmasked = False
        self.in_time = 0  # frames that arrive just when interrupts are unmasked
        self.meanwhile = 0  # and while others are taken

    def _drive(self):
        (self.irq.raise_irq if self.cause and self.unmasked else self.irq.lower_irq)()

    def mask(self):
        self.unmasked = False
        self._drive()

    def unmask(self):
        self.unmasked = True
        if self.in_time:
            self.in_time -= 1
            self.receive()
        self._drive()

    def acknowledge(self):
        """Read, and so clear, what it has to say."""
        cause, self.cause = self.cause, False
        self._drive()
        return cause

    def take(self):
        """A frame that arrived; another may arrive meanwhile."""
        if self.meanwhile:
            self.meanwhile -= 1
            self.receive()
        return self.arrived.popleft()

    def receive(self, count=1):
        self.arrived += [FRAME] * count
        self.cause = True
        self._drive()

    def work(self):
        """Send all it has been given."""
        while self.given:
            with suppress(OSError):  # a master abort
                self.sent.append(self.memory.addresses.read(*self.given[0]))
            self.done.append(self.given.popleft())
        self.cause = True
        self._drive()


class NapiDriver:
    size, period = 64, SECOND
    features = Feature.NONE

    def __init__(self):
        self.card = Card()
        self.dma = DmaDevice(self.card.memory)
        self.ring = deque()
        self.timer = None

    # --- probe and remove ---

    def probe(self, stack):
        self.stack = stack
        self.device = device = alloc_etherdev(stack, self)
        device.netdev_ops, device.dev_addr, device.max_mtu = self, MAC, 9000
        device.features |= self.features
        device.txq.limit_min = 1 << 20
        device.carrier_off()
        self.napi = netif_napi_add(device, self.poll, weight=16)
        device.register()
        return device

    def remove(self):
        self.device.unregister()
        netif_napi_del(self.napi)
        self.device.free()

    # --- open and stop ---

    def open(self, device):
        self.descriptors, self.descriptors_at = self.dma.dma_alloc_coherent(16 * self.size)
        self.enable()
        self.card.unmask()
        self.arm()
        device.carrier_on()

    def stop(self, device):
        device.carrier_off()
        self.disable()
        self.cancel()
        self.abort()
        device.txq.tx_reset()
        self.free_ring()

    def enable(self):
        self.napi.enable()
        request_irq(self.stack, self.card.irq, self.interrupt)

    def disable(self):
        self.card.mask()
        self.napi.disable()
        free_irq(self.stack, self.card.irq)

    def abort(self):
        """Give up what is in flight."""
        self.card.given.clear()
        self.card.done.clear()
        while self.ring:
            self.unmap().kfree(DropReason.TX_ABORTED)

    def free_ring(self):
        self.dma.dma_free_coherent(16 * self.size, self.descriptors_at)

    # --- a timer ---

    def arm(self):
        self.timer = self.stack.clock.call_later(self.period, self.every_second)

    def cancel(self):
        self.timer.cancel()

    def every_second(self):
        self.arm()

    # --- transmitting ---

    def free(self):
        return self.size - len(self.ring)

    def start_xmit(self, skb, device):
        if not self.free():
            return NETDEV_TX_BUSY
        handle = self.dma.dma_map_single(skb.data, DMA_TO_DEVICE)
        device.txq.tx_sent(len(skb))
        self.ring.append((skb, handle))
        self.card.given.append((handle, len(skb)))
        device.txq.txq_maybe_stop(self.free, MAX_SKB_FRAGS + 1, 2 * MAX_SKB_FRAGS)
        return NETDEV_TX_OK

    def unmap(self):
        skb, handle = self.ring.popleft()
        self.dma.dma_unmap_single(handle, len(skb), DMA_TO_DEVICE)
        return skb

    def reclaim(self):
        packets = length = 0
        while self.card.done:
            self.card.done.popleft()
            skb = self.unmap()
            packets, length = packets + 1, length + len(skb)
            skb.consume()
        now = self.stack.clock.monotonic_ns()
        self.device.txq.txq_completed_wake(packets, length, self.free(), 2 * MAX_SKB_FRAGS, now=now)

    # --- interrupt and poll ---

    def interrupt(self):
        if self.card.acknowledge():
            self.card.mask()
            self.napi.napi_schedule()

    def receive(self, napi, budget):
        work = 0
        while work < budget and self.card.arrived:
            skb = SkBuff.from_bytes(self.card.take())
            skb.protocol = eth_type_trans(skb, self.device)
            napi.napi_gro_receive(skb)
            work += 1
        return work

    def poll(self, napi, budget):
        self.reclaim()
        work = self.receive(napi, budget)
        if work < budget and napi.napi_complete_done(work):
            self.card.unmask()
        return work

    # --- other operations ---

    def set_rx_mode(self, device):
        """Nothing to program."""

    def change_mtu(self, device, mtu):
        """Nothing to allocate."""

    def get_stats64(self, device, stats):
        stats.tx_packets += len(self.card.sent)


def send(device, count=1, size=100):
    for _ in range(count):
        dev_queue_xmit(SkBuff.from_bytes(bytes(size), dev=device))


def pass_time(stack, ns=3 * SECOND, steps=6):
    for _ in range(steps):
        stack.clock.advance(ns // steps)
        stack.run()
