"""Segmentation: one packet of the host's becomes many on the wire, held against scapy's own idea of them (§3.5)."""

import pytest
from cards import EOP, IFCS, POPTS_IXSM, POPTS_TXSM, RS, TSE, TUCMD_IP, TUCMD_TCP, VLE, context, data, legacy, packet, pieces
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.inet import IP, TCP
from scapy.layers.l2 import Ether
from scapy.packet import Raw
from scapy_packets import HEADERS, Layout, body, resummed

from e1000 import regs
from e1000.bus import HostMemory
from fastring.clock import VirtualClock
from fastring.wire import NullWire, pair

BOTH = POPTS_IXSM | POPTS_TXSM
PLAIN_TCP = [], IP(src="10.0.0.1", dst="10.0.0.2", id=0xFFFE), TCP(sport=1000, dport=2000, seq=2**32 - 1000, flags="FPA")


@pytest.fixture
def tx(card):
    card.tx_ring(256)
    return card


def drops(card):
    return {reason: n for reason, n in card.device.drops.items() if n}


def setup(layout, mss, payload, **other):
    """The context descriptor for a packet."""
    cmd = TSE | (TUCMD_IP if layout.v4 else 0) | (TUCMD_TCP if layout.tcp else 0)
    fields = {"ip": layout.ip_sum, "transport": layout.transport_sum, "header": layout.header, "mss": mss, "payload": payload, "cmd": cmd}
    if not layout.v4:
        fields["ip"] = (layout.ip, 0, 0)
    return context(**fields | other)


def whole(card, layout, payload, mss, *, cuts=(), cmd=EOP | IFCS | RS, first=0, said=None, **other):
    """Context and data descriptors of a packet to be segmented, cut at the given places."""
    content = layout.unsummed(0)[: layout.header] + payload
    parts = pieces(card, content, [c for c in cuts if 0 < c < len(content)], cmd=cmd, first=TSE | first, popts=layout.popts)
    return [setup(layout, mss, len(payload) if said is None else said, **other), *parts]


def segment(card, *args, **kwargs):
    """Post a packet to be segmented and return the frames it became."""
    before = len(card.wire.sent)
    card.post(*whole(card, *args, **kwargs))
    return card.wire.sent[before:]


def expected(layout, payload, mss):
    """The frames by scapy: the packet's layers with each part of the payload, and the fields that differ."""
    parts = [payload[i : i + mss] for i in range(0, len(payload), mss)] or [b""]
    frames = []
    for i, part in enumerate(parts):
        frame = Ether(layout.right[: layout.header])
        if layout.v4:
            frame[IP].id = (frame[IP].id + i) & 0xFFFF
        if layout.tcp:
            frame[TCP].seq = (frame[TCP].seq + i * mss) & 0xFFFFFFFF
            if i < len(parts) - 1:
                frame[TCP].flags = int(frame[TCP].flags) & ~0x09
        frames.append(resummed(bytes(frame / Raw(part) if part else frame)).ljust(60, b"\0"))
    return frames


def check(frames, layout, payload, mss):
    assert frames == expected(layout, payload, mss)


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
    assert not drops(near)


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


# --- contexts and packets that make no sense ---


@pytest.mark.parametrize(("mss", "wrong"), [(0, {}), (50, {"header": 0}), (50, {"header": 255}), (0, {"header": 0})])
def test_a_context_that_makes_no_sense_costs_its_packet_alone(tx, mss, wrong):
    payload = body(100, 16)
    layout = Layout(PLAIN_TCP, payload)
    slots = tx.post(*whole(tx, layout, payload, mss, **wrong))
    assert tx.wire.sent == []
    assert drops(tx) == {"tx_context": 1}
    assert tx.tx_done(slots[-1])
    assert tx.counts("TSCTC", "TSCTFC", "GPTC") == (0, 1, 0)
    check(segment(tx, layout, payload, 50), layout, payload, 50)


def test_without_any_context_a_packet_is_dropped(tx):
    tx.post(data(tx.alloc(packet(1000)), 1000, cmd=EOP | TSE, popts=BOTH))
    assert tx.wire.sent == []
    assert drops(tx) == {"tx_context": 1}


@pytest.mark.parametrize("said", [0, 1, 99, 100, 101, 249])
def test_bytes_past_paylen_do_not_leave_and_are_counted(tx, said):
    payload = body(250, 17)
    layout = Layout(PLAIN_TCP, payload)
    check(segment(tx, layout, payload, 100, said=said), layout, payload[:said], 100)
    assert tx.counts("TSCTC", "TSCTFC") == (0, 1)


@pytest.mark.parametrize("said", [251, 300, 5000, 0xFFFFF])
def test_a_packet_shorter_than_paylen_ends_with_its_last_descriptor(tx, said):
    payload = body(250, 18)
    layout = Layout(PLAIN_TCP, payload)
    check(segment(tx, layout, payload, 100, said=said), layout, payload, 100)
    assert tx.counts("TSCTC", "TSCTFC") == (0, 1)


@pytest.mark.parametrize("mss", [16327, 20000, 65535])
def test_a_segment_over_16_kilobytes_is_dropped(tx, mss):
    payload = body(65000, 19)
    layout = Layout(PLAIN_TCP, payload)
    assert segment(tx, layout, payload, mss) == []
    assert drops(tx) == {"tx_oversize": 1}
    assert len(segment(tx, layout, payload[:2000], mss)) == 1
    assert tx.counts("TSCTC", "TSCTFC") == (1, 1)


def test_a_buffer_outside_memory_ends_the_packet_there(tx):
    payload = body(500, 20)
    layout = Layout(PLAIN_TCP, payload)
    *most, _last = whole(tx, layout, payload, 100, cuts=[layout.header + 250])
    tx.post(*most, data(1 << 40, 250, cmd=EOP | TSE))
    assert tx.wire.sent == expected(layout, payload, 100)[:2]
    assert drops(tx) == {"tx_dma": 1}
    assert tx.counts("TSCTC", "TSCTFC", "GPTC") == (0, 1, 2)
    assert tx.read(regs.TDH) == 3


def test_a_megabyte_in_one_descriptor_is_segmented(make_card):
    card = make_card(memory=HostMemory(size=1 << 24))
    card.tx_ring()
    layout = Layout(PLAIN_TCP, b"")
    length = 0xFFFFF - layout.header
    address = card.alloc(layout.unsummed(0) + body(length, 1))
    card.post(setup(layout, 9000, length), data(address, 0xFFFFF, cmd=EOP | TSE, popts=BOTH))
    assert len(card.wire.sent) == length // 9000 + 1
    assert b"".join(f[54:] for f in card.wire.sent) == body(length, 1)


def test_a_packet_that_fills_the_ring_without_an_end_is_given_up(card):
    card.tx_ring(8)
    layout = Layout(PLAIN_TCP, b"")
    address = card.alloc(layout.unsummed(0) + body(200, 1))
    card.post(setup(layout, 100, 2000))
    for _ in range(7):
        card.post(data(address, 100, cmd=TSE, popts=BOTH))
    assert card.wire.sent == []
    assert drops(card) == {"tx_oversize": 1}
    assert card.read(regs.TDH) == card.read(regs.TDT)


RANDOM_CONTEXT = st.builds(
    lambda ip, transport, cmd, header, mss, payload: context(ip=ip, transport=transport, cmd=cmd, header=header, mss=mss, payload=payload),
    st.tuples(st.integers(0, 255), st.integers(0, 255), st.integers(0, 65535)),
    st.tuples(st.integers(0, 255), st.integers(0, 255), st.integers(0, 65535)),
    st.sampled_from([TSE | a | b | c for a in (0, TUCMD_IP) for b in (0, TUCMD_TCP) for c in (0, RS)]),
    st.one_of(st.sampled_from([0, 1, 13, 54, 255]), st.integers(0, 255)),
    st.one_of(st.sampled_from([0, 1, 2, 1460, 65535]), st.integers(0, 65535)),
    st.one_of(st.sampled_from([0, 1, 0xFFFFF]), st.integers(0, 3000)),
)
RANDOM_DATA = st.tuples(st.integers(0, 3000), st.sampled_from([TSE, TSE | EOP, EOP, 0, TSE | VLE | EOP]), st.integers(0, 3))


@given(st.lists(st.one_of(RANDOM_CONTEXT, RANDOM_DATA), max_size=30), st.sampled_from([0, regs.CTRL_VME]))
@settings(max_examples=300, deadline=None)
def test_no_context_and_no_packet_can_harm_the_card(shared, steps, ctrl):
    content = packet(3000, seed=21)
    address = shared.alloc(content)
    shared.write(regs.CTRL, regs.CTRL_SLU | ctrl)
    shared.post(*(step if isinstance(step, bytes) else data(address, step[0], cmd=step[1], popts=step[2]) for step in steps))
    shared.post(data(address, 60))                      # an end, if one is missing
    assert shared.read(regs.TDH) == shared.tx_tail
    assert all(0 < len(frame) <= 16384 for frame in shared.wire.sent)
    assert shared.addresses.read(address, 3000) == content
    assert shared.wire.error is None
    shared.wire.sent.clear()
    shared.post(data(address, 100))
    assert shared.wire.sent == [content[:100]]
    shared.wire.sent.clear()


@pytest.fixture
def flood(make_card):
    """flood(clock): a card asked for two million segments at once: a byte each of two megabytes of payload."""

    def make(clock=None):
        card = make_card(memory=HostMemory(size=1 << 24), wire=NullWire(), clock=clock)
        if clock is not None:
            clock.advance(10**10)                       # for a link
        card.tx_ring(64)
        length = 0xFFFFF - 255
        packet = data(card.alloc(1 << 20), length + 255, cmd=EOP | TSE)
        card.post(context(cmd=TSE, header=255, mss=1, payload=length), packet, packet)
        assert 20_000 < card.peek(regs.GPTC) < 40_000
        assert card.peek(regs.TDH) == 1
        return card, 2 * length

    return make


def finished(card, segments):
    return card.peek(regs.TDH) == 3 and card.peek(regs.GPTC) == segments and card.peek(regs.TSCTC) == 2


def test_the_work_of_one_access_is_bounded_and_the_next_ones_do_the_rest(flood):
    card, segments = flood()
    for _ in range(100):
        card.read(regs.STATUS)
    assert finished(card, segments)


def test_work_that_was_put_off_is_done_in_time_on_a_clock(flood):
    clock = VirtualClock()
    card, segments = flood(clock)
    clock.advance(1_000_000)
    assert finished(card, segments)


def test_a_reset_drops_what_was_put_off(flood):
    clock = VirtualClock()
    card, _ = flood(clock)
    card.write(regs.CTRL, regs.CTRL_RST)
    clock.advance(1_000_000)
    assert card.counts("GPTC", "TSCTC", "TDH") == (0, 0, 0)
