"""Segmentation: one packet of the host's becomes many on the wire, held against scapy's own idea of them (§3.5)."""

import pytest
from cards import EOP, POPTS_TXSM, RS, TSE, VLE, context, data, legacy, packet
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.inet import TCP
from scapy.layers.l2 import Ether
from scapy_packets import HEADERS, Layout, body, resummed
from segmentation import PLAIN_TCP, check, expected, segment, whole

from e1000 import regs
from e1000.bus import HostMemory
from fastring.wire import pair


@pytest.fixture
def tx(card):
    card.tx_ring(256)
    return card


# --- scapy's word against the card's ---


@given(HEADERS, st.integers(0, 9000), st.integers(1, 3000), st.lists(st.integers(1, 9000), max_size=8))
@settings(max_examples=200, deadline=None)
def test_segments_are_what_scapy_makes_of_them(shared, headers, length, mss, cuts):
    mss = max(mss, length // 100 + 1)
    payload = body(length, mss)
    layout = Layout(headers, payload)
    frames = segment(shared, layout, payload, mss, cuts=cuts)
    check(frames, layout, payload, mss)
    assert b"".join(f[layout.header : layout.header + mss] for f in frames)[:length] == payload


def test_a_packet_of_64_kilobytes_comes_whole(tx):
    payload = body(65495 - 40, 1)
    layout = Layout(PLAIN_TCP, payload)
    frames = segment(tx, layout, payload, 1460, cuts=range(4096, 65536, 4096))
    check(frames, layout, payload, 1460)
    assert tx.counts("GPTC", "TPT", "TSCTC", "TSCTFC") == (45, 45, 1, 0)


def test_cut_at_every_byte_it_becomes_the_same_frames(tx):
    payload = body(300, 2)
    layout = Layout(PLAIN_TCP, payload)
    want = expected(layout, payload, 100)
    for cut in range(1, layout.header + 300):
        assert segment(tx, layout, payload, 100, cuts=[cut]) == want
        assert segment(tx, layout, payload, 100, cuts=[cut, cut + 1]) == want
    assert segment(tx, layout, payload, 100, cuts=range(1, 200)) == want


@pytest.mark.parametrize(("length", "mss", "count"), [(0, 100, 1), (1, 100, 1), (100, 100, 1), (101, 100, 2), (300, 100, 3), (300, 1, 300)])
def test_the_last_segment_is_never_empty(tx, length, mss, count):
    payload = body(length, 3)
    layout = Layout(PLAIN_TCP, payload)
    frames = segment(tx, layout, payload, mss)
    assert len(frames) == count
    check(frames, layout, payload, mss)
    assert tx.counts("TSCTC", "TSCTFC", "GPTC") == (1, 0, count)


def test_statistics_count_each_segment(tx):
    payload = body(3000, 4)
    layout = Layout(PLAIN_TCP, payload)
    frames = segment(tx, layout, payload, 1000)
    octets = sum(map(len, frames)) + 4 * 3
    assert tx.counts("GPTC", "TPT", "GOTC", "TOT", "PTC1522", "MPTC", "BPTC") == (3, 3, octets, octets, 3, 0, 0)


def test_short_segments_are_padded(tx):
    payload = body(9, 5)
    layout = Layout(PLAIN_TCP, payload)
    frames = segment(tx, layout, payload, 3)
    assert [len(frame) for frame in frames] == [60] * 3
    check(frames, layout, payload, 3)
    assert tx.device.padding == (3, 9)
    assert tx.counts("PTC64", "GOTC") == (3, 192)


def test_without_options_checksums_stay_as_the_host_wrote_them(tx):
    payload = body(200, 6)
    layout = Layout(PLAIN_TCP, payload)
    layout.popts = 0
    frames = segment(tx, layout, payload, 100)
    for frame, want in zip(frames, expected(layout, payload, 100), strict=True):
        assert Ether(frame)[TCP].chksum == layout.pseudo_sum(0)
        assert resummed(frame) == want


def test_neither_tcp_nor_ip_leaves_the_header_alone(tx):
    """The generic block send of §3.3.6.1."""
    header, payload = packet(40, seed=1, ethertype=0x88B5), body(250, 7)
    address = tx.alloc(header + payload)
    tx.post(context(cmd=TSE, header=40, mss=100, payload=250, ip=(14, 0, 0), transport=(20, 0, 0)), data(address, 290, cmd=EOP | TSE))
    assert tx.wire.sent == [header + payload[:100], header + payload[100:200], header + payload[200:]]


def test_status_and_head_move_when_all_segments_have_left(tx):
    payload = body(1000, 8)
    layout = Layout(PLAIN_TCP, payload)
    slots = tx.post(*whole(tx, layout, payload, 100, cuts=[54, 500], first=RS))
    assert [tx.tx_done(slot) for slot in slots] == [False, True, True, True]
    assert tx.read(regs.TDH) == 4
    assert tx.read(regs.ICR) == regs.ICR_TXDW | regs.ICR_TXQE


def test_segmented_and_other_packets_keep_their_order(tx):
    payload = body(1000, 9)
    layout = Layout(PLAIN_TCP, payload)
    small = [packet(60 + i, seed=i) for i in range(4)]
    one = whole(tx, layout, payload, 300)
    again = one[1:]                                     # the context stays
    plain = [legacy(tx.alloc(s), len(s)) for s in small]
    offload = context(transport=(34, 50, 0)), data(tx.alloc(small[0]), 60, popts=POPTS_TXSM)
    tx.post(plain[0], *one, plain[1], plain[2], *again, *offload, plain[3], *again)
    frames = expected(layout, payload, 300)
    summed = tx.wire.sent[11]
    assert tx.wire.sent == [small[0], *frames, small[1], small[2], *frames, summed, small[3], *frames]
    assert summed != small[0] == summed[:50] + small[0][50:52] + summed[52:]


def test_the_end_of_a_packet_is_waited_for(tx):
    payload = body(1000, 10)
    layout = Layout(PLAIN_TCP, payload)
    *most, last = whole(tx, layout, payload, 300, cuts=[100, 400, 700])
    for descriptor in most:
        tx.post(descriptor)
        assert tx.wire.sent == []
        assert tx.read(regs.TDH) == 1
    tx.post(last)
    check(tx.wire.sent, layout, payload, 300)


def test_a_context_in_mid_packet_is_for_the_next_one(tx):
    payload = body(600, 11)
    layout = Layout(PLAIN_TCP, payload)
    first = whole(tx, layout, payload, 300, cuts=[100])
    second = whole(tx, layout, payload, 200, cuts=[100])
    tx.post(*first[:2], second[0], first[2], *second[1:])
    assert tx.wire.sent == expected(layout, payload, 300) + expected(layout, payload, 200)


# --- VLAN tags ---


@given(HEADERS, st.integers(0, 4000), st.integers(20, 1500), st.integers(0, 65535), st.lists(st.integers(1, 4000), max_size=4))
@settings(max_examples=100, deadline=None)
def test_each_segment_gets_the_tag(shared, headers, length, mss, tag, cuts):
    shared.write(regs.CTRL, regs.CTRL_SLU | regs.CTRL_VME)
    shared.write(regs.VET, 0x8100)
    payload = body(length, mss)
    layout = Layout(headers, payload)
    setup, *parts = whole(shared, layout, payload, mss, cuts=cuts, first=VLE)
    parts = [part[:14] + tag.to_bytes(2, "little") for part in parts]
    before = len(shared.wire.sent)
    shared.post(setup, *parts)
    shared.write(regs.CTRL, regs.CTRL_SLU)
    frames = shared.wire.sent[before:]
    assert all(f[12:16] == b"\x81\0" + tag.to_bytes(2, "big") for f in frames)
    assert [(f[:12] + f[16:]).ljust(60, b"\0") for f in frames] == expected(layout, payload, mss)


def test_only_the_first_descriptor_of_a_segmented_packet_tags(tx):
    """§3.3.7.1: elsewhere it is the last."""
    tx.write(regs.CTRL, regs.CTRL_SLU | regs.CTRL_VME)
    tx.write(regs.VET, 0x8100)
    payload = body(300, 12)
    layout = Layout(PLAIN_TCP, payload)
    setup, one, two = whole(tx, layout, payload, 200, cuts=[100], cmd=EOP | VLE)
    tx.post(setup, one, two)
    assert tx.wire.sent == expected(layout, payload, 200)


# --- a wire that is full ---


@pytest.fixture
def held(make_card):
    """A card on a lossless cable whose other end gives no descriptors yet."""
    memory = HostMemory(size=1 << 23)
    near, far = (make_card(wire=end, memory=memory) for end in pair())
    near.tx_ring()
    far.rx_ring(128, give=0)
    yield near, far
    memory.close()


@pytest.mark.parametrize("step", [1, 2, 7, 50])
def test_a_full_wire_holds_a_packet_up_between_two_segments(held, step):
    near, far = held
    payload = body(20000, 13)
    layout = Layout(PLAIN_TCP, payload)
    frames, after = expected(layout, payload, 500), packet(99)
    slots = near.post(*whole(near, layout, payload, 500, cuts=[54, 9000]), legacy(near.alloc(after), 99))
    got = []
    while len(got) < 40:
        assert near.read(regs.TDH) == 1
        assert not near.tx_done(slots[3])
        far.give(min(step, 127))
        got += far.take()
        assert got == [*frames, after][: len(got)]
    far.give(1)
    assert got + far.take() == [*frames, after]
    assert near.read(regs.TDH) == 5
    assert near.tx_done(slots[3])
    assert near.counts("GPTC", "TSCTC", "TSCTFC") == (41, 1, 0)
    assert not near.drops


def test_a_reset_forgets_how_far_it_got(held):
    near, far = held
    payload = body(2000, 14)
    layout = Layout(PLAIN_TCP, payload)
    near.post(*whole(near, layout, payload, 500))
    far.give(2)
    assert len(far.take()) == 2
    near.write(regs.CTRL, regs.CTRL_RST)
    near.tx_ring()
    near.post(*whole(near, layout, payload, 500))
    far.give(10)
    assert far.take() == expected(layout, payload, 500)


def test_another_packet_put_at_the_head_starts_at_its_beginning(held):
    near, far = held
    payload = body(2000, 15)
    layout = Layout(PLAIN_TCP, payload)
    setup, one = whole(near, layout, payload, 500)
    near.post(setup, one)
    far.give(2)
    assert len(far.take()) == 2
    near.put(one)
    near.write(regs.TDH, 2)
    near.write(regs.TDT, 3)
    far.give(10)
    assert far.take() == expected(layout, payload, 500)
