"""Faults of what a card sends (§13.7.5 to 13.7.12): each statistic, the descriptor's status, and who gets the packet."""

import pytest
from cards import EOP, IFCS, RS, TSE, TUCMD_IP, TUCMD_TCP, BareCard, context, data, legacy, packet
from mdio import ADVERTISE, BMCR, CTRL1000, NEGOTIATE, RESTART, Mdio

from e1000 import regs
from e1000.device import Faults
from e1000.device.faults import NAMES
from fastring.wire import pair

EC, LC = 2, 4
COLLISIONS = ("SCC", "MCC", "ECOL", "LATECOL", "COLC", "DC", "TNCRS")
HALF_100 = 1 << 7
CT = 15 << regs.TCTL_CT_SHIFT


class Medium(BareCard):
    """A card with faults; in `half` duplex its link is 100 Mbit/s."""

    def __init__(self, undo, *, half=True, tctl=CT, wire=None, **faults):
        self.faults = Faults(**faults)
        super().__init__(undo, wire=wire, faults=self.faults)
        if half:
            mdio = Mdio(self.device)
            mdio.write(ADVERTISE, HALF_100)
            mdio.write(CTRL1000, 0)
            mdio.write(BMCR, NEGOTIATE | RESTART)
        assert bool(self.read(regs.STATUS) & regs.STATUS_FD) != half
        self.tx_ring(256, tctl=regs.TCTL_EN | regs.TCTL_PSP | tctl)

    def status(self, slot):
        return self.addresses.read(self.tx_base + 16 * slot + 12, 1)[0]

    def happened(self):
        return {name: n for name, n in self.faults.counts.items() if n}


def packets(n, length=200):
    return [packet(length, seed=i) for i in range(n)]


@pytest.mark.parametrize(
    ("fault", "half", "counted"),
    [
        ("single_collision", True, {"SCC": 20, "COLC": 20}),
        ("excessive_collisions", True, {"ECOL": 20, "COLC": 320}),
        ("late_collision", True, {"LATECOL": 20}),
        ("deferred", True, {"DC": 20}),
        ("deferred", False, {"DC": 20}),
        ("no_carrier", False, {"TNCRS": 20}),
    ],
)
def test_each_fault_counts_where_the_manual_counts_it_and_the_count_clears(undo, fault, half, counted):
    card = Medium(undo, half=half, **{fault: 1})
    slots = card.post_packets(*packets(20))
    assert {n: v for n, v in zip(COLLISIONS, card.counts(*COLLISIONS), strict=True) if v} == counted
    assert card.counts(*COLLISIONS) == (0,) * 7
    lost = fault in ("excessive_collisions", "late_collision")
    assert card.happened() == {fault: 20}
    assert len(card.wire.sent) == (0 if lost else 20)
    assert card.drops == ({"tx_collision": 20} if lost else {})
    assert card.counts("GPTC", "TPT") == ((0, 0) if lost else (20, 20))
    status = 1 | (EC if fault == "excessive_collisions" else LC if lost else 0)
    assert [card.status(slot) for slot in slots] == [status] * 20


def test_multiple_collisions_are_two_to_fifteen_and_all_of_them_happen(undo):
    card = Medium(undo, seed=1, multiple_collisions=1)
    seen = set()
    for p in packets(200):
        card.post_packets(p)
        seen.add(card.read(regs.COLC))
    assert seen == set(range(2, 16))
    assert card.counts("MCC", "SCC", "ECOL") == (200, 0, 0)
    assert len(card.wire.sent) == 200


@pytest.mark.parametrize(("half", "fault"), [(False, f) for f in NAMES[3:7]] + [(True, "no_carrier")])
def test_what_the_duplex_does_not_know_does_not_happen(undo, half, fault):
    card = Medium(undo, half=half, **{fault: 1})
    card.post_packets(*packets(5))
    assert (card.happened(), card.counts(*COLLISIONS), len(card.wire.sent)) == ({}, (0,) * 7, 5)


def test_the_collision_threshold_decides_what_is_too_many(undo):
    card = Medium(undo, tctl=2 << regs.TCTL_CT_SHIFT, multiple_collisions=1)
    card.post_packets(*packets(50))
    multiple, given_up = card.read(regs.MCC), card.drops["tx_collision"]
    assert multiple + given_up == 50
    assert card.faults.counts["excessive_collisions"] == given_up > multiple
    assert card.counts("ECOL", "COLC") == (0, 3 * given_up + 2 * multiple)  # fewer than 16 are no ECOL (§13.7.7)


def test_a_late_collision_is_retransmitted_if_rtlc_says_so(undo):
    card = Medium(undo, tctl=CT | regs.TCTL_RTLC, late_collision=1)
    (slot,) = card.post_packets(packet(200))
    assert (card.wire.sent, card.status(slot), card.drops) == ([packet(200)], 1 | LC, {})
    assert card.counts("LATECOL", "GPTC") == (1, 1)


def test_a_frame_within_the_slot_time_has_no_late_collision(undo):
    card = Medium(undo, late_collision=1)
    card.post_packets(packet(60), packet(61))
    assert (card.wire.sent, card.read(regs.LATECOL)) == ([packet(60)], 1)


def test_status_is_in_the_packets_last_descriptor(undo):
    card = Medium(undo, excessive_collisions=1)
    first = data(card.alloc(packet(100)), 100, cmd=IFCS | RS)
    last = data(card.alloc(b"x" * 50), 50, cmd=EOP | IFCS | RS)
    assert [card.status(slot) for slot in card.post(first, last)] == [1, 1 | EC]


def test_a_packet_of_more_descriptors_than_a_batch_has_it_too(undo):
    card = Medium(undo, excessive_collisions=1)
    slots = card.post(*(legacy(card.alloc(b"x" * 10), 10, cmd=IFCS | RS | (EOP if i == 99 else 0)) for i in range(100)))
    assert [card.status(slot) for slot in slots] == [1] * 99 + [1 | EC]
    assert card.drops == {"tx_collision": 1}


def test_segments_are_befallen_one_by_one(undo):
    card = Medium(undo, seed=5, excessive_collisions=0.3)
    header = packet(54)
    ring = [
        context(cmd=TSE | TUCMD_IP | TUCMD_TCP | RS, payload=2000, ip=(14, 24, 33), transport=(34, 50, 0), header=54, mss=100),
        data(card.alloc(header + b"x" * 2000), 2054, cmd=TSE | EOP | IFCS | RS),
    ]
    slots = card.post(*ring)
    lost = card.faults.counts["excessive_collisions"]
    assert 0 < lost < 20
    assert len(card.wire.sent) == 20 - lost
    assert (card.drops, card.status(slots[1])) == ({"tx_collision": lost}, 1 | EC)
    assert card.counts("ECOL", "GPTC", "TSCTC") == (lost, 20 - lost, 1)
    card.post_packets(packet(60), cmd=EOP | IFCS)


ALL = dict.fromkeys(NAMES[3:], 0.2)


def run(undo, **faults):
    card = Medium(undo, **faults)
    card.post_packets(*packets(200))
    return card.wire.sent, card.faults.counts, card.counts(*COLLISIONS), card


def test_the_same_seed_makes_the_same_faults_and_statistics_add_up(undo):
    sent, counts, statistics, card = run(undo, seed=9, **ALL)
    assert (sent, counts, statistics) == run(undo, seed=9, **ALL)[:3]
    assert sent != run(undo, seed=10, **ALL)[0]
    stat = dict(zip(COLLISIONS, statistics, strict=True))
    assert [stat[n] for n in ("SCC", "MCC", "ECOL", "LATECOL", "DC")] == [counts[n] for n in NAMES[3:8]]
    assert len(sent) + counts["excessive_collisions"] + counts["late_collision"] == 200 == len(sent) + card.drops["tx_collision"]
    assert stat["COLC"] >= stat["SCC"] + 2 * stat["MCC"] + 16 * stat["ECOL"]


def test_a_rate_does_not_disturb_another(undo):
    alone = run(undo, seed=4, excessive_collisions=0.3)
    together = run(undo, seed=4, excessive_collisions=0.3, deferred=0.5, single_collision=0.5)
    assert alone[0] == together[0]
    assert alone[1]["excessive_collisions"] == together[1]["excessive_collisions"]


def test_a_packet_that_the_wire_refused_comes_again_with_the_same_faults(undo):
    near, far = pair()
    card = Medium(undo, wire=near, seed=3, single_collision=0.5, excessive_collisions=0.2)
    other = BareCard(undo, wire=far, memory=card.memory)
    other.rx_ring(256, give=3, rctl=regs.RCTL_SECRC | regs.RCTL_UPE)
    card.post_packets(*packets(100))
    assert len(other.take()) == 3
    for _ in range(20):
        other.give(10)
    want = run(undo, seed=3, single_collision=0.5, excessive_collisions=0.2)
    again = Medium(undo, seed=3, single_collision=0.5, excessive_collisions=0.2)
    again.post_packets(*packets(100))
    assert other.take() == again.wire.sent[3:] == want[0][3 : len(again.wire.sent)]
    assert card.faults.counts == again.faults.counts


def test_loopback_knows_no_collisions(undo):
    card = Medium(undo, **ALL)
    card.rx_ring(64, rctl=regs.RCTL_SECRC | regs.RCTL_UPE | regs.RCTL_LBM_MAC)
    card.post_packets(*packets(20))
    assert (len(card.take()), card.happened()) == (20, {})
