"""Drivers that break rule 17, each in one way, made from NapiDriver; and two that do with DMA what they may."""

import errno

from napi_driver import NapiDriver

from softnet.dma import DMA_BIDIRECTIONAL, DMA_FROM_DEVICE, DMA_TO_DEVICE, DmaDevice


class UnmapsTwice(NapiDriver):
    def unmap(self):
        handle = self.ring[0][1]
        skb = super().unmap()
        self.dma.dma_unmap_single(handle, len(skb), DMA_TO_DEVICE)
        return skb


class UnmapsTooLittle(NapiDriver):
    def unmap(self):
        skb, handle = self.ring.popleft()
        self.dma.dma_unmap_single(handle, 60, DMA_TO_DEVICE)
        return skb


class UnmapsTheOtherWay(NapiDriver):
    def unmap(self):
        skb, handle = self.ring.popleft()
        self.dma.dma_unmap_single(handle, len(skb), DMA_BIDIRECTIONAL)
        return skb


class NeverUnmaps(NapiDriver):
    def unmap(self):
        return self.ring.popleft()[0]


class NeverFreesItsRing(NapiDriver):
    def free_ring(self):
        pass


class WritesToWhatItGave(NapiDriver):
    def start_xmit(self, skb, device):
        result = super().start_xmit(skb, device)
        skb.data[20] ^= 1
        return result


class LetsTheCardReadWhatItUnmapped(NapiDriver):
    def start_xmit(self, skb, device):
        result = super().start_xmit(skb, device)
        self.dma.dma_unmap_single(self.ring[-1][1], len(skb), DMA_TO_DEVICE)
        return result

    def unmap(self):
        return self.ring.popleft()[0]


class SyncsPastTheEnd(NapiDriver):
    def unmap(self):
        skb, handle = self.ring[0]
        self.dma.dma_sync_single_for_cpu(handle, len(skb) + 1, DMA_TO_DEVICE)
        return super().unmap()


class LeaksWhenItCannotOpen(NapiDriver):
    """The second time there is no memory."""

    opened = 0

    def open(self, device):
        self.opened += 1
        if self.opened == 2:
            self.dma.dma_map_single(bytearray(64), DMA_FROM_DEVICE)
            raise OSError(errno.ENOMEM, "no memory")
        super().open(device)


class ReceivesByBounce(NapiDriver):
    """It keeps every rule, with a buffer that the card writes by way of swiotlb."""

    def __init__(self):
        super().__init__()
        self.dma = DmaDevice(self.card.memory, swiotlb=True)

    def open(self, device):
        self.buffer = bytearray(64)
        self.buffer_at = self.dma.dma_map_single(self.buffer, DMA_FROM_DEVICE)
        self.card.memory.addresses.write(self.buffer_at, b"received")
        super().open(device)

    def free_ring(self):
        super().free_ring()
        self.dma.dma_unmap_single(self.buffer_at, 64, DMA_FROM_DEVICE)
        assert self.buffer.startswith(b"received")


class WritesToWhatTheCardReceives(ReceivesByBounce):
    def every_second(self):
        super().every_second()
        self.buffer[0] = 1


class SyncsBeforeItWrites(NapiDriver):
    """It keeps every rule."""

    def unmap(self):
        skb, handle = self.ring[0]
        self.dma.dma_sync_single_for_cpu(handle, len(skb), DMA_TO_DEVICE)
        skb.data[20] ^= 1
        self.dma.dma_sync_single_for_device(handle, len(skb), DMA_TO_DEVICE)
        return super().unmap()
