"""fq_codel's flows, limits and parameters (RFC 8290), by hand."""

import errno
from functools import partial

import pytest
from codel_queues import ETHER, MAC, MS, drain, fill, fq_codel, idle_fq_codel, skb_of, udp
from drivers import RingDriver, make_device
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6, IPv6ExtHdrHopByHop
from scapy.layers.l2 import ARP, Dot1Q, Ether
from scapy.packet import Raw

from fastring.clock import VirtualClock
from softnet import DropReason, SkBuff, Stack
from softnet.sch_fq_codel import FqCodel
from softnet.sch_generic import NET_XMIT_CN, NET_XMIT_SUCCESS


@pytest.fixture
def qdisc(stack):
    """qdisc(limit=...): an FqCodel that nobody runs."""
    return partial(idle_fq_codel, stack)


# --- flows ---


@pytest.mark.parametrize("ip", [IP, IPv6])
def test_flows_take_turns_and_each_keeps_its_order(qdisc, ip):
    qdisc = qdisc()
    for flow in range(3):
        fill(qdisc, flow, 4, ip=ip)
    assert (len(qdisc.new_flows), qdisc.new_flow_count) == (3, 3)
    left = [(skb.data[14 + (20 if ip is IP else 40) + 1] - (1000 & 0xFF), skb.mark) for skb in drain(qdisc)]
    assert left == [(flow, number) for number in range(4) for flow in range(3)]


def test_a_new_flow_goes_before_the_old_ones_once(qdisc):
    qdisc = qdisc()
    fill(qdisc, 1, 10)
    assert [qdisc.pop().mark for _ in range(3)] == [0, 1, 2]
    for mark in (100, 101, 102):
        qdisc.enqueue(skb_of(udp(2), mark))
    # The old one had used up its turn when the new one came: it gets its next behind it.
    assert [qdisc.pop().mark for _ in range(5)] == [100, 101, 3, 102, 4]


def test_a_new_flow_that_runs_empty_goes_once_through_the_old_ones_before_it_is_new_again(qdisc):
    qdisc = qdisc()
    fill(qdisc, 1, 10)
    qdisc.pop()
    qdisc.enqueue(skb_of(udp(2, size=100), 100))
    assert [qdisc.pop().mark for _ in range(2)] == [100, 1]
    assert len(qdisc.old_flows) == 2
    qdisc.enqueue(skb_of(udp(2, size=100), 101))
    assert (len(qdisc.new_flows), qdisc.new_flow_count) == (0, 2)


def index_of(make, seed, flow):
    one = make(perturbation=seed)
    fill(one, flow, 1, size=60)
    return next(iter(one.flows))


def test_flows_that_hash_alike_share_a_queue_and_lose_nothing_and_another_seed_parts_them(stack, qdisc):
    device = make_device(stack, RingDriver(), bql=False)
    make = partial(FqCodel, device.tx[0])
    by_index = {}
    for flow in range(400):
        by_index.setdefault(index_of(make, 1, flow), []).append(flow)
    one, other = next(flows[:2] for flows in by_index.values() if len(flows) > 1)
    assert any(index_of(make, seed, one) != index_of(make, seed, other) for seed in range(2, 5))
    shared = make(perturbation=1)
    for number in range(5):
        shared.enqueue(skb_of(udp(one), number))
        shared.enqueue(skb_of(udp(other), number + 100))
    assert len(shared.flows) == 1
    assert [skb.mark for skb in drain(shared)] == [0, 100, 1, 101, 2, 102, 3, 103, 4, 104]


def test_addresses_ports_and_protocol_part_flows_and_the_rest_does_not():
    from softnet.flow_dissector import flow_keys

    def keys(packet):
        return flow_keys(SkBuff.from_bytes(bytes(packet)))

    base = ETHER / IP(src="1.2.3.4", dst="5.6.7.8") / UDP(sport=1, dport=2) / Raw(b"a")
    same = (
        Ether(src="00:11:22:33:44:55", dst=MAC)
        / IP(src="1.2.3.4", dst="5.6.7.8", ttl=3, tos=7)
        / UDP(sport=1, dport=2)
        / Raw(b"bc")
    )
    assert keys(base) == keys(same) == keys(ETHER / Dot1Q(vlan=3) / base[IP])
    others = [
        ETHER / IP(src="1.2.3.5", dst="5.6.7.8") / UDP(sport=1, dport=2),
        ETHER / IP(src="1.2.3.4", dst="5.6.7.8") / UDP(sport=2, dport=1),
        ETHER / IP(src="5.6.7.8", dst="1.2.3.4") / UDP(sport=1, dport=2),
        ETHER / IP(src="1.2.3.4", dst="5.6.7.8", proto=1) / Raw(b"\0\1\0\2"),
        ETHER / IPv6(src="fd00::1", dst="fd00::2") / UDP(sport=1, dport=2),
        ETHER / ARP(),
    ]
    assert len({keys(base), *map(keys, others)}) == 7
    fragments = [ETHER / IP(src="1.2.3.4", dst="5.6.7.8", flags=f, frag=o) / UDP(sport=o, dport=2) for f, o in (("MF", 0), (0, 9))]
    assert keys(fragments[0]) == keys(fragments[1]) != keys(base)
    plain = ETHER / IPv6(src="fd00::1", dst="fd00::2") / UDP(sport=1, dport=2)
    assert keys(ETHER / IPv6(src="fd00::1", dst="fd00::2") / IPv6ExtHdrHopByHop() / UDP(sport=1, dport=2)) == keys(plain)


# --- limits ---


def test_past_the_limit_the_longest_queue_loses_from_its_head_a_batch_at_most(qdisc):
    qdisc = qdisc(limit=200)
    fat, results = fill(qdisc, 1, 190)
    assert set(results) == {NET_XMIT_SUCCESS}
    thin, results = fill(qdisc, 2, 11, size=100)
    assert results == [NET_XMIT_SUCCESS] * 11  # none of its own was dropped
    assert [skb.freed for skb in fat] == [DropReason.QDISC_OVERLIMIT] * 64 + [False] * 126
    assert not any(skb.freed for skb in thin)
    assert (qdisc.qlen, qdisc.drops, qdisc.drop_overlimit, qdisc.drop_overmemory) == (137, 64, 64, 0)
    assert qdisc.backlog == 126 * 1514 + 11 * 100
    fill(qdisc, 1, 63)
    assert qdisc.enqueue(skb_of(udp(1))) == NET_XMIT_CN  # its own flow's
    assert qdisc.qlen == 201 - 64


def test_half_of_the_longest_queue_is_dropped_at_once(qdisc):
    qdisc = qdisc(limit=10)
    fill(qdisc, 1, 11)
    assert (qdisc.drops, qdisc.qlen) == (6, 5)  # with the sixth half is reached
    assert next(iter(qdisc.flows.values())).count == 6  # and CoDel is told


def test_a_limit_of_memory_counts_what_packets_take_and_not_their_length(qdisc):
    qdisc = qdisc(memory_limit=100_000)
    skbs, _ = fill(qdisc, 1, 500, size=60)
    assert qdisc.drop_overmemory == qdisc.drop_overlimit == qdisc.drops > 0
    assert qdisc.memory_usage <= 100_000
    assert qdisc.qlen + qdisc.drops == len(skbs)
    drain(qdisc)
    assert (qdisc.memory_usage, qdisc.backlog, qdisc.qlen) == (0, 0, 0)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(60, 1514), st.integers(0, 3 * MS), st.booleans()), max_size=150))
def test_every_packet_is_sent_or_counted_and_the_lengths_are_exact(packets):
    with Stack(clock=VirtualClock(start=10**9)) as stack:
        device = make_device(stack, RingDriver(), bql=False)
        qdisc = fq_codel(device.tx[0], limit=20, target=MS, interval=5 * MS)
        skbs, sent = [], []
        for flow, size, wait, take in packets:
            skb = skb_of(udp(flow, size))
            skbs.append(skb)
            qdisc.enqueue(skb)
            stack.clock.advance(wait)
            if take and (skb := qdisc.pop()) is not None:
                sent.append(skb)
            qdisc.free_dropped()
            waiting = [entry[0] for queue in qdisc.flows.values() for entry in queue.packets]
            assert (qdisc.qlen, qdisc.backlog) == (len(waiting), sum(map(len, waiting)))
            assert qdisc.backlog == sum(queue.backlog for queue in qdisc.flows.values())
            assert len(skbs) == len(sent) + qdisc.qlen + qdisc.drops
        assert sum(skb.freed is not False for skb in skbs) == qdisc.drops
        assert qdisc.drops == qdisc.codel.stats.drop_count + qdisc.drop_overlimit


def test_a_reset_empties_it_and_forgets_its_flows(qdisc):
    qdisc = qdisc()
    skbs = fill(qdisc, 1, 5)[0] + fill(qdisc, 2, 5)[0]
    qdisc.pop()
    assert qdisc.reset() == 9
    assert [skb.freed for skb in skbs].count(DropReason.QDISC_REMOVED) == 9
    assert (qdisc.qlen, qdisc.backlog, qdisc.memory_usage, qdisc.pop()) == (0, 0, 0, None)
    assert qdisc.xstats[1] == "new_flows_len 0 old_flows_len 0"
    fill(qdisc, 1, 1)
    assert len(drain(qdisc)) == 1


@pytest.mark.parametrize("options", [{"flows": 0}, {"flows": 65537}, {"quantum": 1 << 21}, {"drop_batch": 0}, {"interval": 0}])
def test_options_that_cannot_be_are_refused(qdisc, options):
    with pytest.raises(OSError, match=next(iter(options))) as caught:
        qdisc(**options)
    assert caught.value.errno == errno.EINVAL


def test_its_parameters_read_as_tcs(qdisc):
    assert qdisc().options == ("limit 10240p flows 1024 quantum 1514 target 5ms interval 100ms memory_limit 32Mb ecn drop_batch 64")
    other = qdisc(ecn=False, ce_threshold=999_000, target=1500_000, interval=1500 * MS, memory_limit=4096, quantum=1)
    assert other.options == (
        "limit 10240p flows 1024 quantum 256 target 1.5ms ce_threshold 999us interval 1.5s memory_limit 4Kb drop_batch 64"
    )
