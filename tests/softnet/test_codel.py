"""CoDel within fq_codel (RFC 8289), by hand: when it drops, when it marks, and the mark in the header."""

import math
from functools import partial

import pytest
from codel_queues import ETHER, MAC, MS, drain, fill, idle_fq_codel, udp
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import ARP, Dot1Q, Ether
from scapy.packet import Raw

from fastring.checksum import checksum
from softnet import SkBuff
from softnet.inet_ecn import inet_ecn_set_ce


@pytest.fixture
def qdisc(stack):
    """qdisc(limit=...): an FqCodel that nobody runs."""
    return partial(idle_fq_codel, stack)


# --- drops ---


@pytest.mark.parametrize(("target", "interval"), [(5 * MS, 100 * MS), (1 * MS, 20 * MS)])
def test_drops_begin_after_an_interval_and_follow_interval_over_the_root_of_their_count(qdisc, stack, target, interval):
    qdisc = qdisc(target=target, interval=interval)
    fill(qdisc, 1, 3000, size=100)
    clock, step = stack.clock, interval // 200
    clock.advance(target)
    start, times, drops = clock.monotonic_ns(), [], 0
    while len(times) < 30:
        assert qdisc.pop()
        times += [clock.monotonic_ns() - start] * (qdisc.drops - drops)
        drops = qdisc.drops
        clock.advance(step)
    expected = [interval]
    for count in range(1, 30):
        expected.append(expected[-1] + interval / math.sqrt(count))
    assert all(0 <= time - due <= 2 * step for time, due in zip(times[:30], expected, strict=True))


def test_a_delay_below_the_target_or_a_last_packet_drops_nothing(qdisc, stack):
    short = qdisc()
    for _ in range(2000):  # 4 ms, for ever
        fill(short, 1, 4, size=1514)
        stack.clock.advance(4 * MS)
        assert len(drain(short)) == 4
    one = qdisc()
    for _ in range(50):  # a whole interval late, but no more than one packet at a time
        fill(one, 1, 1)
        stack.clock.advance(100 * MS)
        assert len(drain(one)) == 1
    assert short.drops == one.drops == 0


def test_a_queue_that_soon_has_to_drop_again_goes_on_at_its_rate(qdisc, stack):
    qdisc = qdisc()
    fill(qdisc, 1, 3000, size=100)
    flow = next(iter(qdisc.flows.values()))
    while flow.count < 20:
        stack.clock.advance(MS)
        assert qdisc.pop()
    drain_now = flow.count
    qdisc.target = qdisc.params.target
    qdisc.params.target = 10**15  # the delay is fine for a while
    qdisc.pop()
    assert not flow.dropping
    qdisc.params.target = qdisc.target
    while not flow.dropping:
        stack.clock.advance(MS)
        assert qdisc.pop()
    assert flow.count == drain_now - 1  # since lastcount, which was 1
    assert flow.drop_next - stack.clock.monotonic_ns() == math.isqrt((100 * MS) ** 2 // flow.count)


def test_packets_of_who_understands_are_marked_and_others_dropped(qdisc, stack):
    for tos, ecn, marks, drops in ((1, True, True, False), (2, True, True, False), (0, True, False, True), (2, False, False, True)):
        one = qdisc(ecn=ecn)
        fill(one, 1, 400, tos=tos, size=200)
        packets = []
        for _ in range(250):
            stack.clock.advance(MS)
            packets.append(bytes(one.pop()))
        stats = one.codel.stats
        assert (stats.ecn_mark > 0, one.drops > 0, stats.drop_count) == (marks, drops, one.drops)
        assert sum(IP(packet[14:]).tos & 3 == 3 for packet in packets) == stats.ecn_mark


def test_beyond_the_ce_threshold_every_packet_that_can_be_is_marked(qdisc, stack):
    qdisc = qdisc(ce_threshold=MS)
    fill(qdisc, 1, 3, tos=2)
    fill(qdisc, 2, 3)
    assert qdisc.pop().data[15] == 2
    stack.clock.advance(MS + 1)
    rest = drain(qdisc)
    assert [skb.data[15] for skb in rest if skb.data[15]] == [3, 3]
    assert (qdisc.codel.stats.ce_mark, qdisc.codel.stats.ecn_mark) == (2, 0)


# --- marks ---


@given(st.integers(0, 255), st.integers(0, 65535), st.integers(0, 255), st.binary(min_size=8, max_size=8), st.booleans())
def test_an_ipv4_header_is_right_after_its_mark(tos, identification, ttl, addresses, tagged):
    header = ETHER / Dot1Q(vlan=5) if tagged else ETHER
    source, destination = (".".join(map(str, part)) for part in (addresses[:4], addresses[4:]))
    before = bytes(header / IP(src=source, dst=destination, tos=tos, id=identification, ttl=ttl, proto=200) / Raw(b"x" * 30))
    skb = SkBuff.from_bytes(before)
    assert inet_ecn_set_ce(skb) == (tos & 3 != 0)
    after, at = bytes(skb), 18 if tagged else 14
    assert after[at + 1] == (tos | 3 if tos & 3 else tos)
    assert checksum(after[at : at + 20]) == 0
    assert after[:at] + after[at + 20 :] == before[:at] + before[at + 20 :]


@given(st.integers(0, 255), st.integers(0, (1 << 20) - 1))
def test_an_ipv6_header_is_right_after_its_mark(tc, label):
    before = ETHER / IPv6(tc=tc, fl=label, src="fd00::1", dst="fd00::2") / UDP(sport=1, dport=2) / Raw(b"x")
    skb = SkBuff.from_bytes(bytes(before))
    assert inet_ecn_set_ce(skb) == (tc & 3 != 0)
    before[IPv6].tc = tc | 3 if tc & 3 else tc
    assert bytes(skb) == bytes(before)


@pytest.mark.parametrize(
    "content", [b"", b"\xff" * 13, bytes(ETHER / ARP()), bytes(Ether(dst=MAC, type=0x800)) + b"\x45\x02", bytes(60)]
)
def test_what_is_no_whole_ip_packet_cannot_be_marked(content):
    skb = SkBuff.from_bytes(content)
    assert not inet_ecn_set_ce(skb)
    assert bytes(skb) == content


def test_a_mark_leaves_the_clones_as_they_were():
    skb = SkBuff.from_bytes(udp(1, tos=2))
    clone = skb.clone()
    assert inet_ecn_set_ce(skb)
    assert (skb.data[15], clone.data[15]) == (3, 2)
