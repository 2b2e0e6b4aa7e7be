"""Bad frames (§3.2.1, §3.2.3.2, §13.7): dropped and counted, or stored with their errors (RCTL.SBP)."""

import zlib

import pytest
from cards import CE, CXE, DD, IXSM, RX_EOP, RXE, SE, SEQ, BareCard, packet
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from e1000 import regs
from fastring.burst import (
    FRAME_ALIGNMENT,
    FRAME_BAD_CRC,
    FRAME_CARRIER,
    FRAME_ERRORS,
    FRAME_RX_ERROR,
    FRAME_SEQUENCE,
    FRAME_SYMBOL,
    Burst,
)

BASE = regs.RCTL_SECRC
COUNTERS = ("CRCERRS", "ALGNERRC", "SYMERRS", "RXERRC", "SEC", "CEXTERR", "RLEC", "RUC", "RFC", "ROC", "RJC")
ERRORS = {                                              # flag: its counter and its bit in the descriptor
    FRAME_BAD_CRC: ("CRCERRS", CE),
    FRAME_ALIGNMENT: ("ALGNERRC", CE),
    FRAME_SYMBOL: ("SYMERRS", SE),
    FRAME_RX_ERROR: ("RXERRC", RXE),
    FRAME_SEQUENCE: ("SEC", SEQ),
    FRAME_CARRIER: ("CEXTERR", CXE),
}
OTHER = b"\x52" * 6


def counted(card):
    return {name: n for name, n in zip(COUNTERS, card.counts(*COUNTERS), strict=True) if n}


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("store", [False, True], ids=["", "SBP"])
@pytest.mark.parametrize("general", [False, True], ids=["plain", "checksums"])
def test_a_damaged_frame_is_counted_and_stored_only_with_sbp(card, error, store, general):
    name, bit = ERRORS[error]
    if general:
        card.write(regs.RXCSUM, regs.RXCSUM_TUOFL)
    card.rx_ring(rctl=BASE | (regs.RCTL_SBP if store else 0))
    card.receive(packet(100), errors=error)
    card.receive(packet(61))
    got = [(desc.status, desc.errors, stored) for desc, stored in card.take_descs()]
    bad = [(DD | RX_EOP | IXSM, bit, packet(100))] if store else []
    assert got == [*bad, (DD | RX_EOP | IXSM, 0, packet(61))]
    assert card.drops == ({} if store else {"rx_error": 1})
    assert counted(card) == {name: 1}
    assert card.counts("GPRC", "GORC", "PRC127", "TPR", "TOR") == (1, 65, 1, 2, 169)


def test_errors_add_up(card):
    card.rx_ring(rctl=BASE | regs.RCTL_SBP)
    card.receive(packet(100), errors=FRAME_ERRORS)
    (desc, _), = card.take_descs()
    assert desc.errors == CE | SE | SEQ | CXE | RXE
    assert counted(card) == dict.fromkeys(["CRCERRS", "ALGNERRC", "SYMERRS", "RXERRC", "SEC", "CEXTERR"], 1)


def test_a_sequence_error_is_an_interrupt_cause(card):
    card.rx_ring()
    card.receive(packet(100), errors=FRAME_SEQUENCE)
    assert card.read(regs.ICR) == regs.ICR_RXSEQ


@pytest.mark.parametrize("long", [False, True], ids=["", "LPE"])
@pytest.mark.parametrize("store", [False, True], ids=["", "SBP"])
@pytest.mark.parametrize("bad", [0, FRAME_BAD_CRC, FRAME_ALIGNMENT])
@pytest.mark.parametrize("length", [1, 12, 13, 17, 59, 60, 1518, 1519, 9000, 16380, 16381])
def test_a_frame_of_illegal_length_is_counted_by_its_length_and_crc(make_card, long, store, bad, length):
    card = make_card()
    card.rx_ring(rctl=BASE | (regs.RCTL_LPE if long else 0) | (regs.RCTL_SBP if store else 0))
    card.receive(packet(length).ljust(length, b"\1") if length < 12 else packet(length), errors=bad)
    runt, oversize = length < 60, length > (16380 if long else 1518)
    expected = {}
    if runt or oversize:
        expected["RLEC"] = 1
        expected[("RFC" if bad else "RUC") if runt else ("RJC" if bad else "ROC")] = 1
    if bad and not runt:
        expected["CRCERRS" if bad == FRAME_BAD_CRC else "ALGNERRC"] = 1
    if length >= 6:                                     # shorter ones are to somebody else
        assert counted(card) == expected
        assert [len(p) for p in card.take()] == ([length] if store or not expected else [])
    assert card.counts("TPR", "TOR", "GPRC") == (1, length + 4, not expected and length >= 6)


@pytest.mark.parametrize("error", ERRORS)
def test_a_frame_to_somebody_else_counts_for_the_line_alone(card, error):
    card.rx_ring(rctl=BASE | regs.RCTL_SBP)
    card.receive(packet(100, to=OTHER), packet(20, to=OTHER), packet(3000, to=OTHER), errors=error)
    assert card.take() == []
    assert card.drops == {"rx_filtered": 3}
    assert counted(card) == ({ERRORS[error][0]: 3} if error in (FRAME_SYMBOL, FRAME_SEQUENCE) else {})
    assert card.counts("TPR") == (3,)


def test_promiscuous_and_sbp_receive_everything(card):
    card.rx_ring(rctl=BASE | regs.RCTL_SBP | regs.RCTL_UPE | regs.RCTL_MPE)
    sent = [packet(n, to=to) for n in (1, 14, 60, 3000) for to in (OTHER, b"\1\2\3\4\5\6")]
    card.receive(*sent, errors=FRAME_BAD_CRC)
    assert card.take() == sent
    assert not card.drops


@pytest.mark.parametrize("fifo", [False, True], ids=["", "FIFO"])
@pytest.mark.parametrize("bad", [0, FRAME_BAD_CRC, FRAME_SYMBOL])
def test_the_crc_of_a_stored_frame_is_as_it_came(card, fifo, bad):
    card.rx_ring(rctl=regs.RCTL_SBP, give=0 if fifo else None)
    card.receive(packet(100), errors=bad)
    card.give(1 if fifo else 0)
    (desc, stored), = card.take_descs()
    assert (stored[-4:] == zlib.crc32(packet(100)).to_bytes(4, "little")) == (bad != FRAME_BAD_CRC)
    assert desc.errors == (ERRORS[bad][1] if bad else 0)


@pytest.mark.parametrize("length", [65536, 65537, 1 << 20, 3 << 20])
@pytest.mark.parametrize("pieces", [1, 2])
@pytest.mark.parametrize("give", [0, 1023])
def test_a_frame_longer_than_the_packet_buffer_is_never_stored(card, length, pieces, give):
    card.rx_ring(1024, give=give, rctl=BASE | regs.RCTL_SBP)
    content = packet(length)
    size = length // pieces
    card.receive([content[:size], content[size:]] if pieces == 2 else content)
    assert [len(p) for p in card.take()] == ([length] if length <= 65536 and give else [])
    assert card.drops == ({} if length <= 65536 and give else {"rx_missed": 1} if length <= 65536 else {"rx_oversize": 1})
    assert card.counts("ROC", "TPR") == (1, 1)


def test_errors_of_any_piece_are_the_frame_s(undo):
    card = BareCard(undo)
    card.rx_ring(rctl=BASE | regs.RCTL_SBP)
    content = packet(300)
    card.wire.inject(Burst.from_packets([[content[:100], content[100:]], packet(61)], errors=[FRAME_BAD_CRC, 0]))
    assert [(desc.errors, len(stored)) for desc, stored in card.take_descs()] == [(CE, 300), (0, 61)]


def test_a_receiver_that_is_off_counts_no_errors(card):
    card.rx_ring()
    card.write(regs.RCTL, 0)
    card.receive(packet(100), packet(20), errors=FRAME_ERRORS)
    assert counted(card) == {}
    assert card.drops == {"rx_disabled": 2}


def test_a_burst_refuses_flags_that_are_no_errors():
    for errors in ([1], [0x80], [0], [0, 0, 0]):
        with pytest.raises(ValueError, match="errors of 2 packets"):
            Burst.from_packets([b"a", b"b"], errors=[*errors, 0] if errors[0] else errors)


FRAMES = st.lists(
    st.tuples(st.integers(1, 2500), st.sampled_from([0, 0, 0, *ERRORS, FRAME_ERRORS]), st.booleans(), st.integers(1, 4)), max_size=30,
)


@given(FRAMES, st.integers(0, 2**32 - 1), st.booleans())
@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
def test_every_frame_is_stored_or_dropped_under_a_name(make_card, frames, rctl, checksums):
    card = make_card()
    if checksums:
        card.write(regs.RXCSUM, 0x700)
    card.rx_ring(256, rctl=rctl & ~(regs.RCTL_BSEX | 3 << 16 | regs.RCTL_LBM))
    for length, errors, ours, parts in frames:
        content = packet(length) if ours else packet(length, to=OTHER)
        size = -(-len(content) // parts)
        card.wire.inject(Burst.from_packets([[content[i : i + size] for i in range(0, len(content), size)]], errors=[errors]))
    stored = len(card.take())
    assert stored + sum(card.drops.values()) == len(frames)
    assert card.read(regs.TPR) == len(frames)
    good = sum(card.counts("PRC64", "PRC127", "PRC255", "PRC511", "PRC1023", "PRC1522"))
    assert good == card.read(regs.GPRC) <= stored
