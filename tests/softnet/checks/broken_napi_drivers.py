"""Drivers with one thing wrong each, made from NapiDriver; by the rule they break."""

import threading
import time
from contextlib import suppress
from time import sleep as nap

from napi_driver import FRAME, NapiDriver

from softnet import Feature, SkBuff, netif_receive_skb
from softnet.driver import free_irq, netif_napi_del

# --- rule 10: something happens after ndo_stop ---


class KeepsPacketsInFlight(NapiDriver):
    kept = ()

    def abort(self):
        self.card.given.clear()
        self.card.done.clear()
        self.kept = [*self.kept, *(self.unmap() for _ in range(len(self.ring)))]


class LeavesNapiEnabled(NapiDriver):
    def enable(self):
        if not self.napi.disabled:
            self.napi.disable()
        super().enable()

    def disable(self):
        self.card.mask()
        free_irq(self.stack, self.card.irq)

    def remove(self):
        self.device.unregister()
        self.napi.disable()
        netif_napi_del(self.napi)
        self.device.free()


class LeavesTimerArmed(NapiDriver):
    def cancel(self):
        pass


class LeavesInterruptsOn(NapiDriver):
    def enable(self):
        self.napi.enable()
        if not self.card.irq.requested:
            self.napi.disable()
            super().enable()

    def disable(self):
        self.napi.disable()


class DeliversAfterStop(NapiDriver):
    def remove(self):
        self.device.stop()
        skb = SkBuff.from_bytes(FRAME, dev=self.device)
        netif_receive_skb(skb)
        super().remove()


# --- rule 11: taken away while it is up ---


class DeletesNapiWhileUp(NapiDriver):
    def disable(self):
        if not self.napi.disabled:
            super().disable()

    def remove(self):
        self.disable()
        netif_napi_del(self.napi)
        self.device.unregister()
        self.device.free()


class SaysItIsDown(NapiDriver):
    """So that unregister_netdev does not call ndo_stop, which it did itself."""

    def remove(self):
        self.stop(self.device)
        self.device.up = False
        super().remove()


# --- rule 12: lifetime ---


class NeverFrees(NapiDriver):
    def remove(self):
        self.device.unregister()
        netif_napi_del(self.napi)


class FreesTwice(NapiDriver):
    def remove(self):
        super().remove()
        with suppress(RuntimeError):
            self.device.free()


class FreesWhileRegistered(NapiDriver):
    def remove(self):
        with suppress(OSError):
            self.device.free()
        super().remove()


class GivesItsReferenceBackEarly(NapiDriver):
    def remove(self):
        self.device.stop()
        self.device.put()
        netif_napi_del(self.napi)


class UsesPrivAfterFree(NapiDriver):
    def remove(self):
        super().remove()
        with suppress(RuntimeError):
            self.device.priv.card.mask()


class DeliversAfterFree(NapiDriver):
    def remove(self):
        super().remove()
        netif_receive_skb(SkBuff.from_bytes(FRAME, dev=self.device))


class HoldsForEver(NapiDriver):
    def open(self, device):
        device.hold()
        super().open(device)


# --- rule 14: locks and contexts ---


class SleepsInXmit(NapiDriver):
    def start_xmit(self, skb, device):
        time.sleep(0)
        return super().start_xmit(skb, device)


class SleepsInStatistics(NapiDriver):
    def get_stats64(self, device, stats):
        time.sleep(0)


class SleepsInPoll(NapiDriver):
    def poll(self, napi, budget):
        nap(0)
        return super().poll(napi, budget)


class WaitsInInterrupt(NapiDriver):
    def interrupt(self):
        threading.Event().wait(0)
        super().interrupt()


class JoinsInRxMode(NapiDriver):
    def set_rx_mode(self, device):
        thread = threading.Thread(target=self.card.acknowledge)
        thread.start()
        thread.join()


class TakesRtnlInPoll(NapiDriver):
    def poll(self, napi, budget):
        with self.stack.rtnl:
            return super().poll(napi, budget)


class DisablesNapiInRxMode(NapiDriver):
    def set_rx_mode(self, device):
        self.napi.disable()
        self.napi.enable()


class RestartsWithoutRtnl(NapiDriver):
    def every_second(self):
        self.device.netdev_ops.stop(self.device)
        self.device.netdev_ops.open(self.device)


class FiltersWithoutItsLock(NapiDriver):
    def every_second(self):
        super().every_second()
        self.device.netdev_ops.set_rx_mode(self.device)


class SendsWithoutTheTransmitLock(NapiDriver):
    def every_second(self):
        super().every_second()
        self.device.start_xmit(SkBuff.from_bytes(FRAME, dev=self.device), self.device)
        self.device.txq.trans_update(self.stack.clock.monotonic_ns())
        self.card.work()


class KeepsTheTransmitLock(NapiDriver):
    def change_mtu(self, device, mtu):
        device.tx[0].lock()


class ReleasesTheAddressLock(NapiDriver):
    def set_rx_mode(self, device):
        device.addr_lock.__exit__()
        device.addr_lock = type(device.addr_lock)(device.name)


class UpdatesFeaturesWithoutRtnl(NapiDriver):
    def every_second(self):
        super().every_second()
        self.device.update_features()


class OpensUnderTheTransmitLock(NapiDriver):
    def tx_timeout(self, device, queue):
        """Not called here."""

    def every_second(self):
        super().every_second()
        device = self.device
        with device.stack.rtnl:
            device.tx[0].lock()
            device.netdev_ops.change_mtu(device, device.mtu)
            device.tx[0].unlock()


class LltxDriver(NapiDriver):
    """It keeps every rule: nobody holds the transmit lock for it, and it counts its own transmissions."""

    features = Feature.LLTX

    def start_xmit(self, skb, device):
        device.txq.trans_update(self.stack.clock.monotonic_ns())
        return super().start_xmit(skb, device)


# --- rule 15: NAPI ---


class OverrunsItsBudget(NapiDriver):
    def receive(self, napi, budget):
        return super().receive(napi, budget + 1)


class CompletesAtFullBudget(NapiDriver):
    def poll(self, napi, budget):
        self.reclaim()
        work = self.receive(napi, budget)
        if napi.napi_complete_done(work):
            self.card.unmask()
        return work


class CompletesTwice(NapiDriver):
    def poll(self, napi, budget):
        work = super().poll(napi, budget)
        if work < budget:
            napi.napi_complete_done(work)
        return work


class NeverCompletes(NapiDriver):
    """It leaves that to a timer."""

    def poll(self, napi, budget):
        self.reclaim()
        return self.receive(napi, budget)

    def every_second(self):
        if self.napi.napi_complete_done(0):
            self.card.unmask()
        self.arm()


class UnmasksTooEarly(NapiDriver):
    def poll(self, napi, budget):
        self.reclaim()
        work = self.receive(napi, budget)
        if work < budget:
            self.card.unmask()
            napi.napi_complete_done(work)
        return work


class UnmasksAtFullBudget(NapiDriver):
    def poll(self, napi, budget):
        work = super().poll(napi, budget)
        if work == budget:
            self.card.unmask()
        return work


class NeverMasks(NapiDriver):
    def interrupt(self):
        if self.card.acknowledge():
            self.napi.napi_schedule()


class PollsWhileDisabled(NapiDriver):
    def disable(self):
        super().disable()
        self.poll(self.napi, 16)
        self.card.mask()


class ReceivesWithoutBudget(NapiDriver):
    def receive(self, napi, budget):
        return super().receive(napi, max(budget, 1))


class HidesWhatItReceivesWithoutBudget(NapiDriver):
    def receive(self, napi, budget):
        return min(super().receive(napi, max(budget, 1)), budget)
