"""fq_codel against RFC 8290 and RFC 8289 on a slow wire, under a virtual clock."""

from statistics import mean, median

import pytest
from codel_queues import MS, fq_codel, udp
from drivers import RingDriver, make_device

from fastring.clock import VirtualClock
from softnet import NETDEV_TX_OK, SkBuff, Stack, dev_queue_xmit

pytestmark = pytest.mark.breaks_rules(10)  # the wire goes on without its device

RATE = 10_000_000  # bit/s of the slow wire: 1.2 ms for a full packet
PACKET_TIME = 1514 * 8 * 10**9 // RATE


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
