"""On a virtual clock a run is a function of its input: a hang, a flapping link and moderated traffic twice, compared byte for byte."""

import hashlib
import io
import random

import pytest
from cards import TwoCards, packet
from mdio import BMCR, POWER_DOWN, Mdio

from e1000 import regs
from e1000.device import Faults
from e1000.trace import Trace
from fastring.burst import Burst

FAR = bytes.fromhex("520000000002")
SECOND = 1_000_000_000


def scenario(undo, *, rx_usecs, seed):
    """Returns the whole trace of both cards, and all that was counted."""
    faults = Faults(seed=seed, link_flap=0.2, lost_interrupt=0.02, delayed_dma=0.05)
    small = {"near": {"tx_descriptors": 80}, "far": {"rx_descriptors": 80}}
    two = TwoCards(undo, timed=True, rx_usecs=rx_usecs, faults=(None, faults), **small).open()
    rng = random.Random(seed)
    file = io.StringIO()
    with Trace(two.cards, file):
        for step in range(40):
            count, length = rng.choice([(1, 60), (3, 200), (40, 1500), (20, 64)])
            if two.near.carrier_ok and not two.near.txq.xmit_stopped:
                burst = Burst.from_packets([packet(length, to=FAR, seed=rng.randrange(1 << 16)) for _ in range(count)])
                two.offered += two.near.netdev_ops.tx.xmit(burst)
            if step == 12:          # the transmitter stands still, until the watchdogs find out
                two.cards[0].write(regs.TCTL, two.cards[0].read(regs.TCTL) & ~regs.TCTL_EN)
            if step in (25, 28):    # the link goes, and comes
                phy = Mdio(two.cards[0])
                phy.write(BMCR, phy.read(BMCR) ^ POWER_DOWN)
            two.clock.advance(rng.choice([20_000, 100_000, SECOND // 2, SECOND]))
            two.stack.run()
        for device in (two.near, two.far):
            device.stop()
    counted = [
        (
            device.stats64,
            device.carrier_changes,
            adapter.hw_stats.total,
            adapter.tx_timeout_count,
            adapter.watchdog.tx_hangs,
            (adapter.napi.interrupts, adapter.napi.link_events, adapter.napi.itr, adapter.napi.polls, adapter.napi.packets),
            device.txq.stops,
            device.txq.wakes,
        )
        for device, adapter in ((d, d.netdev_ops) for d in (two.near, two.far))
    ]
    return file.getvalue(), repr((counted, faults.counts, two.sink.times, two.clock.monotonic_ns())), two


@pytest.mark.parametrize("rx_usecs", [0, 1, 3, 4, 125])
def test_the_same_run_twice_is_the_same_to_the_byte(undo, rx_usecs):
    first, counted, two = scenario(undo, rx_usecs=rx_usecs, seed=1)
    again, counted_again, _ = scenario(undo, rx_usecs=rx_usecs, seed=1)
    assert hashlib.sha256(first.encode()).digest() == hashlib.sha256(again.encode()).digest()
    assert counted == counted_again
    adapter = two.near.netdev_ops
    assert adapter.watchdog.tx_hangs >= 1, "the scenario has all that it is about"
    assert adapter.tx_timeout_count >= 1
    assert two.near.carrier_down_count >= 2
    assert len(two.sink.packets) > 100
    assert first.count('"timer"') > 20


def test_another_seed_is_another_run(undo):
    assert scenario(undo, rx_usecs=3, seed=1)[0] != scenario(undo, rx_usecs=3, seed=2)[0]
