"""Drivers with one thing wrong each. Every class says which rule it breaks, and how."""

import time

from model_driver import MAC, SECOND, ModelDriver

from softnet import NETDEV_TX_BUSY, NETDEV_TX_OK, DropReason, Feature, SkBuff


class RefusesForNothing(ModelDriver):
    """Rule 1: every third packet is refused, as if there were no memory to map it."""

    calls = 0

    def start_xmit(self, skb, device):
        self.calls += 1
        return NETDEV_TX_BUSY if self.calls % 3 == 0 else super().start_xmit(skb, device)


class NeverStops(ModelDriver):
    """Rule 1: it leaves it to BUSY to say that the ring is full."""

    def maybe_stop(self, device):
        pass


class StopsWithoutRoomForPieces(ModelDriver):
    """Rule 2: it stops when the ring is full, and takes packets of many pieces."""

    stop_below = 1


class StopsWhenRefusing(ModelDriver):
    """Rule 2: it stops in the call that finds the ring full, which is one too late."""

    def maybe_stop(self, device):
        pass

    def busy(self, skb, device):
        device.txq.stop()
        return NETDEV_TX_BUSY


class WakesForOneSlot(ModelDriver):
    """Rule 3: any completion wakes it."""

    at_once, start_at = 1, 1

    def maybe_stop(self, device):
        device.txq.txq_maybe_stop(self.free, self.stop_below, 34)


class WakesBlindly(ModelDriver):
    """Rule 3: the same, with a bare netif_wake_queue."""

    at_once = 1

    def completed(self, packets, length):
        self.device.txq.tx_completed(packets, length)
        self.device.txq.wake()


class WakesBlindlyAndTellsNothing(ModelDriver):
    """Rule 3: and nobody can ask it how much room there is."""

    at_once = 1

    def maybe_stop(self, device):
        if self.free() < self.stop_below:
            device.txq.stop()

    def completed(self, packets, length):
        self.device.txq.tx_completed(packets, length)
        self.device.txq.wake()


class StopsFromItsInterrupt(ModelDriver):
    """Rule 3: the helper of ndo_start_xmit is called where nobody goes on to run the queue."""

    def completed(self, packets, length):
        super().completed(packets, length)
        self.device.txq.txq_maybe_stop(self.free, self.stop_below, self.start_at)


class StartsInsteadOfWaking(ModelDriver):
    """Rule 3: netif_tx_start_queue in the completion."""

    def completed(self, packets, length):
        self.device.txq.tx_completed(packets, length)
        if self.free() >= self.start_at:
            self.device.txq.start()


class WakesInStop(ModelDriver):
    """Rule 3: the queue is awake when ndo_stop has returned."""

    def stop(self, device):
        super().stop(device)
        device.txq.wake()


class TellsBeforeItPublishes(ModelDriver):
    """Rule 4: netif_txq_maybe_stop looks at a ring that the packet is not in yet."""

    def start_xmit(self, skb, device):
        pieces = 1 + len(skb.frags)
        if self.free() < pieces:
            return NETDEV_TX_BUSY
        self.sent(skb, device)
        self.maybe_stop(device)
        self.put(skb, pieces)
        self.doorbell()
        return NETDEV_TX_OK


class WakesBeforeItPublishes(ModelDriver):
    """Rule 4: netif_txq_completed_wake is told of a ring that the packets are still in."""

    def reclaim(self):
        done = [self.ring.popleft() for _ in range(min(self.at_once, len(self.ring)))]
        self.completed(len(done), sum(len(skb) for skb, _ in done))
        for skb, pieces in done:
            self.consumer += pieces
            skb.consume()


class KeepsWhatItRefuses(ModelDriver):
    """Rule 5: it means to send it later by itself."""

    def busy(self, skb, device):
        self.later = skb
        return NETDEV_TX_BUSY


class FreesWhatItRefuses(ModelDriver):
    """Rule 5: it drops it, and says that it did not."""

    def busy(self, skb, device):
        skb.kfree(DropReason.FULL_RING)
        return NETDEV_TX_BUSY


class PutsInTheRingWhatItRefuses(ModelDriver):
    """Rule 5: the first piece is in the ring when it finds that there is no room for the others."""

    def busy(self, skb, device):
        self.producer += 1
        return NETDEV_TX_BUSY


class ReclaimsInTheNextXmit(ModelDriver):
    """Rule 6: without another packet the last ones stay in the ring for ever."""

    def doorbell(self):
        pass

    def start_xmit(self, skb, device):
        self.reclaim()
        return super().start_xmit(skb, device)


class ForgetsToFree(ModelDriver):
    """Rule 6: what is done is out of the ring, and not freed."""

    def reclaim(self):
        done = [self.ring.popleft() for _ in range(min(self.at_once, len(self.ring)))]
        self.consumer += sum(pieces for _, pieces in done)
        self.completed(len(done), sum(len(skb) for skb, _ in done))


class WritesToAClone(ModelDriver):
    """Rule 7: the header is changed where it is."""

    def prepare(self, skb):
        skb.data[12:14] = b"\x81\x00"


class PadsAClone(ModelDriver):
    """Rule 7: bytes behind the tail belong to the clones as well."""

    def prepare(self, skb):
        if skb.tailroom >= 4:
            memoryview(skb.head)[skb.tail_offset : skb.tail_offset + 4] = b"\xee" * 4


class WritesToAPiece(ModelDriver):
    """Rule 7: pieces are shared even after skb_cow_head."""

    def prepare(self, skb):
        skb.cow_head()
        if skb.frags:
            skb.frags[0][0] ^= 0xFF


class ResegmentsAClone(ModelDriver):
    """Rule 7: so are the segmentation fields."""

    features = ModelDriver.features | Feature.TSO

    def prepare(self, skb):
        skb.shared.gso_segs += 1


class LltxModel(ModelDriver):
    """Keeps the rules: without the queue's lock it counts by itself."""

    features = ModelDriver.features | Feature.LLTX

    def sent(self, skb, device):
        super().sent(skb, device)
        device.txq.trans_update(device.stack.clock.monotonic_ns())


class LltxForgetsTransStart(ModelDriver):
    """Rule 8: nobody moves trans_start."""

    features = ModelDriver.features | Feature.LLTX


class MulticastAddress(ModelDriver):
    """Rule 9: the address of a group."""

    address = b"\x01" + MAC[1:]


class NoAddress(ModelDriver):
    """Rule 9: an EEPROM that nobody wrote."""

    address = bytes(6)


class ReceivesAnything(ModelDriver):
    """Rule 13: whatever comes is passed up."""

    def longest(self):
        return 1 << 14


class DropsWhatFits(ModelDriver):
    """Rule 13: the tag is not thought of when it looks whether a packet is too long."""

    def receive(self, frame):
        if len(frame) > self.device.mtu + 14:
            SkBuff.from_bytes(frame, dev=self.device).kfree(DropReason.PKT_TOO_BIG)
        else:
            super().receive(frame)


class RefusesTags(ModelDriver):
    """Rule 13: buffers for the MTU and its header alone."""

    def longest(self):
        return self.device.mtu + 14


class CompletesPadding(ModelDriver):
    """Rule 16: it counts what went over the wire, with a CRC, and had counted what it was given."""

    def completed(self, packets, length):
        super().completed(packets, length + 4 * packets)


class CompletesPayload(ModelDriver):
    """Rule 16: what it counts as completed has no Ethernet header, and is short of it for good."""

    def completed(self, packets, length):
        super().completed(packets, length - 14 * packets)


class DoesNotResetBql(ModelDriver):
    """Rule 16: the ring is emptied, and the count of what is in it is not."""

    def empty_ring(self):
        while self.ring:
            skb, _ = self.ring.popleft()
            skb.kfree(DropReason.TX_ABORTED)
        self.consumer = self.producer


class CarrierOnInProbe(ModelDriver):
    """Rule 19: there is a carrier before anybody has looked for one."""

    def probe(self, device):
        device.carrier_off()
        device.carrier_on()


class LeavesCarrierOn(ModelDriver):
    """Rule 19: ndo_stop leaves the carrier as it was."""

    def stop(self, device):
        on = device.carrier_off
        device.carrier_off = lambda: None
        super().stop(device)
        device.carrier_off = on


class SleepsInTimeout(ModelDriver):
    """Rule 19: it waits for the card in an atomic context."""

    def tx_timeout(self, device, queue):
        time.sleep(0.001)
        super().tx_timeout(device, queue)


class LocksInTimeout(ModelDriver):
    """Rule 19: rtnl is a mutex."""

    def tx_timeout(self, device, queue):
        with device.stack.rtnl:
            super().tx_timeout(device, queue)


class TimeoutDoesNothing(ModelDriver):
    """Rule 19: it notes the timeout, and the queue stays as it is."""

    def tx_timeout(self, device, queue):
        self.noted = True


class ResetForgetsToWake(ModelDriver):
    """Rule 19: the card works again, and nobody sends to it."""

    def reset(self):
        self.hung = False
        self.empty_ring()


class TimeoutFails(ModelDriver):
    """Rule 19: its tx_timeout raises."""

    def tx_timeout(self, device, queue):
        raise RuntimeError("no register answers")


class NoTimeout(ModelDriver):
    """Rule 19: nobody is told when it hangs."""

    tx_timeout = None


HUNG_FOR = 25 * SECOND
