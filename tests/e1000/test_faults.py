"""Faults on the cable: what a card counts of them, and that a seed says which packets they befall."""

import pytest
from cards import STATION, BareCard, RecordingWire, packet

from e1000 import regs
from e1000.device import E1000Device
from fastring.burst import Burst
from fastring.faults import NAMES, FaultyWire
from fastring.wire import pair


class Faulty(BareCard):
    def __init__(self, undo, **faults):
        self.cable = RecordingWire()
        super().__init__(undo, wire=FaultyWire(self.cable, **faults))
        self.rx_ring(256)

    def arrive(self, *packets):
        self.cable.inject(Burst.from_packets(packets))


@pytest.mark.parametrize(
    ("fault", "counter"),
    [
        ("bad_crc", "CRCERRS"),
        ("alignment", "ALGNERRC"),
        ("symbol_error", "SYMERRS"),
        ("rx_error", "RXERRC"),
        ("sequence_error", "SEC"),
        ("carrier_error", "CEXTERR"),
        ("runt", "RUC"),
        ("fragment", "RFC"),
        ("oversize", "ROC"),
        ("jabber", "RJC"),
    ],
)
def test_each_fault_counts_where_the_manual_counts_it(undo, fault, counter):
    card = Faulty(undo, **{fault: 1})
    card.arrive(*(packet(100, seed=i) for i in range(10)))
    assert card.counts(counter, "GPRC", "TPR") == (10, 0, 10)
    assert card.take() == []
    assert card.wire.counts == {name: 10 * (name == fault) for name in NAMES}


def test_a_lost_packet_reaches_no_card(undo):
    card = Faulty(undo, lost=1)
    card.arrive(packet(100), packet(200))
    assert card.counts("TPR") == (0,)
    assert card.wire.counts["lost"] == 2


def test_a_bad_checksum_is_one_flipped_bit_behind_the_header(undo):
    card = Faulty(undo, bad_checksum=1)
    sent = [packet(100, seed=i) for i in range(50)]
    card.arrive(*sent)
    for before, after in zip(sent, card.take(), strict=True):
        assert before[:14] == after[:14]
        assert bin(int.from_bytes(before) ^ int.from_bytes(after)).count("1") == 1


def test_a_seed_says_what_happens_and_rates_do_not_disturb_each_other(undo):
    def run(**faults):
        card = Faulty(undo, **faults)
        for _ in range(4):
            card.arrive(*(packet(60 + i, seed=i) for i in range(50)))
        return card.take(), card.wire.counts

    some = run(seed=7, bad_crc=0.2, bad_checksum=0.1)
    assert some == run(seed=7, bad_crc=0.2, bad_checksum=0.1)
    assert some[0] != run(seed=8, bad_crc=0.2, bad_checksum=0.1)[0]
    assert 20 < some[1]["bad_crc"] < 60
    assert run(seed=7, bad_crc=0.2)[1]["bad_crc"] == some[1]["bad_crc"]
    assert len(some[0]) == 200 - some[1]["bad_crc"]


def test_what_a_card_refused_comes_again_with_the_same_fault(undo):
    near, far = pair()
    sender = BareCard(undo, wire=near)
    card = BareCard(undo, wire=FaultyWire(far, seed=3, bad_checksum=0.5), memory=sender.memory)
    card.rx_ring(32, give=3)
    sender.tx_ring()
    sender.post_packets(*(packet(100, to=STATION, seed=i) for i in range(20)))
    assert len(card.take()) == 3
    card.give(28)
    assert len(card.take()) == 17
    again = Faulty(undo, seed=3, bad_checksum=0.5)
    again.arrive(*(packet(100, seed=i) for i in range(20)))
    assert again.wire.counts == card.wire.counts


def test_what_is_no_fault_or_no_rate_is_refused():
    with pytest.raises(TypeError, match="no fault 'gremlins'; there are bad_crc"):
        FaultyWire(RecordingWire(), gremlins=1)
    for rate in (2, "x", None):
        with pytest.raises(ValueError, match=f"runt: a rate is 0 to 1, not {rate!r}"):
            FaultyWire(RecordingWire(), runt=rate)
    wire = RecordingWire()
    FaultyWire(wire)
    with pytest.raises(OSError, match="attached already"):
        FaultyWire(wire)


def test_what_the_card_sends_passes(undo):
    card = Faulty(undo, lost=1, bad_crc=1)
    card.tx_ring()
    card.post_packets(packet(100))
    assert card.cable.sent == [packet(100)]
    assert card.read(regs.GPTC) == 1


def test_a_subclass_that_leaves_out_the_wire_is_one_that_takes_nothing():
    class Forgetful(FaultyWire):
        def __init__(self):
            pass

    wire = Forgetful()
    card = E1000Device(wire=wire)
    assert card.wire is wire
    wire.capabilities()
    card.close()
    wire.close()
