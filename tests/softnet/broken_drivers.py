"""Drivers that each do one thing wrong, as people write them: docs/writing-a-driver.md's, changed."""

import os
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "examples"))

import minimal_e1000
from minimal_e1000 import EVERY_CAUSE, RING, Driver, regs

from softnet import Feature
from softnet.dma import DMA_TO_DEVICE
from softnet.skbuff import CHECKSUM_COMPLETE, CHECKSUM_UNNECESSARY
from softnet.validate_xmit import skb_checksum_help


class LeaksRings(Driver):
    def stop(self, device):
        self.undo.pop_all()  # and forgets it
        super().stop(device)


class KeepsMappings(Driver):
    def free_rx_buffers(self):
        pass


class UnmapsTwice(Driver):
    def unmap_tx(self):
        handle, size, _ = self.tx_buffers[self.tx_clean % RING]
        skb = super().unmap_tx()
        self.dma.dma_unmap_single(handle, size, DMA_TO_DEVICE)
        return skb


class CarrierStaysOn(Driver):
    def stop(self, device):
        device.carrier_off = lambda: None
        super().stop(device)
        del device.carrier_off


class LeaksInProbe(Driver):
    def __init__(self, bus, stack):
        super().__init__(bus, stack)
        self.dma.dma_alloc_coherent(64)


class KeepsTheDevice(Driver):
    @staticmethod
    def remove(device):
        pass


class WrongAddress(Driver):
    @classmethod
    def probe(cls, bus, stack):
        device = super().probe(bus, stack)
        device.dev_addr = bytes.fromhex("02000000beef")
        return device


class NoUnwinding(Driver):
    def open(self, device):
        try:
            super().open(device)
        except OSError:
            self.dma.dma_alloc_coherent(64)
            raise


class FailsSilently(Driver):
    """A failed mapping is no error, and its packet is forgotten."""

    def map_pieces(self, pieces):
        return [] if self.tx_use == 2 else super().map_pieces(pieces)

    def start_xmit(self, skb, device):
        free, skb.kfree = skb.kfree, lambda reason: None
        result = super().start_xmit(skb, device)
        skb.kfree = free
        return result


class TrustsMapping(Driver):
    """Of dma_map_single it expects no error."""

    def map_pieces(self, pieces):
        mapped = []
        for piece in pieces:
            mapped.append((self.dma.dma_map_single(piece, DMA_TO_DEVICE), len(piece)))
        return mapped


class DropsUncounted(Driver):
    """A packet that cannot be mapped is freed, and counted nowhere."""

    def start_xmit(self, skb, device):
        before = self.stats.tx_dropped
        result = super().start_xmit(skb, device)
        self.stats.tx_dropped = before
        return result


class LosesUncounted(Driver):
    """What is in flight when it stops is freed, and counted nowhere."""

    def down(self):
        before = self.stats.tx_errors
        super().down()
        self.stats.tx_errors = before


class KeepsInFlight(Driver):
    """What is in flight when it stops is forgotten."""

    def down(self):
        self.napi.disable()
        self.reset()
        for buffer in filter(None, self.tx_buffers):
            self.dma.dma_unmap_single(buffer[0], buffer[1], DMA_TO_DEVICE)


class _Queue:
    """A transmit queue without one of its helpers."""

    def __init__(self, txq, without):
        self._txq, self._without = txq, without

    def __getattr__(self, name):
        return (lambda *args, **kwargs: 1) if name == self._without else getattr(self._txq, name)


class NeverStops(Driver):
    def start_xmit(self, skb, device):
        class Device:
            txq = _Queue(device.txq, "txq_maybe_stop")

        return super().start_xmit(skb, Device)


class NeverCompletes(Driver):
    """Nothing of what was sent is told to BQL, and the queue is not woken."""

    def clean_tx(self):
        device, self.device = self.device, type("Device", (), {"txq": _Queue(self.device.txq, "txq_completed_wake")})
        super().clean_tx()
        self.device = device


class NeverWakes(NeverCompletes):
    def clean_tx(self):
        before = self.stats.tx_packets, self.stats.tx_bytes
        super().clean_tx()
        self.device.txq.tx_completed(self.stats.tx_packets - before[0], self.stats.tx_bytes - before[1])


class AsksForNoReport(Driver):
    """Without RS the card says of no descriptor that it is done."""

    def start_xmit(self, skb, device):
        minimal_e1000.TXD_CMD_RS = 0
        return super().start_xmit(skb, device)


class AppendsNoCrc(Driver):
    def start_xmit(self, skb, device):
        minimal_e1000.TXD_CMD_IFCS = 0
        return super().start_xmit(skb, device)


class GivesTheWholeRing(Driver):
    def clean_rx(self, budget):
        work = super().clean_rx(budget)
        self.bus.write(regs.RDT, self.rx_next % RING)
        return work


class SmallBuffers(Driver):
    """Half of what RCTL says."""

    def open(self, device):
        minimal_e1000.RX_BUFFER = 1024
        super().open(device)


class NoBusMaster(Driver):
    @classmethod
    def probe(cls, bus, stack):
        minimal_e1000.PCI_COMMAND_MASTER = 0
        return super().probe(bus, stack)


class NoPciEnable(Driver):
    @classmethod
    def probe(cls, bus, stack):
        minimal_e1000.PCI_COMMAND_MASTER = minimal_e1000.PCI_COMMAND_MEMORY = 0
        return super().probe(bus, stack)


class IgnoresTheBudget(Driver):
    def clean_rx(self, budget):
        return super().clean_rx(RING)


class NeverMasks(Driver):
    def interrupt(self):
        if self.bus.read(regs.ICR):
            self.check_link()
            self.napi.napi_schedule()


class SendsTheFirstPiece(Driver):
    def map_pieces(self, pieces):
        return super().map_pieces(pieces[:1])


class ClaimsOffloads(Driver):
    """And does none of them."""

    offloads = Feature.HW_CSUM

    @classmethod
    def probe(cls, bus, stack):
        device = super().probe(bus, stack)
        device.features |= cls.offloads
        return device


class ClaimsSegmentation(ClaimsOffloads):
    offloads = Feature.HW_CSUM | Feature.TSO

    def start_xmit(self, skb, device):
        if skb.ip_summed and not skb.gso_size:
            skb_checksum_help(skb)
        return super().start_xmit(skb, device)


class VouchesForAll(Driver):
    """CHECKSUM_UNNECESSARY, whatever the descriptor says."""

    def take_rx(self, i, word):
        skb = super().take_rx(i, word)
        if skb is not None:
            skb.ip_summed = CHECKSUM_UNNECESSARY
        return skb


class WrongSum(Driver):
    def take_rx(self, i, word):
        skb = super().take_rx(i, word)
        if skb is not None:
            skb.ip_summed, skb.csum = CHECKSUM_COMPLETE, 0x1234
        return skb


class LosesTheTag(Driver):
    """Takes a tag out, and says nothing of it."""

    def take_rx(self, i, word):
        skb = super().take_rx(i, word)
        if skb is not None and bytes(skb.data[12:14]) == b"\x81\x00":
            skb.data[4:16] = bytes(skb.data[:12])
            skb.pull(4)
        return skb


class NeverSchedules(Driver):
    def interrupt(self):
        self.check_link()
        self.bus.write(regs.IMC, EVERY_CAUSE | self.bus.read(regs.ICR))


class NeverUnmasks(Driver):
    def poll(self, napi, budget):
        self.clean_tx()
        work = self.clean_rx(budget)
        if work < budget:
            napi.napi_complete_done(work)
        return work


class WakesAlways(Driver):
    def poll(self, napi, budget):
        work = super().poll(napi, budget)
        self.device.txq.wake()
        return work


class IgnoresTheLink(Driver):
    def check_link(self):
        self.device.carrier_on()


class TimeoutDoesNothing(Driver):
    def tx_timeout(self, device, queue):
        pass


class ForgetsRxMode(Driver):
    """In the reset after a timeout."""

    def reset_task(self):
        self.device.set_rx_mode = lambda: None
        super().reset_task()
        del self.device.set_rx_mode


class NoTimeout(Driver):
    tx_timeout = None

    def __getattribute__(self, name):
        if name == "tx_timeout":
            raise AttributeError(name)
        return super().__getattribute__(name)


class ShortBuffers(Driver):
    """Room for no VLAN tag: 1514 bytes are 1500 and a header."""

    def take_rx(self, i, word):
        skb = super().take_rx(i, word)
        if skb is not None:
            skb.trim(1514)
        return skb


class IgnoresRxMode(Driver):
    def set_rx_mode(self, device):
        pass


class AlwaysPromiscuous(Driver):
    def set_rx_mode(self, device):
        self.bus.write(regs.RCTL, self.bus.read(regs.RCTL) | regs.RCTL_UPE | regs.RCTL_MPE)


class NeverQuiet(Driver):
    """After stop the card goes on receiving."""

    def stop(self, device):
        ring, buffers = self.rx_ring, self.rx_buffers
        super().stop(device)
        bus = self.bus
        bus.write(regs.CTRL, bus.read(regs.CTRL) | regs.CTRL_SLU)
        for register, value in ((regs.RDBAL, ring), (regs.RDLEN, 16 * RING), (regs.RDT, RING - 1)):
            bus.write(register, value)
        bus.write(regs.RCTL, regs.RCTL_EN | regs.RCTL_BAM)
        assert buffers


class Raises(Driver):
    def start_xmit(self, skb, device):
        if self.tx_use == 5:
            raise ValueError("the sixth\x1b[31m packet")
        return super().start_xmit(skb, device)


class Exits(Driver):
    def poll(self, napi, budget):
        sys.exit("a driver that has enough")


class EndsTheProcess(Driver):
    def open(self, device):
        os._exit(7)


class Crashes(Driver):
    def open(self, device):
        os.abort()


class Hangs(Driver):
    def open(self, device):
        os.write(2, b"hangs\n")
        while True:
            pass


class Forks(Driver):
    """A process that outlives its own, and holds all that it had open; FORKED names a file for its number."""

    def open(self, device):
        if (pid := os.fork()) == 0:
            time.sleep(1000)
            os._exit(0)
        Path(os.environ["FORKED"]).write_text(str(pid))
        if "FORKED_EXIT" in os.environ:
            os._exit(7)
        super().open(device)


class HangsLate(Driver):
    def start_xmit(self, skb, device):
        if self.stats.tx_packets > 100:
            while True:
                pass
        return super().start_xmit(skb, device)


class PollsForEver(Driver):
    def poll(self, napi, budget):
        return budget


class Prints(Driver):
    def open(self, device):
        print("hello")
        super().open(device)


class CompletesWhatIsFull(Driver):
    def poll(self, napi, budget):
        super().poll(napi, budget)
        return budget


class NeverCompleted(Driver):
    def poll(self, napi, budget):
        self.clean_tx()
        return self.clean_rx(budget)


class NeverFreed(Driver):
    @staticmethod
    def remove(device):
        device.unregister()
        device.priv.reset()


class TailFirst(Driver):
    def start_xmit(self, skb, device):
        self.bus.write(regs.TDT, (self.tx_use + 1) % RING)
        return super().start_xmit(skb, device)


class UnmasksEarly(Driver):
    def poll(self, napi, budget):
        self.bus.write(regs.IMS, regs.ICR_RXT0)
        return super().poll(napi, budget)


class WakesFromAThread(Driver):
    def clean_tx(self):
        thread = threading.Thread(target=super().clean_tx)
        thread.start()
        thread.join()


class OpenReturnsAnError(Driver):
    def open(self, device):
        return -12


class OpenReturnsItself(Driver):
    def open(self, device):
        super().open(device)
        return self


class XmitReturnsNothing(Driver):
    def start_xmit(self, skb, device):
        super().start_xmit(skb, device)


class XmitReturnsANumber(Driver):
    def start_xmit(self, skb, device):
        super().start_xmit(skb, device)
        return 99


class XmitIsAsync(Driver):
    async def start_xmit(self, skb, device):
        return super().start_xmit(skb, device)


class _Without(Driver):
    lacks = ""

    def __getattribute__(self, name):
        if name == type(self).lacks:
            raise AttributeError(name)
        return super().__getattribute__(name)


class HasNoOpen(_Without):
    lacks = "open"


class HasNoStop(_Without):
    lacks = "stop"


class HasNoXmit(_Without):
    lacks = "start_xmit"


class PollReturnsNothing(Driver):
    def poll(self, napi, budget):
        super().poll(napi, budget)


class NoDevice(Driver):
    @classmethod
    def probe(cls, bus, stack):
        return None


class Object:
    """With plain methods, as a struct pci_driver."""

    def probe(self, bus, stack):
        return Driver.probe(bus, stack)

    def remove(self, device):
        Driver.remove(device)


def bare(bus, stack):
    """A function alone; its module has no remove."""
    return Driver.probe(bus, stack)


def told(bus, stack, **options):
    raise OSError(str(options))


number = 7
