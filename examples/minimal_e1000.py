"""A minimal driver for the 82540EM (e1000), in Python, packet by packet. docs/writing-a-driver.md builds it step by step.

    fastring check examples/minimal_e1000.py:Driver
"""

import errno
from contextlib import ExitStack

from e1000 import regs
from softnet import NETDEV_TX_BUSY, NETDEV_TX_OK, DropReason, Feature, Stats64, alloc_etherdev, eth_type_trans
from softnet.dma import DMA_FROM_DEVICE, DMA_TO_DEVICE, DmaDevice
from softnet.driver import Work, free_irq, netdev_alloc_skb, netif_napi_add, netif_napi_del, request_irq, skb_room
from softnet.skbuff import MAX_SKB_FRAGS

PCI_COMMAND, PCI_COMMAND_MEMORY, PCI_COMMAND_MASTER = 4, 2, 4
EVERY_CAUSE = 0xFFFFFFFF
CAUSES = regs.ICR_TXDW | regs.ICR_LSC | regs.ICR_RXDMT0 | regs.ICR_RXO | regs.ICR_RXT0

RING = 128  # descriptors in each ring: a multiple of 8
RX_BUFFER = 2048

# The second word of a descriptor: length, then (3.3.3) command bits, then status; received (3.2.3): checksum, status, errors.
TXD_CMD_EOP, TXD_CMD_IFCS, TXD_CMD_RS = 1 << 24, 1 << 25, 1 << 27
DD = 1 << 32
RXD_STAT_EOP, RXD_ERRORS = 1 << 33, 0xFF << 40


class Driver:
    """One card: its net_device_ops, and what they need to know (netdev_priv)."""

    # --- step 1: probe ---

    @classmethod
    def probe(cls, bus, stack):
        """Find the card, reset it, read its address, make its net_device. Raises OSError, with nothing left behind."""
        bus.config_write(PCI_COMMAND, bus.config_read(PCI_COMMAND, 2) | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, 2)
        driver = cls(bus, stack)
        driver.reset()
        device = alloc_etherdev(stack, driver)
        driver.device = device
        device.netdev_ops = driver
        device.features |= Feature.SG
        device.dev_addr = bus.read(regs.RAL0).to_bytes(4, "little") + (bus.read(regs.RAH0) & 0xFFFF).to_bytes(2, "little")
        device.carrier_off()
        try:
            device.register()
        except BaseException:
            device.free()
            raise
        return device

    def __init__(self, bus, stack):
        self.bus = bus
        self.stack = stack
        self.dma = DmaDevice(bus.memory)
        self.stats = Stats64()
        self.reset_work = Work(stack, self.reset_task)

    def reset(self):
        """Global reset (13.4.1), interrupts masked before and after: from here on the card does nothing by itself."""
        self.bus.write(regs.IMC, EVERY_CAUSE)
        self.bus.write(regs.CTRL, self.bus.read(regs.CTRL) | regs.CTRL_RST)
        for _ in range(1000):
            if not self.bus.read(regs.CTRL) & regs.CTRL_RST:
                break
        else:
            raise OSError(errno.EIO, "the card does not come out of reset")
        self.bus.write(regs.IMC, EVERY_CAUSE)
        self.bus.read(regs.ICR)

    @staticmethod
    def remove(device):
        """Give the card back: unregistering stops it first, if it is up."""
        driver = device.priv
        device.unregister()
        driver.reset()
        device.free()

    # --- step 2: rings ---

    def open(self, device):
        """ndo_open: memory, interrupt, and then the card. Undone by stop, or at once if something fails."""
        with ExitStack() as undo:
            self.alloc_rings(undo)
            self.napi = netif_napi_add(device, self.poll)
            undo.callback(netif_napi_del, self.napi)
            request_irq(self.stack, self.bus.irq, self.interrupt)
            undo.callback(free_irq, self.stack, self.bus.irq)
            self.up()
            self.undo = undo.pop_all()

    def alloc_rings(self, undo):
        """Two descriptor rings that card and driver share, and a buffer for every receive descriptor but the last."""
        size = 16 * RING
        descriptors, self.tx_ring = self.dma.dma_alloc_coherent(size)
        undo.callback(self.dma.dma_free_coherent, size, self.tx_ring)
        self.tx_desc = descriptors.cast("Q")
        self.tx_buffers = [None] * RING
        descriptors, self.rx_ring = self.dma.dma_alloc_coherent(size)
        undo.callback(self.dma.dma_free_coherent, size, self.rx_ring)
        self.rx_desc = descriptors.cast("Q")
        self.rx_buffers = [None] * RING
        undo.callback(self.free_rx_buffers)
        for i in range(RING):
            self.rx_buffers[i] = self.alloc_rx_buffer()

    def alloc_rx_buffer(self):
        """A packet to receive into, and its bus address."""
        skb = netdev_alloc_skb(self.device, RX_BUFFER)
        return skb, self.dma.dma_map_single(skb_room(skb), DMA_FROM_DEVICE)

    def free_rx_buffers(self):
        for skb, handle in filter(None, self.rx_buffers):
            self.dma.dma_unmap_single(handle, RX_BUFFER, DMA_FROM_DEVICE)
            skb.consume()

    def up(self):
        """From reset to running; interrupts last."""
        self.reset()
        self.configure()
        self.napi.enable()
        self.check_link()
        self.bus.write(regs.IMS, CAUSES)

    def configure(self):
        """Tell a card fresh from reset where its rings are, and let both units run (14.4, 14.5)."""
        bus = self.bus
        bus.write(regs.CTRL, bus.read(regs.CTRL) | regs.CTRL_SLU | regs.CTRL_ASDE)
        self.tx_use = self.tx_clean = self.rx_next = 0
        for i, (_, handle) in enumerate(self.rx_buffers):
            self.rx_desc[2 * i], self.rx_desc[2 * i + 1] = handle, 0
        for registers, ring in (
            ((regs.TDBAL, regs.TDBAH, regs.TDLEN, regs.TDH, regs.TDT), self.tx_ring),
            ((regs.RDBAL, regs.RDBAH, regs.RDLEN, regs.RDH, regs.RDT), self.rx_ring),
        ):
            for register, value in zip(registers, (ring & 0xFFFFFFFF, ring >> 32, 16 * RING, 0, 0), strict=True):
                bus.write(register, value)
        bus.write(regs.TIPG, 10 | 8 << 10 | 6 << 20)
        address = self.device.dev_addr
        bus.write(regs.RAL0, int.from_bytes(address[:4], "little"))
        bus.write(regs.RAH0, int.from_bytes(address[4:], "little") | regs.RAH_AV)
        bus.write(regs.TCTL, regs.TCTL_EN | regs.TCTL_PSP | 15 << regs.TCTL_CT_SHIFT | 0x3F << regs.TCTL_COLD_SHIFT)
        bus.write(regs.RCTL, regs.RCTL_EN | regs.RCTL_BAM | regs.RCTL_SECRC)
        bus.write(regs.RDT, RING - 1)  # one is kept back: RDT equal to RDH would mean that there is none

    def down(self):
        """Stop card and poll; what was in flight is given up, and counted."""
        self.napi.disable()
        self.reset()
        while self.tx_clean != self.tx_use:
            skb = self.unmap_tx()
            if skb is not None:
                self.stats.tx_errors += 1
                self.stats.tx_aborted_errors += 1
                skb.kfree(DropReason.TX_ABORTED)
        self.device.txq.tx_reset()

    def stop(self, device):
        """ndo_stop: on return the card neither receives nor sends nor interrupts, and its memory is free."""
        self.reset_work.cancel()
        device.carrier_off()
        self.down()
        self.undo.close()

    # --- step 3: transmit ---

    def tx_free(self):
        """Free transmit descriptors; one is kept back, as above."""
        return RING - 1 - (self.tx_use - self.tx_clean)

    def start_xmit(self, skb, device):
        """ndo_start_xmit: one descriptor for each piece of the packet, then the doorbell."""
        txq = device.txq
        pieces = [piece for piece in (skb.data, *skb.frags) if len(piece)]
        if self.tx_free() < len(pieces):  # never: the queue was stopped in time
            return NETDEV_TX_BUSY
        mapped = self.map_pieces(pieces)
        if mapped:
            for handle, size in mapped:
                i = self.tx_use % RING
                last = handle == mapped[-1][0]
                self.tx_buffers[i] = handle, size, skb if last else None
                self.tx_desc[2 * i] = handle
                self.tx_desc[2 * i + 1] = size | TXD_CMD_IFCS | TXD_CMD_RS | (TXD_CMD_EOP if last else 0)
                self.tx_use += 1
            txq.tx_sent(len(skb))
            txq.txq_maybe_stop(self.tx_free, MAX_SKB_FRAGS + 1, 2 * MAX_SKB_FRAGS)
        else:
            self.stats.tx_dropped += 1
            skb.kfree(DropReason.NOMEM)
        if not skb.xmit_more or txq.xmit_stopped:
            self.bus.write(regs.TDT, self.tx_use % RING)
        return NETDEV_TX_OK

    def map_pieces(self, pieces):
        """Bus address and size of each; none at all if one cannot be mapped."""
        mapped = []
        try:
            for piece in pieces:
                mapped.append((self.dma.dma_map_single(piece, DMA_TO_DEVICE), len(piece)))
        except OSError:
            for handle, size in mapped:
                self.dma.dma_unmap_single(handle, size, DMA_TO_DEVICE)
            return []
        return mapped

    def clean_tx(self):
        """Give back what the card has sent, and wake the queue if there is room again."""
        packets = length = 0
        while self.tx_clean != self.tx_use and self.tx_desc[2 * (self.tx_clean % RING) + 1] & DD:
            skb = self.unmap_tx()
            if skb is not None:
                packets += 1
                length += len(skb)
                skb.consume()
        self.stats.tx_packets += packets
        self.stats.tx_bytes += length
        now = self.stack.clock.monotonic_ns()
        self.device.txq.txq_completed_wake(packets, length, self.tx_free(), 2 * MAX_SKB_FRAGS, now=now)

    def unmap_tx(self):
        """Take the oldest descriptor back; returns the packet, if it was its last."""
        handle, size, skb = self.tx_buffers[self.tx_clean % RING]
        self.tx_buffers[self.tx_clean % RING] = None
        self.dma.dma_unmap_single(handle, size, DMA_TO_DEVICE)
        self.tx_clean += 1
        return skb

    # --- step 4: interrupt ---

    def interrupt(self):
        """The handler: reading ICR acknowledges; everything is masked until poll has looked."""
        causes = self.bus.read(regs.ICR)
        if not causes:
            return
        if causes & regs.ICR_LSC:
            self.check_link()
        self.bus.write(regs.IMC, EVERY_CAUSE)
        self.napi.napi_schedule()

    def check_link(self):
        if self.bus.read(regs.STATUS) & regs.STATUS_LU:
            self.device.carrier_on()
        else:
            self.device.carrier_off()

    # --- step 5: NAPI ---

    def poll(self, napi, budget):
        """Take back what was sent, receive at most `budget` packets, and if that was all, unmask."""
        self.clean_tx()
        work = self.clean_rx(budget)
        if work < budget and napi.napi_complete_done(work):
            self.bus.write(regs.IMS, CAUSES)
        return work

    def clean_rx(self, budget):
        """Pass received packets up, each replaced by a new buffer; without one its own goes back to the card, and it is dropped."""
        work = 0
        while work < budget and (word := self.rx_desc[2 * (self.rx_next % RING) + 1]) & DD:
            i = self.rx_next % RING
            skb = self.take_rx(i, word)
            self.rx_desc[2 * i], self.rx_desc[2 * i + 1] = self.rx_buffers[i][1], 0
            self.rx_next += 1
            work += 1
            if skb is not None:
                skb.protocol = eth_type_trans(skb, self.device)
                self.napi.napi_gro_receive(skb)
        if work:
            self.bus.write(regs.RDT, (self.rx_next - 1) % RING)
        return work

    def take_rx(self, i, word):
        """The packet in buffer `i`, or None if it is to be dropped."""
        if not word & RXD_STAT_EOP or word & RXD_ERRORS:
            self.stats.rx_errors += 1
            return None
        try:
            new = self.alloc_rx_buffer()
        except OSError:
            self.stats.rx_dropped += 1
            return None
        (skb, handle), self.rx_buffers[i] = self.rx_buffers[i], new
        self.dma.dma_unmap_single(handle, RX_BUFFER, DMA_FROM_DEVICE)
        skb.put(word & 0xFFFF)
        self.stats.rx_packets += 1
        self.stats.rx_bytes += len(skb)
        return skb

    # --- step 6: timeout ---

    def tx_timeout(self, device, queue):
        """ndo_tx_timeout: nothing was sent for 5 s. Here nothing may sleep: a work does the rest."""
        self.reset_work.schedule()

    def reset_task(self):
        with self.stack.rtnl:
            if self.device.up:
                self.device.txq.stop()
                self.down()
                self.up()
                self.device.set_rx_mode()
                self.device.txq.wake()

    # --- step 7: what is left ---

    def set_rx_mode(self, device):
        """ndo_set_rx_mode: the card's own address passes anyhow; all groups for one, everything for a sniffer."""
        mode = self.bus.read(regs.RCTL) & ~(regs.RCTL_UPE | regs.RCTL_MPE)
        if device.promiscuous:
            mode |= regs.RCTL_UPE | regs.RCTL_MPE
        elif device.allmulti or device.mc:
            mode |= regs.RCTL_MPE
        self.bus.write(regs.RCTL, mode)

    def get_stats64(self, device, stats):
        """ndo_get_stats64."""
        for name, value in vars(self.stats).items():
            setattr(stats, name, getattr(stats, name) + value)
