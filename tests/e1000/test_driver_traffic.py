"""The driver's data path with a real card: every packet offered is delivered or dropped by name, and all memory comes back."""

import random
from contextlib import suppress
from itertools import pairwise

import pytest
from cards import RS, RecordingSink, packet

from e1000 import regs
from fastring.burst import Burst, BurstSink, RepeatSource

FAR = bytes.fromhex("520000000002")
DRV_XOFF, STACK_XOFF = 1, 2


def mixed(count, *, longest=1514, seed=0):
    rng = random.Random(seed)
    return [packet(rng.choice([60, 61, 1500, longest, rng.randint(60, longest)]), to=FAR, seed=i) for i in range(count)]


def send_some(two, packets, patience=0.05):
    """Offer packets until the queue makes no progress; returns how many were accepted."""
    sender = two.near.transmitter()
    burst = packets if isinstance(packets, Burst) else Burst.from_packets(packets)
    with suppress(TimeoutError):
        sender.send(burst, patience=patience)
    two.offered += sender.packets
    return sender.packets


class Held:
    """The far card keeps its descriptors to itself, so that the lossless cable takes nothing; `let_go` undoes it."""

    def __init__(self, two):
        self.card = two.cards[1]
        self.tail = self.card.read(regs.RDT)
        self.card.write(regs.RDT, self.card.read(regs.RDH))

    def let_go(self):
        self.card.write(regs.RDT, self.tail)


# --- end to end ---


@pytest.mark.parametrize("size", [80, 88, 256, 1024, 4096])
@pytest.mark.parametrize("side", ["tx_descriptors", "rx_descriptors"])
def test_traffic_arrives_in_order_through_rings_of_every_size(two_cards, side, size):
    two = two_cards(memory_size=1 << 28, **{side: size})
    sent = mixed(3 * size)
    assert two.send(sent) == len(sent)
    assert two.sink.packets == sent
    assert not two.drops
    assert two.near.stats64.tx_bytes == two.far.stats64.rx_bytes == sum(map(len, sent))


@pytest.mark.parametrize("mtu", [46, 100, 1500, 2030, 2031, 4078, 4079, 8174, 8175, 9000, 16110])
def test_the_longest_frame_of_every_mtu_arrives_and_one_byte_more_is_dropped(two_cards, mtu):
    two = two_cards(mtu=mtu, tx_descriptors=80, rx_descriptors=80)
    tagged = packet(mtu + 18, to=FAR, ethertype=0x8100)
    sent = [packet(max(60, mtu + 14), to=FAR), packet(60, to=FAR), packet(max(60, mtu + 14) - 1, to=FAR)]
    sent = [p for p in sent if len(p) <= mtu + 18] + [tagged]
    two.send([*sent, packet(mtu + 19, to=FAR)])
    assert two.sink.packets == [p.ljust(60, b"\0") for p in sent]
    assert two.drops == {"near_tx_dropped": 1}


@pytest.mark.parametrize("mtu", [9000, 16110])
def test_jumbo_frames_arrive_byte_for_byte(two_cards, mtu):
    two = two_cards(mtu=mtu)
    sent = mixed(600, longest=mtu + 14)
    assert two.send(sent) == 600
    assert two.sink.packets == sent
    assert not two.drops


def test_traffic_goes_both_ways_at_once(two_cards):
    two = two_cards()
    two.near.stop()
    back = two.near.sink = RecordingSink()
    two.near.open()
    there, here = mixed(500, seed=1), mixed(500, seed=2)
    for i in range(0, 500, 50):
        two.send(there[i : i + 50], run=False)
        two.far.xmit(Burst.from_packets(here[i : i + 50]))
    two.stack.run()
    assert two.sink.packets == there
    assert back.packets == here


@pytest.mark.parametrize("bql", [True, False])
@pytest.mark.parametrize("rs_every", [1, 2, 7, 32, 1000])
def test_packets_complete_whatever_the_distance_between_reports(two_cards, bql, rs_every):
    two = two_cards(bql=bql, rs_every=rs_every)
    sent = mixed(900)
    two.send(sent)
    assert two.sink.packets == sent
    assert two.near.netdev_ops.tx.in_flight == 0
    assert two.near.stats64.tx_packets == 900


@pytest.mark.parametrize(("rs_every", "expected"), [(1, 20), (7, 3), (20, 1), (1000, 1)])
def test_status_is_asked_for_every_so_many_packets_and_on_the_last(two_cards, rs_every, expected):
    two = two_cards(bql=False, rs_every=rs_every)
    two.send(mixed(20), run=False)
    ring = two.near.netdev_ops.tx.iova
    words = [int.from_bytes(two.memory.addresses.read(ring + 16 * i + 8, 8), "little") for i in range(20)]
    assert sum(bool(word & RS) for word in words) == expected
    assert words[-1] & RS


def test_the_same_input_gives_the_same_interrupts_and_counters(two_cards):
    def run():
        two = two_cards()
        two.send(mixed(700))
        near, far = two.near.netdev_ops.napi, two.far.netdev_ops.napi
        return (near.interrupts, far.interrupts, far.polls, two.near.txq.stops, two.near.txq.limit)

    assert run() == run()


# --- bounce and mapped ---


def test_packets_without_a_bus_address_are_copied_and_mapped_ones_are_not(two_cards):
    two = two_cards()
    two.send(mixed(10))
    assert two.near.netdev_ops.tx.bounced == 10
    content = packet(1000, to=FAR) + packet(700, to=FAR)
    iova = two.memory.map(content)
    two.send(Burst.from_mapped(content, iova=iova, offsets=[0, 1000], lengths=[1000, 700]))
    assert two.near.netdev_ops.tx.bounced == 10
    assert two.sink.packets[10:] == [content[:1000], content[1000:]]


def test_a_mapped_packet_is_read_where_it_lies_when_it_is_sent(two_cards):
    two = two_cards()
    content = bytearray(packet(200, to=FAR))
    iova = two.memory.map(content)
    held = Held(two)
    two.send(Burst.from_mapped(content, iova=iova, offsets=[0], lengths=[200]), run=False)
    content[100] ^= 0xFF
    held.let_go()
    two.stack.run()
    assert two.sink.packets == [bytes(content)]


def test_a_mapped_packet_that_is_mapped_no_more_is_lost_at_the_card(two_cards):
    two = two_cards()
    content = packet(200, to=FAR)
    iova = two.memory.map(content)
    burst = Burst.from_mapped(content, iova=iova, offsets=[0], lengths=[200])
    two.memory.unmap(iova)
    two.send(burst)
    assert two.drops == {"near_tx_dma": 1}


# --- scatter-gather ---


@pytest.mark.parametrize("pieces", [1, 2, 17, 18, 19, 40])
def test_a_packet_of_up_to_18_pieces_is_sent_and_of_more_dropped_and_counted(two_cards, pieces):
    two = two_cards()
    content = packet(1000, to=FAR)
    size = len(content) // pieces
    cut = [content[size * i : size * (i + 1) if i < pieces - 1 else None] for i in range(pieces)]
    assert two.send([cut, packet(60, to=FAR), cut, cut]) == 4
    fits = pieces <= 18
    assert two.sink.packets == ([content, packet(60, to=FAR), content, content] if fits else [packet(60, to=FAR)])
    assert two.drops == ({} if fits else {"near_tx_dropped": 3})
    assert two.near.netdev_ops.tx.bounced == (3 * pieces * fits + 1)


@pytest.mark.parametrize("size", [80, 256])
def test_packets_in_pieces_keep_whole_and_in_order_around_the_ring(two_cards, size):
    two = two_cards(tx_descriptors=size, rs_every=3)
    rng = random.Random(6)
    sent = []
    for content in mixed(400):
        edges = [0, *sorted(rng.sample(range(1, len(content)), rng.randint(0, 17))), len(content)]
        sent.append([content[a:b] for a, b in pairwise(edges)])
    two.send(sent)
    assert two.sink.packets == mixed(400)
    assert two.near.stats64.tx_bytes == sum(map(len, mixed(400)))
    assert two.near.netdev_ops.tx.busy == 0


# --- flow control ---


def test_a_full_ring_stops_the_queue_before_it_is_busy_and_completions_wake_it(two_cards):
    two = two_cards(bql=False, tx_descriptors=80)
    held = Held(two)
    sent = mixed(200)
    accepted = send_some(two, sent)
    tx, queue = two.near.netdev_ops.tx, two.near.txq
    assert queue.state == DRV_XOFF
    assert 79 - 24 < accepted <= 79
    assert tx.in_flight == accepted
    assert (tx.busy, queue.requeues) == (0, 0)
    held.let_go()
    two.stack.run()
    assert not queue.xmit_stopped
    assert queue.wakes == 1
    two.send(sent[accepted:])
    assert two.sink.packets == sent


@pytest.mark.parametrize(("wake", "goes_on"), [(34, True), (50, True), (51, False), (4095, False)])
def test_a_stopped_queue_goes_on_from_as_much_room_as_was_asked_for_or_when_it_is_empty(two_cards, wake, goes_on):
    two = two_cards(bql=False, tx_descriptors=80, rs_every=1, tx_wake=wake)
    held, tx, queue = Held(two), two.near.netdev_ops.tx, two.near.txq
    sent = [packet(60, to=FAR, seed=number) for number in range(100)]
    accepted = send_some(two, sent)
    assert queue.state == DRV_XOFF
    enabled = held.card.read(regs.IMS)
    held.card.write(regs.IMC, enabled)  # nobody polls there, and gives back what was received
    held.card.write(regs.RDT, held.card.read(regs.RDH) + 50 - tx.unused_descriptors)
    two.stack.run()
    assert tx.unused_descriptors == 50
    assert queue.xmit_stopped == (not goes_on)
    held.let_go()
    held.card.write(regs.IMS, enabled)
    two.stack.run()
    assert not queue.xmit_stopped
    two.send(sent[accepted:])
    assert two.sink.packets == sent


@pytest.mark.breaks_rules(3)  # the test wakes it
def test_a_queue_woken_without_room_is_busy_and_the_packets_stay_the_callers(two_cards):
    two = two_cards(bql=False, tx_descriptors=80)
    held = Held(two)
    sent = mixed(200)
    accepted = send_some(two, sent)
    two.near.txq.start()                            # a false wake
    assert send_some(two, sent[accepted:]) == 0
    assert two.near.netdev_ops.tx.busy > 0
    assert two.near.txq.requeues > 0
    assert two.near.netdev_ops.tx.in_flight == accepted
    held.let_go()
    two.stack.run()
    two.near.txq.start()
    two.send(sent[accepted:])
    assert two.sink.packets == sent


def test_byte_queue_limits_stop_the_queue_long_before_the_ring_is_full(two_cards):
    two = two_cards(bql=True, tx_descriptors=4096, memory_size=1 << 28)
    held = Held(two)
    sent = mixed(3000)
    sender = two.near.transmitter(burst_size=16)
    with pytest.raises(TimeoutError):
        sender.play(RepeatSource(Burst.from_packets(sent), packets=3000), patience=0.01)
    accepted = sender.packets
    two.offered += accepted
    assert two.near.txq.state == STACK_XOFF
    assert accepted < 1000
    assert two.near.txq.inflight == sum(map(len, sent[:accepted]))
    held.let_go()
    two.stack.run()
    assert two.near.txq.inflight == 0
    two.send(sent[accepted:])
    assert two.sink.packets == sent


def test_without_bql_no_bytes_are_counted(two_cards):
    two = two_cards(bql=False)
    two.send(mixed(300))
    assert two.near.txq.bql_stops == two.near.txq.inflight == two.near.txq.limit == 0


@pytest.mark.parametrize("bql", [True, False])
@pytest.mark.parametrize("count", [1, 30, 500])
def test_packets_in_flight_at_stop_are_given_up_and_counted(two_cards, bql, count):
    two = two_cards(bql=bql)
    held = Held(two)
    accepted = send_some(two, mixed(count))
    two.near.stop()
    assert two.drops == {"near_tx_errors": accepted}
    assert two.near.stats64.tx_packets == 0
    held.let_go()
    two.stack.run()
    assert two.sink.packets == []
    two.near.open()
    assert not two.near.txq.xmit_stopped
    assert two.near.txq.inflight == 0
    two.send(mixed(100))
    assert two.sink.packets == mixed(100)


def test_packets_sent_but_not_yet_cleaned_at_stop_are_completed_and_not_given_up(two_cards):
    two = two_cards()
    two.send(mixed(5), run=False)
    two.near.stop()
    two.stack.run()
    assert two.near.stats64.tx_packets == 5
    assert not two.drops
    assert two.sink.packets == mixed(5)


def test_frames_received_but_not_polled_at_stop_are_given_up_and_counted(two_cards):
    two = two_cards(mtu=9000)
    two.wires[1].inject(Burst.from_packets([*mixed(4), packet(9000, to=FAR)]))
    two.offered += 5
    two.far.stop()
    assert two.drops == {"far_rx_dropped": 5}


# --- the receiver ---


def test_a_lossy_cable_loses_what_neither_ring_nor_fifo_holds_and_counts_it(two_cards):
    two = two_cards(lossless=False, rx_descriptors=80, bql=False)
    # The far end is not polled while 2000 frames arrive: its interrupt line is not serviced
    two.stack.softirq.remove_irq(two.buses[1].irq)
    sent = mixed(2000)
    two.send(sent)
    two.stack.softirq.add_irq(two.buses[1].irq)
    two.stack.run()
    order = [sent.index(p) for p in two.sink.packets]
    assert order == sorted(set(order))
    missed = two.drops["far_rx_missed"]
    assert two.drops == {"far_rx_missed": missed}
    assert missed == two.far.stats64.rx_missed_errors == 2000 - len(two.sink.packets)
    assert 79 < len(two.sink.packets) < 2000


def test_a_sink_that_fails_drops_its_burst_and_counts_every_packet(two_cards):
    class Broken(BurstSink):
        def on_burst(self, burst):
            raise OSError("full")

    two = two_cards()
    two.far.sink = None
    two.far.stop()
    two.far.sink = Broken()
    two.far.open()
    two.send(mixed(30))
    assert two.drops == {"far_rx_dropped": 30}


def test_without_a_sink_packets_go_to_the_stack_and_those_that_nobody_wants_are_counted(two_cards):
    two = two_cards()
    two.far.stop()
    two.far.sink = None
    two.far.open()
    seen = []
    two.far.taps.append(lambda skb, device: seen.append(bytes(skb)))
    two.send(mixed(300))
    two.far.taps.clear()
    assert seen == [packet[14:] for packet in mixed(300)]
    two.send(mixed(300))
    assert (two.far.stats64.rx_packets, two.far.stats64.rx_dropped) == (600, 300)
    two.offered -= 300  # that the tap has


def test_received_packets_carry_the_clocks_time(two_cards):
    two = two_cards()
    two.clock.set_time(10**18)
    two.send(mixed(3))
    two.clock.advance(5)
    two.send(mixed(2))
    assert two.sink.times == [10**18] * 3 + [10**18 + 5] * 2


def test_frames_for_others_are_received_only_while_promiscuous(two_cards):
    two = two_cards()
    stranger = packet(100, to=b"\2abcde")
    two.send([stranger])
    two.far.stop()
    two.far.promiscuous = False
    two.far.open()
    two.send([stranger, packet(100, to=b"\xff" * 6), packet(100, to=two.far.dev_addr)])
    assert two.sink.packets == [stranger, packet(100, to=b"\xff" * 6), packet(100, to=two.far.dev_addr)]
    assert two.drops == {"far_rx_filtered": 1}


@pytest.mark.parametrize("weight", [1, 3, 64, 1000])
def test_every_poll_weight_delivers_everything(two_cards, weight):
    two = two_cards(weight=weight)
    sent = mixed(400)
    two.send(sent)
    assert two.sink.packets == sent
    assert two.far.netdev_ops.napi.overruns == 0


def test_padding_added_by_the_card_is_seen_by_the_receiver_and_counted(two_cards):
    two = two_cards()
    two.send([packet(n, to=FAR) for n in (14, 30, 59, 60)])
    assert two.sink.packets == [packet(n, to=FAR).ljust(60, b"\0") for n in (14, 30, 59, 60)]
    assert two.cards[0].padding == (3, 46 + 30 + 1)

