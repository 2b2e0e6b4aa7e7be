"""Segmentation of contexts and packets that make no sense, and of more than may be done at once."""

import pytest
from cards import EOP, RS, TSE, TUCMD_IP, TUCMD_TCP, VLE, context, data, packet
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy_packets import Layout, body
from segmentation import BOTH, PLAIN_TCP, check, expected, segment, setup, whole

from e1000 import regs
from e1000.bus import HostMemory
from fastring.clock import VirtualClock
from fastring.wire import NullWire

# --- contexts and packets that make no sense ---


@pytest.mark.parametrize(("mss", "wrong"), [(0, {}), (50, {"header": 0}), (50, {"header": 255}), (0, {"header": 0})])
def test_a_context_that_makes_no_sense_costs_its_packet_alone(tx, mss, wrong):
    payload = body(100, 16)
    layout = Layout(PLAIN_TCP, payload)
    slots = tx.post(*whole(tx, layout, payload, mss, **wrong))
    assert tx.wire.sent == []
    assert tx.drops == {"tx_context": 1}
    assert tx.tx_done(slots[-1])
    assert tx.counts("TSCTC", "TSCTFC", "GPTC") == (0, 1, 0)
    check(segment(tx, layout, payload, 50), layout, payload, 50)


def test_without_any_context_a_packet_is_dropped(tx):
    tx.post(data(tx.alloc(packet(1000)), 1000, cmd=EOP | TSE, popts=BOTH))
    assert tx.wire.sent == []
    assert tx.drops == {"tx_context": 1}


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
    assert tx.drops == {"tx_oversize": 1}
    assert len(segment(tx, layout, payload[:2000], mss)) == 1
    assert tx.counts("TSCTC", "TSCTFC") == (1, 1)


def test_a_buffer_outside_memory_ends_the_packet_there(tx):
    payload = body(500, 20)
    layout = Layout(PLAIN_TCP, payload)
    *most, _last = whole(tx, layout, payload, 100, cuts=[layout.header + 250])
    tx.post(*most, data(1 << 40, 250, cmd=EOP | TSE))
    assert tx.wire.sent == expected(layout, payload, 100)[:2]
    assert tx.drops == {"tx_dma": 1}
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
    assert card.drops == {"tx_oversize": 1}
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


# --- more than may be done at once ---


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
