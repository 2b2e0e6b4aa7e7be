"""Checksum insertion: legacy IC, and context and data descriptors, held against scapy's own sums (§3.3, §3.6)."""

import struct

import pytest
from cards import DEXT, EOP, IC, IFCS, POPTS_IXSM, POPTS_TXSM, RS, TSE, context, data, legacy, packet, pieces
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy_packets import HEADERS, Layout, body, fold, resummed

from e1000 import regs

BOTH = POPTS_IXSM | POPTS_TXSM


def sent(card, *descriptors):
    """Post descriptors and return the packets they became."""
    before = len(card.wire.sent)
    card.post(*descriptors)
    return card.wire.sent[before:]


def summed(content, start, offset, end=0):
    """`content` with the checksum of its bytes start to end (0: the last) put at offset."""
    part = content[start : end + 1 if end else len(content)]
    part += b"\0" * (len(part) & 1)
    total = fold(sum(struct.unpack(f">{len(part) // 2}H", part)))
    return content[:offset] + struct.pack(">H", ~total & 0xFFFF) + content[offset + 2 :]


# --- scapy's word against the card's ---


@given(HEADERS, st.integers(0, 1400), st.lists(st.integers(1, 1500), max_size=4))
@settings(max_examples=300, deadline=None)
def test_ip_and_transport_checksums_are_what_scapy_makes_of_the_packet(shared, headers, length, cuts):
    layout = Layout(headers, body(length, len(cuts)))
    content = layout.unsummed(len(layout.right) - layout.transport)
    parts = pieces(shared, content, [c for c in cuts if c < len(content)], popts=layout.popts)
    [frame] = sent(shared, context(ip=layout.ip_sum, transport=layout.transport_sum), *parts)
    assert frame[: len(content)] == resummed(content) == resummed(frame[: len(content)])


@given(HEADERS, st.integers(0, 1400), st.lists(st.integers(1, 1500), max_size=4))
@settings(max_examples=100, deadline=None)
def test_a_legacy_checksum_is_what_scapy_makes_of_the_packet(shared, headers, length, cuts):
    layout = Layout(headers, body(length, 3))
    content = layout.right[: layout.sum_at] + layout.unsummed(len(layout.right) - layout.transport)[layout.sum_at :]
    content = content[: layout.sum_at + 2] + layout.right[layout.sum_at + 2 :]
    parts = pieces(shared, content, [c for c in cuts if c < len(content)], cmd=EOP | IFCS | IC, make=legacy, cso=layout.sum_at,
                   css=layout.transport)
    [frame] = sent(shared, *parts)
    assert frame[: len(content)] == layout.right


def test_a_packet_cut_at_every_byte_becomes_the_same_frame(tx):
    content = packet(90, seed=5)
    setup = context(ip=(14, 24, 33), transport=(34, 50, 0))
    expected = summed(summed(content, 14, 24, 33), 34, 50)
    for cut in range(1, 90):
        parts = pieces(tx, content, [cut], popts=BOTH)
        assert sent(tx, setup, *parts) == [expected]


def test_a_packet_of_more_descriptors_than_a_batch_gets_its_checksums_too(make_card):
    card = make_card()
    card.tx_ring(256)
    content = packet(300, seed=8)
    parts = pieces(card, content, range(1, 200), popts=BOTH)
    assert sent(card, context(ip=(14, 24, 33), transport=(34, 50, 0)), *parts) == [summed(summed(content, 14, 24, 33), 34, 50)]
    parts = pieces(card, content, range(1, 200), cmd=EOP | IC, make=legacy, cso=50, css=34)
    assert sent(card, *parts) == [summed(content, 34, 50)]


# --- where it is summed and where it is put ---


@pytest.mark.parametrize("end", [0, 35, 60, 61, 98, 99, 100, 5000, 65535])
def test_the_sum_ends_at_cse_or_with_the_packet(tx, end):
    content = packet(100, seed=1)
    [frame] = sent(tx, context(transport=(34, 50, end)), data(tx.alloc(content), 100, popts=POPTS_TXSM))
    assert frame == summed(content, 34, 50, end if end < 100 else 0)


@pytest.mark.parametrize(("start", "offset", "end"), [(100, 50, 0), (255, 50, 0), (34, 99, 0), (34, 100, 0), (34, 255, 0), (34, 50, 20)])
def test_offsets_past_the_packet_insert_nothing(tx, start, offset, end):
    content = packet(100, seed=2)
    address = tx.alloc(content)
    assert sent(tx, context(transport=(start, offset, end)), data(address, 100, popts=POPTS_TXSM)) == [content]
    assert sent(tx, context(ip=(start, offset, end)), data(address, 100, popts=POPTS_IXSM)) == [content]
    if not end:
        assert sent(tx, legacy(address, 100, cmd=EOP | IFCS | IC, cso=offset, css=start)) == [content]


@pytest.mark.parametrize("offset", [0, 12, 33, 34, 35, 97, 98])
@pytest.mark.parametrize("start", [0, 1, 34, 35, 98, 99])
def test_the_checksum_may_lie_anywhere_in_the_packet(tx, offset, start):
    content = packet(100, seed=3)
    address = tx.alloc(content)
    expected = [summed(content, start, offset)]
    assert sent(tx, legacy(address, 100, cmd=EOP | IFCS | IC, cso=offset, css=start)) == expected
    assert sent(tx, context(transport=(start, offset, 0)), data(address, 100, popts=POPTS_TXSM)) == expected


def test_a_checksum_of_zero_stays_zero(tx):
    content = bytearray(packet(60))
    content[34:60] = bytes(26)
    content[36:38] = b"\xff\xff"
    assert sent(tx, legacy(tx.alloc(bytes(content)), 60, cmd=EOP | IFCS | IC, cso=50, css=34)) == [bytes(content)]


def test_padding_comes_behind_the_sum(tx):
    content = packet(41, seed=4)
    [frame] = sent(tx, legacy(tx.alloc(content + b"\xee" * 40), 41, cmd=EOP | IFCS | IC, cso=20, css=15))
    assert frame == summed(content, 15, 20).ljust(60, b"\0")
    assert tx.device.padding == (1, 19)


def test_host_memory_is_not_written(tx):
    content = packet(200, seed=6)
    address = tx.alloc(content)
    sent(tx, legacy(address, 200, cmd=EOP | IC, cso=50, css=34), context(transport=(34, 50, 0)), data(address, 200, popts=POPTS_TXSM))
    assert tx.addresses.read(address, 200) == content


# --- which descriptor counts ---


def test_a_context_stays_until_the_next_one_and_through_other_packets(tx):
    content = packet(100, seed=7)
    address = tx.alloc(content)
    first, second = summed(content, 34, 50), summed(content, 20, 40)
    offload = data(address, 100, popts=POPTS_TXSM)
    assert sent(tx, context(transport=(34, 50, 0)), offload) == [first]
    assert sent(tx, legacy(address, 100), offload, data(address, 100), offload) == [content, first, content, first]
    assert sent(tx, offload, context(transport=(20, 40, 0)), offload, offload) == [first, second, second]


def test_a_segmentation_context_is_another_one(tx):
    content = packet(100, seed=7)
    offload = data(tx.alloc(content), 100, popts=POPTS_TXSM)
    setups = context(transport=(34, 50, 0)), context(transport=(20, 40, 0), cmd=TSE, mss=100, header=54, payload=46)
    assert sent(tx, *setups, offload) == [summed(content, 34, 50)]


def test_a_context_in_mid_packet_is_for_the_next_one(tx):
    content = packet(100, seed=9)
    one, two = pieces(tx, content, [30], popts=POPTS_TXSM)
    again = pieces(tx, content, [30], popts=POPTS_TXSM)
    assert sent(tx, context(transport=(34, 50, 0)), one, context(transport=(20, 40, 0)), two, *again) == [
        summed(content, 34, 50),
        summed(content, 20, 40),
    ]


def test_the_first_data_descriptor_has_the_options(tx):
    content = packet(100, seed=10)
    address = tx.alloc(content)
    setup = context(transport=(34, 50, 0))
    one = data(address, 40, cmd=0, popts=POPTS_TXSM), data(address + 40, 60)
    other = data(address, 40, cmd=0), data(address + 40, 60, popts=POPTS_TXSM)
    assert sent(tx, setup, *one, *other) == [summed(content, 34, 50), content]


def test_the_last_legacy_descriptor_has_ic_and_cso_the_first_has_css(tx):
    content = packet(100, seed=11)
    address = tx.alloc(content)
    right = legacy(address, 40, cmd=0, css=34), legacy(address + 40, 60, cmd=EOP | IC, cso=50)
    without = legacy(address, 40, cmd=IC, cso=50, css=34), legacy(address + 40, 60, cmd=EOP)
    assert sent(tx, *right, *without) == [summed(content, 34, 50), content]


def test_bit_26_of_a_data_descriptor_is_no_legacy_checksum(tx):
    content = packet(100, seed=12)
    address = tx.alloc(content)
    assert sent(tx, data(address, 40, cmd=0), data(address + 40, 60, cmd=EOP | TSE)) == [content]


def test_legacy_and_data_descriptors_in_one_packet_do_no_harm(tx):
    content = packet(100, seed=13)
    address = tx.alloc(content)
    mixed = data(address, 40, cmd=0, popts=POPTS_TXSM), legacy(address + 40, 60, cmd=EOP | IC, cso=20, css=14)
    assert sent(tx, context(transport=(34, 50, 0)), *mixed) == [summed(content, 34, 50)]
    mixed = legacy(address, 40, cmd=0, css=14), data(address + 40, 60, popts=POPTS_TXSM)
    assert sent(tx, *mixed, legacy(address, 100)) == [content, content]


def test_a_descriptor_type_that_does_not_exist_is_no_context(tx):
    content = packet(100, seed=14)
    offload = data(tx.alloc(content), 100, popts=POPTS_TXSM)
    odd = struct.pack("<BBHBBHQ", 0, 0, 0, 20, 40, 0, DEXT | 2 << 20)
    assert sent(tx, context(transport=(34, 50, 0)), odd, offload) == [summed(content, 34, 50)]


def test_a_reset_forgets_the_contexts(tx):
    sent(tx, context(transport=(34, 50, 0)))
    tx.write(regs.CTRL, regs.CTRL_RST)
    tx.tx_ring()
    content = packet(100, seed=15)
    assert sent(tx, data(tx.alloc(content), 100, popts=POPTS_TXSM)) == [summed(content, 0, 0)]


# --- beside other packets, and in the books ---


def test_changed_packets_keep_their_place_among_others(make_card):
    card = make_card()
    card.tx_ring(256)
    contents = [packet(60 + 23 * i, seed=i) for i in range(60)]
    descriptors, expected = [context(transport=(34, 50, 0))], []
    for i, content in enumerate(contents):
        address = card.alloc(content)
        if i % 3 == 0:
            descriptors.append(legacy(address, len(content)))
            expected.append(content)
        else:
            descriptors += [data(address, 20, cmd=0, popts=POPTS_TXSM), data(address + 20, len(content) - 20)]
            expected.append(summed(content, 34, 50))
    card.post(*descriptors)
    assert card.wire.sent == expected
    assert card.counts("GPTC", "GOTC") == (60, sum(map(len, contents)) + 240)


def test_long_packets_fill_the_stage_and_go_on_in_the_next_batch(tx):
    contents = [packet(16000, seed=i) for i in range(20)]
    descriptors = [data(tx.alloc(c), 16000, popts=POPTS_TXSM) for c in contents]
    assert sent(tx, context(transport=(34, 50, 0)), *descriptors) == [summed(c, 34, 50) for c in contents]


def test_a_bad_buffer_costs_a_changed_packet_and_no_other(tx):
    content = packet(100, seed=16)
    good = data(tx.alloc(content), 100, popts=POPTS_TXSM)
    bad = data(1 << 40, 100, popts=POPTS_TXSM)
    assert sent(tx, context(transport=(34, 50, 0)), good, bad, good) == [summed(content, 34, 50)] * 2
    assert tx.device.drops["tx_dma"] == 1


@pytest.mark.parametrize("rs", [0, RS])
def test_status_is_written_into_a_context_descriptor_that_asks(tx, rs):
    [slot] = tx.post(context(cmd=rs, transport=(34, 50, 0)))
    assert tx.tx_done(slot) == bool(rs)
    assert tx.read(regs.ICR) == regs.ICR_TXQE | (regs.ICR_TXDW if rs else 0)
