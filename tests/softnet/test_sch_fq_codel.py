"""fq_codel against RFC 8290 and RFC 8289: on a slow wire under a virtual clock, and by hand."""

import errno
import math
from functools import cache, partial
from statistics import mean, median

import pytest
from drivers import RingDriver, make_device
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6, IPv6ExtHdrHopByHop
from scapy.layers.l2 import ARP, Dot1Q, Ether
from scapy.packet import Raw

from fastring.checksum import checksum
from fastring.clock import VirtualClock
from softnet import NETDEV_TX_OK, DropReason, SkBuff, Stack, dev_queue_xmit
from softnet.inet_ecn import inet_ecn_set_ce
from softnet.sch_fq_codel import FqCodel
from softnet.sch_generic import NET_XMIT_CN, NET_XMIT_SUCCESS

MS = 1_000_000
RATE = 10_000_000  # bit/s of the slow wire: 1.2 ms for a full packet
MAC = "52:54:00:00:00:09"
ETHER = Ether(src="52:54:00:00:00:01", dst="52:54:00:00:00:02")
PACKET_TIME = 1514 * 8 * 10**9 // RATE


@pytest.fixture
def stack():
    with Stack(clock=VirtualClock(start=10**9)) as stack:
        yield stack


@cache
def udp(flow, size=1514, tos=0, ip=IP):
    header = ETHER / IP(src="10.0.0.1", dst="10.0.0.2", tos=tos) if ip is IP else ETHER / IPv6(src="fd00::1", dst="fd00::2", tc=tos)
    packet = header / UDP(sport=1000 + flow, dport=53)
    return bytes(packet / Raw(bytes(size - len(packet))))


class SlowWire(RingDriver):
    """Sends one packet at a time, at `rate` bit/s; `delivered`: (what, when it came to the queue, when it had left)."""

    start_at = 1

    def __init__(self, rate=RATE):
        super().__init__(2)
        self.rate = rate
        self.delivered = []
        self.on_delivered = lambda skb: None

    def start_xmit(self, skb, device):
        result = super().start_xmit(skb, device)
        if result == NETDEV_TX_OK and len(self.ring) == 1:
            self.begin()
        return result

    def begin(self):
        self.device.stack.clock.call_later(len(self.ring[0]) * 8 * 10**9 // self.rate, self.end)

    def end(self):
        skb = self.ring[0]
        self.delivered.append((skb.mark, skb.tstamp, self.device.stack.clock.monotonic_ns(), len(skb)))
        skb.get()
        self.complete(1)
        self.on_delivered(skb)
        skb.consume()
        if self.ring:
            self.begin()


class Host:
    """A device with `qdisc_class` over a slow wire, and packets that are sent at their times."""

    def __init__(self, stack, qdisc_class, rate=RATE):
        self.stack, self.driver = stack, SlowWire(rate)
        self.device = make_device(stack, self.driver, bql=False)
        self.device.stop()
        self.device.qdisc_class = qdisc_class
        self.device.open()

    @property
    def qdisc(self):
        return self.device.tx[0].qdisc

    def send(self, flow, size=1514, tos=0, destructor=None):
        skb = SkBuff.from_bytes(udp(flow, size, tos), dev=self.device)
        skb.mark, skb.tstamp, skb.destructor = flow, self.stack.clock.monotonic_ns(), destructor
        return dev_queue_xmit(skb)

    def offer(self, flow, every, **options):
        """Send one packet each so many ns, for ever."""

        def again():
            self.send(flow, **options)
            self.stack.clock.call_later(every, again)

        again()

    def run(self, ns):
        clock = self.stack.clock
        end = clock.monotonic_ns() + ns
        while clock.next_deadline is not None and clock.next_deadline <= end:
            clock.advance(clock.next_deadline - clock.monotonic_ns())
            self.stack.run()
        clock.advance(end - clock.monotonic_ns())

    def delays(self, flow, since=0):
        return [left - came for mark, came, left, _ in self.driver.delivered if mark == flow and came >= since]


fq_codel = partial(FqCodel, perturbation=1)


# --- on a slow wire ---


def sparse_beside_bulk(stack, qdisc_class):
    host = Host(stack, qdisc_class)
    host.offer(1, PACKET_TIME // 2)  # twice what the wire takes
    host.offer(2, 20 * MS, size=100)
    host.run(3000 * MS)
    return host


def test_a_sparse_flow_waits_little_more_than_one_packet_beside_a_bulk_flow(stack):
    host = sparse_beside_bulk(stack, fq_codel)
    delays = host.delays(2)
    assert len(delays) >= 149
    assert max(delays) <= 2 * PACKET_TIME + 100 * 8 * 10**9 // RATE  # one on the wire, one in the ring, itself
    assert mean(host.delays(1)[-100:]) > 50 * MS  # who does not listen has a queue of its own


def test_without_fair_queueing_it_waits_for_all_of_the_bulk(stack):
    host = sparse_beside_bulk(stack, None)
    assert max(host.delays(2)) > 500 * PACKET_TIME


class Aimd:
    """A sender with a window, as TCP's: one packet more each round trip, half after a loss or mark, told a round trip later."""

    def __init__(self, host, flow, window, rtt=20 * MS, tos=0):
        self.host, self.flow, self.window, self.rtt, self.tos = host, flow, window, rtt, tos
        self.in_flight = self.lost = self.marked = 0
        self.cut_at = 0
        host.driver.on_delivered = self.arrived
        self.fill()

    def fill(self):
        while self.in_flight < int(self.window):
            self.in_flight += 1
            self.host.send(self.flow, tos=self.tos, destructor=self.freed)

    def later(self, call):
        self.host.stack.clock.call_later(self.rtt, call)

    def arrived(self, skb):
        self.later(self.told_of_mark if self.tos and skb.data[15] & 3 == 3 else self.acknowledged)

    def freed(self, skb):
        if skb.freed is not True:
            self.lost += 1
            self.later(self.cut)

    def acknowledged(self):
        self.in_flight -= 1
        self.window += 1 / self.window
        self.fill()

    def told_of_mark(self):
        self.marked += 1
        self.cut()

    def cut(self):
        self.in_flight -= 1
        now = self.host.stack.clock.monotonic_ns()
        if now - self.cut_at > 2 * self.rtt:
            self.window, self.cut_at = max(2, self.window / 2), now
        self.fill()


@pytest.mark.parametrize("tos", [0, 2])
def test_the_standing_queue_of_a_bulk_flow_goes_down_to_about_the_target_in_a_few_intervals(stack, tos):
    host = Host(stack, fq_codel)
    sender = Aimd(host, 1, window=100, tos=tos)
    host.run(50 * MS)
    assert host.delays(1)[-1] > 40 * MS
    start = stack.clock.monotonic_ns()
    host.run(4000 * MS)
    delays = host.delays(1, since=start + 1000 * MS)
    assert median(delays) < 2 * 5 * MS + 2 * PACKET_TIME
    bits = sum(size * 8 for _, _, left, size in host.driver.delivered if left > start)
    assert bits / 4 > 0.9 * RATE  # and the wire is kept busy
    stats = host.qdisc.codel.stats
    if tos:
        assert (sender.lost, stats.drop_count) == (0, 0)
        assert 0 < sender.marked <= stats.ecn_mark
    else:
        assert (stats.ecn_mark, stats.drop_count) == (0, sender.lost)
        assert sender.lost > 0


def test_without_codel_the_standing_queue_stays(stack):
    host = Host(stack, None)
    Aimd(host, 1, window=100)
    host.run(3000 * MS)
    assert median(host.delays(1)[-500:]) > 80 * MS


def test_flows_share_the_wire_evenly_whatever_their_packets_sizes_are(stack):
    host = Host(stack, fq_codel)
    sizes = [200, 1514, 700, 1514, 400, 1000, 1514, 1200]
    for flow, size in enumerate(sizes):
        host.offer(flow, PACKET_TIME * size // 1514 // 2, size=size)
    host.run(500 * MS)
    start = len(host.driver.delivered)
    host.run(2000 * MS)
    share = [sum(size for mark, _, _, size in host.driver.delivered[start:] if mark == flow) for flow in range(len(sizes))]
    assert max(share) / min(share) < 1.03


def test_two_runs_are_the_same(stack):
    results = []
    for _ in range(2):
        with Stack(clock=VirtualClock(start=10**9)) as own:
            host = sparse_beside_bulk(own, fq_codel)
            results.append((host.driver.delivered, host.qdisc.xstats, repr(host.qdisc)))
    assert results[0] == results[1]


# --- CoDel, by hand ---


@pytest.fixture
def qdisc(stack):
    """A qdisc that nobody runs: qdisc(limit=...) -> FqCodel."""

    def make(**options):
        device = make_device(stack, RingDriver(), bql=False)
        device.txq.stop()
        return fq_codel(device.tx[0], **options)

    return make


def skb_of(content, mark=0):
    skb = SkBuff.from_bytes(content)
    skb.mark = mark
    return skb


def fill(qdisc, flow, count, **options):
    skbs = [skb_of(udp(flow, **options), i) for i in range(count)]
    return skbs, [qdisc.enqueue(skb) for skb in skbs]


def drain(qdisc):
    skbs = []
    while (skb := qdisc.pop()) is not None:
        skbs.append(skb)
    qdisc.free_dropped()
    return skbs


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
