"""Faults of a card's link, interrupts and DMA that our driver gets over."""

import pytest
from cards import TwoCards, packet
from mdio import SECOND, Mdio

from e1000 import regs
from e1000.device import Faults
from e1000.device.faults import NAMES
from fastring.burst import Burst

DELAY = 100_000  # ns: how late a write-back comes, unless told


class Beset(TwoCards):
    """Two cards with our driver; the faults are one's. A watchdog sets causes now and then, as Linux's does."""

    def __init__(self, undo, **cards):
        super().__init__(undo, timed=True, **cards)
        self.clock.advance(2 * SECOND)
        self.open()
        self.pass_time(2 * SECOND)

    def pass_time(self, ns=DELAY):
        for _ in range(10):
            self.clock.advance(ns // 10)
            self.stack.run()

    def watchdog(self):
        for card in self.cards:
            card.write(regs.ICS, regs.ICR_RXDMT0)
        self.stack.run()

    def exchange(self, count=1000, *, pace=DELAY // 5):
        """Send so many packets, one each `pace` ns, with patience."""
        sender = self.near.transmitter(burst_size=1)
        for i in range(count):
            while True:
                try:
                    sender.send(Burst.from_packets([packet(60 + i % 500, seed=i)]), patience=0)
                    break
                except TimeoutError:
                    self.pass_time(SECOND // 10)
                    self.watchdog()
            self.offered += 1
            self.pass_time(pace)
        for _ in range(30):
            self.pass_time(SECOND // 10)
            self.watchdog()


@pytest.mark.parametrize(
    "given",
    [
        {"lost_interrupt": 0.2},
        {"delayed_dma": 0.2},
        {"delayed_dma": 0.2, "early_interrupt": True},
        {"link_flap": 0.2, "flap_time": SECOND // 100},
        {"no_carrier": 0.2, "deferred": 0.2},
    ],
    ids=lambda given: "-".join(given),
)
@pytest.mark.parametrize("which", ["near", "far"])
def test_our_driver_gets_over_it_and_no_packet_is_lost_uncounted(undo, given, which):
    faults = Faults(seed=11, **given)
    cards = Beset(undo, faults=(faults, None) if which == "near" else (None, faults))
    cards.exchange(pace=SECOND // 50 if "link_flap" in given else DELAY // 5)
    if which == "near" or "no_carrier" not in given:
        assert sum(faults.counts.values()) > 0
    given_up = cards.near.stats64.tx_errors     # in flight when the link went: as Linux's, our driver then resets its card
    assert "link_flap" in given or given_up == 0
    if "link_flap" not in given or which == "near":
        assert len(cards.sink.packets) + given_up == cards.offered == 1000
    # And TwoCards.check at the end: what was offered was delivered or dropped by name.


def test_our_driver_gets_over_collisions(undo):
    faults = Faults(seed=11, single_collision=0.2, multiple_collisions=0.1, excessive_collisions=0.05, late_collision=0.05)
    cards = Beset(undo, faults=(faults, None))
    mdio = Mdio(cards.cards[0])
    mdio.write(4, 1 << 7)
    mdio.write(9, 0)
    mdio.write(0, 1 << 12 | 1 << 9)
    cards.pass_time(2 * SECOND)
    cards.exchange()
    counts = faults.counts
    assert min(counts[name] for name in NAMES[3:7]) > 0
    assert cards.drops == {"near_tx_collision": counts["excessive_collisions"]}     # it sets RTLC: late ones are sent again
