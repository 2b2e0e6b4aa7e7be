"""copybreak: small packets are copied out of their buffers, which stay in the receive ring."""

import pytest
from cards import RecordingSink, packet

from fastring.burst import BurstSink

FAR, NEAR = bytes.fromhex("520000000002"), bytes.fromhex("520000000001")


class Watching(BurstSink):
    """Keeps the packets, and of each burst how many buffers were out of the pool for it."""

    def __init__(self, two):
        self.two, self.packets, self.out = two, [], []

    def on_burst(self, burst):
        pool = self.two.far.netdev_ops.rx.pool
        self.out.append(self.at_rest - pool.available)
        self.packets += list(burst)


def watched(two_cards, **options):
    two = two_cards(**options)
    two.far.stop()
    two.sink = two.far.sink = Watching(two)
    two.far.open()
    two.sink.at_rest = two.far.netdev_ops.rx.pool.available
    return two


def of_sizes(*sizes):
    return [packet(size, to=FAR, seed=number) for number, size in enumerate(sizes)]


@pytest.mark.parametrize("copybreak", [1, 60, 256, 2048])
@pytest.mark.parametrize("size", [80, 256])
def test_traffic_of_all_sizes_arrives_in_order(two_cards, copybreak, size):
    two = two_cards(copybreak=copybreak, rx_descriptors=size)
    sent = of_sizes(*(60 + number * 37 % 1455 for number in range(1000)), *([60] * 500), *([1514] * 500))
    for first in range(0, len(sent), 50):
        two.send(sent[first : first + 50])
    assert two.sink.packets == sent


def test_so_do_packets_longer_than_a_buffer_among_small_ones(two_cards):
    two = two_cards(copybreak=256, mtu=16110, rx_descriptors=80)
    sent = of_sizes(60, 9000, 256, 16124, 257, 60, 16124, 60)
    for _ in range(30):
        two.send(sent)
    assert two.sink.packets == sent * 30


def test_a_small_packet_takes_no_buffer_along_and_one_that_is_a_byte_longer_does(two_cards):
    two = watched(two_cards, copybreak=100)
    for sizes in ((60,) * 7, (100,) * 7, (101,) * 7, (60, 101, 60)):
        two.send(of_sizes(*sizes))
    assert two.sink.out == [0, 0, 6, 1]     # of seven, one is made up for by that of the descriptor which had stayed free


def test_by_default_every_packet_takes_its_buffer_along(two_cards):
    two = watched(two_cards)
    two.send(of_sizes(60, 60, 1514))
    assert two.sink.out == [3]


def test_small_packets_go_on_without_any_buffer_to_spare(two_cards):
    two = two_cards(copybreak=256, rx_descriptors=80)
    ring = two.far.netdev_ops.rx
    spare = [ring.pool.take() for _ in range(ring.pool.available)]
    sent = of_sizes(*([200] * 70))
    for _ in range(10):
        two.send(sent)
    assert two.sink.packets == sent * 10
    assert ring.alloc_failed == 0
    for buffer in spare:
        ring.pool.put(buffer)


def test_a_pool_that_runs_dry_leaves_the_ring_those_buffers_that_stayed(two_cards):
    two = two_cards(copybreak=256, rx_descriptors=80)
    ring = two.far.netdev_ops.rx
    kept = []

    class Keeping(RecordingSink):
        def on_burst(self, burst):
            super().on_burst(burst)
            while ring.pool.available:
                kept.append(ring.pool.take())       # so that what this burst gives back is all there is

    two.far.stop()
    packets, two.sink = two.sink.packets, Keeping()
    two.sink.packets = packets
    two.far.sink = two.sink
    two.far.open()
    ring = two.far.netdev_ops.rx
    sent = of_sizes(*([60, 1000] * 200))
    for first in range(0, len(sent), 40):
        two.send(sent[first : first + 40])
    assert two.sink.packets == sent
    for buffer in kept:
        ring.pool.put(buffer)


def test_a_copied_packet_can_be_sent_on_and_not_be_kept(two_cards):
    two = two_cards(copybreak=256)
    refused = []

    class Echo(BurstSink):
        def on_burst(self, burst):
            with pytest.raises(BufferError, match="valid until the sink"):
                burst.view()
            refused.append(len(burst))
            assert two.far.xmit(burst) == len(burst)

    back = RecordingSink()
    for device, sink in ((two.far, Echo()), (two.near, back)):
        device.stop()
        device.sink = sink
        device.open()
    two.sink = back
    sent = of_sizes(60, 256, 257, 1514, 60)
    two.send(sent)
    two.stack.run()
    assert back.packets == sent
    assert sum(refused) == 5
