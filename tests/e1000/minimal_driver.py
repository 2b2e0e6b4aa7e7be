"""A driver of the card in Python that keeps every rule, and those that break one: for e1000.checks."""

import struct

from cards import DD, EOP, IFCS, RS

from e1000 import regs
from softnet import NETDEV_TX_BUSY, NETDEV_TX_OK, DropReason, SkBuff, alloc_etherdev, eth_type_trans
from softnet.dma import DMA_FROM_DEVICE, DMA_TO_DEVICE, DmaDevice
from softnet.driver import free_irq, netif_napi_add, netif_napi_del, request_irq
from softnet.skbuff import MAX_SKB_FRAGS

COUNT, SIZE = 64, 2048
CAUSES = regs.ICR_TXDW | regs.ICR_RXT0
DESC = struct.Struct("<QQ")


class MinimalDriver:
    def __init__(self, bus, stack):
        self.bus, self.stack = bus, stack
        self.dma = DmaDevice(bus.memory)
        self.device = device = alloc_etherdev(stack, self)
        device.netdev_ops, device.dev_addr = self, bytes.fromhex("525400123456")
        device.carrier_off()
        self.napi = netif_napi_add(device, self.poll, weight=8)
        device.register()

    def remove(self):
        self.device.unregister()
        netif_napi_del(self.napi)
        self.device.free()

    # --- open and stop ---

    def open(self, device):
        write = self.bus.write
        self.use = self.clean = self.next = 0
        self.sent = {}
        self.tx, self.tx_at = self.dma.dma_alloc_coherent(COUNT * 16)
        self.rx, self.rx_at = self.dma.dma_alloc_coherent(COUNT * 16)
        self.buffers = [bytearray(SIZE) for _ in range(COUNT)]
        self.handles = [self.dma.dma_map_single(buffer, DMA_FROM_DEVICE) for buffer in self.buffers]
        for low, length, at in ((regs.TDBAL, regs.TDLEN, self.tx_at), (regs.RDBAL, regs.RDLEN, self.rx_at)):
            write(low, at)
            write(low + 4, 0)
            write(length, COUNT * 16)
        for head in (regs.TDH, regs.TDT, regs.RDH, regs.RDT):
            write(head, 0)
        self.napi.enable()
        request_irq(self.stack, self.bus.irq, self.interrupt)
        write(regs.TCTL, regs.TCTL_EN | regs.TCTL_PSP)
        write(regs.RCTL, regs.RCTL_EN | regs.RCTL_UPE | regs.RCTL_SECRC)
        self.give(range(COUNT - 1))
        write(regs.IMS, CAUSES)
        device.carrier_on()

    def stop(self, device):
        device.carrier_off()
        self.quiet()
        self.napi.disable()
        free_irq(self.stack, self.bus.irq)
        for index in list(self.sent):
            self.unmap(index).kfree(DropReason.TX_ABORTED)
        device.txq.tx_reset()
        for handle in self.handles:
            self.dma.dma_unmap_single(handle, SIZE, DMA_FROM_DEVICE)
        for at in (self.tx_at, self.rx_at):
            self.dma.dma_free_coherent(COUNT * 16, at)

    def quiet(self):
        self.bus.write(regs.IMC, 0xFFFFFFFF)
        self.bus.write(regs.RCTL, 0)
        self.bus.write(regs.TCTL, 0)

    # --- transmitting ---

    def free(self):
        return (self.clean - self.use - 1) % COUNT

    def start_xmit(self, skb, device):
        if not self.free():
            return NETDEV_TX_BUSY
        handle = self.dma.dma_map_single(skb.data, DMA_TO_DEVICE)
        self.sent[self.use] = skb, handle
        device.txq.tx_sent(len(skb))
        index, self.use = self.use, (self.use + 1) % COUNT
        self.publish(index, handle, len(skb))
        device.txq.txq_maybe_stop(self.free, MAX_SKB_FRAGS + 1, 2 * MAX_SKB_FRAGS)
        return NETDEV_TX_OK

    def describe(self, index, address, word):
        DESC.pack_into(self.tx, 16 * index, address, word)

    def publish(self, index, handle, length):
        self.describe(index, handle, length | EOP | IFCS | RS)
        self.bus.write(regs.TDT, self.use)

    def unmap(self, index):
        skb, handle = self.sent.pop(index)
        self.dma.dma_unmap_single(handle, len(skb), DMA_TO_DEVICE)
        return skb

    def reclaim(self):
        packets = length = 0
        while self.clean != self.use and DESC.unpack_from(self.tx, 16 * self.clean)[1] >> 32 & DD:
            skb = self.unmap(self.clean)
            self.clean = (self.clean + 1) % COUNT
            packets, length = packets + 1, length + len(skb)
            skb.consume()
        now = self.stack.clock.monotonic_ns()
        self.device.txq.txq_completed_wake(packets, length, self.free(), 2 * MAX_SKB_FRAGS, now=now)

    # --- receiving ---

    def give(self, indexes):
        """Descriptors to the card, with their buffers."""
        for index in indexes:
            DESC.pack_into(self.rx, 16 * index, self.handles[index], 0)
        self.bus.write(regs.RDT, (indexes[-1] + 1) % COUNT)

    def interrupt(self):
        if self.bus.read(regs.ICR):
            self.bus.write(regs.IMC, 0xFFFFFFFF)
            self.napi.napi_schedule()

    def receive(self, napi, budget):
        work = []
        while len(work) < budget and (word := DESC.unpack_from(self.rx, 16 * self.next)[1]) >> 32 & DD:
            skb = SkBuff.from_bytes(self.buffers[self.next][: word & 0xFFFF])
            skb.protocol = eth_type_trans(skb, self.device)
            napi.napi_gro_receive(skb)
            work.append((self.next - 1) % COUNT)  # one stays the driver's
            self.next = (self.next + 1) % COUNT
        if work:
            self.give(work)
        return len(work)

    def poll(self, napi, budget):
        self.reclaim()
        work = self.receive(napi, budget)
        if work < budget:
            self.complete(napi, work)
        return work

    def complete(self, napi, work):
        if napi.napi_complete_done(work):
            self.bus.write(regs.IMS, CAUSES)


class TailBeforeDescriptor(MinimalDriver):
    def publish(self, index, handle, length):
        self.bus.write(regs.TDT, self.use)
        self.describe(index, handle, length | EOP | IFCS | RS)


class CommandAfterTail(MinimalDriver):
    """The report is asked for too late."""

    def publish(self, index, handle, length):
        self.describe(index, handle, length | EOP | IFCS)
        self.bus.write(regs.TDT, self.use)
        self.describe(index, handle, length | EOP | IFCS | RS | DD << 32)


class TailBeforeBuffers(MinimalDriver):
    def give(self, indexes):
        for index in indexes:
            DESC.pack_into(self.rx, 16 * index, 0, 0)
        self.bus.write(regs.RDT, (indexes[-1] + 1) % COUNT)
        super().give(indexes)


class LeavesReceiverOn(MinimalDriver):
    def quiet(self):
        self.bus.write(regs.IMC, 0xFFFFFFFF)
        self.bus.write(regs.TCTL, 0)


class LeavesInterruptsUnmasked(MinimalDriver):
    def quiet(self):
        self.bus.write(regs.RCTL, 0)
        self.bus.write(regs.TCTL, 0)


class UnmasksBeforeItCompletes(MinimalDriver):
    def complete(self, napi, work):
        self.bus.write(regs.IMS, CAUSES)
        napi.napi_complete_done(work)
