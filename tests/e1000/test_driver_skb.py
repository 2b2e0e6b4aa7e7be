"""The driver's start_xmit: stop and wake, byte limit, doorbell, and the end of every packet, whatever happens to card and driver."""

import threading
import time

import pytest
from cards import BareCard, RecordingWire, TwoCards, packet, start_xmit
from offloads import in_pieces, wanting
from scapy.layers.inet import IP, TCP
from scapy_packets import Layout, body

from e1000 import regs
from e1000.device import DeviceThread
from e1000.driver import probe
from fastring.clock import MonotonicClock
from softnet import DropReason, NetdevTx, SkBuff, Stack, dev_queue_xmit

FAR = bytes.fromhex("520000000002")
DRV_XOFF = 1


def skbs(two, count, *, length=200):
    return [SkBuff.from_bytes(packet(length, to=FAR, seed=i), dev=two.near) for i in range(count)]


def give(two, packets):
    """Hand packets to the driver as long as the queue is awake, one by one; returns those it took."""
    taken = []
    for skb in packets:
        if two.near.txq.xmit_stopped:
            break
        assert start_xmit(skb, two.near) == NetdevTx.OK
        taken.append(skb)
    two.offered += len(taken)
    return taken


def hold(two):
    """The transmitter stands still; returns what lets it go on."""
    card, control = two.cards[0], two.cards[0].read(regs.TCTL)
    card.write(regs.TCTL, control & ~regs.TCTL_EN)
    return lambda: (card.write(regs.TCTL, control), two.stack.run())


def test_a_packet_is_consumed_when_it_has_been_sent_and_not_before(two_cards):
    two = two_cards(bql=False)
    go_on = hold(two)
    told = []
    sent = skbs(two, 3)
    sent[1].destructor = told.append
    give(two, sent)
    two.stack.run()
    assert [skb.freed for skb in sent] == [False] * 3
    go_on()
    assert [skb.freed for skb in sent] == [True] * 3
    assert told == [sent[1]]
    assert two.sink.packets == [packet(200, to=FAR, seed=i) for i in range(3)]


@pytest.mark.parametrize("bql", [False, True])
def test_the_queue_stops_in_advance_and_is_woken_when_there_is_room(two_cards, bql):
    two = two_cards(bql=bql, tx_descriptors=80)
    tx, queue = two.near.netdev_ops.tx, two.near.txq
    go_on = hold(two)
    taken = give(two, skbs(two, 100))
    if bql:
        assert (len(taken), queue.inflight) == (1, 200)
    else:
        assert (len(taken), tx.unused_descriptors, queue.state) == (56, 23, DRV_XOFF)
    go_on()
    assert (queue.xmit_stopped, queue.inflight, tx.busy, tx.in_flight) == (False, 0, 0, 0)
    assert len(two.sink.packets) == len(taken)


@pytest.mark.breaks_rules(2, 3)  # the test is the liar
def test_busy_is_only_for_a_queue_that_lied_and_leaves_the_packet_its_callers(two_cards):
    two = two_cards(bql=False, tx_descriptors=80)
    tx = two.near.netdev_ops.tx
    go_on = hold(two)
    give(two, skbs(two, 56))
    assert tx.unused_descriptors == 23
    two.near.txq.start()  # the lie
    small, large = skbs(two, 1)[0], in_pieces(packet(1000, to=FAR), [*range(50, 900, 50)])
    while tx.unused_descriptors >= 2:
        give(two, skbs(two, 1))
        two.near.txq.start()
    for skb in (small, large):
        assert start_xmit(skb, two.near) == NetdevTx.BUSY
        assert (skb.freed, skb.users, two.near.txq.xmit_stopped) == (False, 1, True)
        two.near.txq.start()
    assert tx.busy == 2
    go_on()
    assert not two.near.txq.xmit_stopped
    assert len(give(two, [small, large])) == 2
    two.stack.run()
    assert two.sink.packets[-1] == packet(1000, to=FAR)


def test_everything_given_to_the_stack_arrives_in_order_through_a_small_ring(two_cards):
    two = two_cards(tx_descriptors=80)
    go_on = hold(two)
    sent = skbs(two, 500)
    two.offered += 500
    for skb in sent:
        assert dev_queue_xmit(skb) == 0
    go_on()
    assert two.sink.packets == [packet(200, to=FAR, seed=i) for i in range(500)]
    assert {skb.freed for skb in sent} == {True}
    assert (two.near.netdev_ops.tx.busy, two.near.txq.requeues) == (0, 0)


def test_the_doorbell_waits_for_the_last_of_several_packets_and_not_if_the_queue_stops(two_cards):
    two = two_cards(bql=False, tx_descriptors=80)
    card, packets = two.cards[0], skbs(two, 60)
    for skb in packets:
        skb.xmit_more = True
    give(two, packets[:10])
    assert card.peek(regs.TDT) == 0
    packets[10].xmit_more = False
    give(two, packets[10:11])
    assert card.peek(regs.TDT) == 11
    two.stack.run()
    go_on = hold(two)
    taken = give(two, packets[11:] + skbs(two, 20, length=100))
    assert (two.near.txq.state, card.peek(regs.TDT)) == (DRV_XOFF, 11 + len(taken))
    go_on()
    assert len(two.sink.packets) == 11 + len(taken)


def test_the_doorbell_is_rung_for_packets_that_wait_when_the_next_is_dropped_or_refused(two_cards):
    two = two_cards(bql=False, tx_descriptors=80)
    card, (first, second) = two.cards[0], skbs(two, 2)
    first.xmit_more = second.xmit_more = True
    give(two, [first])
    bad = SkBuff.from_bytes(b"", dev=two.near)
    give(two, [bad])
    assert (card.peek(regs.TDT), bad.freed) == (1, DropReason.PKT_TOO_SMALL)
    give(two, [second])
    hold(two)
    assert card.peek(regs.TDT) == 1
    two.send([packet(300, to=FAR)], run=False)
    assert card.peek(regs.TDT) == 3


def test_bursts_and_packets_share_the_ring_in_order(two_cards):
    two = two_cards(bql=False)
    expected = []
    for i in range(30):
        give(two, [SkBuff.from_bytes(packet(100, to=FAR, seed=i), dev=two.near)])
        two.send([packet(150, to=FAR, seed=i)] * 3, run=i % 7 == 0)
        expected += [packet(100, to=FAR, seed=i)] + [packet(150, to=FAR, seed=i)] * 3
    two.stack.run()
    assert two.sink.packets == expected
    assert two.near.stats64.tx_packets == 120


# --- its end, when things go wrong ---


@pytest.mark.parametrize("how", ["stop", "reset", "unregister"])
def test_packets_in_flight_are_dropped_with_their_memory_when_the_device_goes(two_cards, how):
    two = two_cards()
    two.near.txq.limit_min = 1 << 20
    two.near.txq.tx_reset()
    hold(two)
    allocated = two.memory.arena.allocated
    long = wanting(Layout(([], IP(), TCP()), body(20000, 1)), mss=1000, dev=two.near)
    sent = [*skbs(two, 9), long]
    give(two, sent)
    assert two.memory.arena.allocated > allocated
    if how == "reset":
        two.near.mtu = 1400
        assert (two.near.txq.inflight, two.near.txq.xmit_stopped) == (0, False)
        assert give(two, skbs(two, 1, length=99))
        two.stack.run()
        assert len(two.sink.packets) == 1
    else:
        getattr(two.near, how)()
    assert {skb.freed for skb in sent} == {DropReason.TX_ABORTED}
    assert two.near.stats64.tx_errors == 10


@pytest.mark.parametrize("spare", [4096, 24576])  # not even for its first long piece, or only for that
def test_a_packet_for_which_there_is_no_memory_is_dropped_and_nothing_is_lost(two_cards, spare):
    two = two_cards()
    arena = two.memory.arena
    kept = arena.alloc(spare)
    taken = []
    while size := largest_hole(arena):
        taken.append(arena.alloc(size))
    arena.free(kept)
    allocated = arena.allocated
    layout = Layout(([], IP(src="10.0.0.1", dst="10.0.0.2"), TCP()), body(40000, 1))
    skb = wanting(layout, mss=1000, cuts=[20054], dev=two.near)
    give(two, [skb])
    assert (skb.freed, two.near.stats64.tx_dropped, two.near.netdev_ops.tx.in_flight) == (DropReason.NOMEM, 1, 0)
    assert arena.allocated == allocated
    for offset in taken:
        arena.free(offset)
    give(two, [wanting(layout, mss=1000, dev=two.near)])
    two.stack.run()
    two.offered += 39
    assert b"".join(frame[54:] for frame in two.sink.packets) == body(40000, 1)


def largest_hole(arena, most=1 << 28):
    """Bytes of the largest piece that `alloc` would give, down to 4096; else 0."""
    while most >= 4096:
        try:
            arena.free(arena.alloc(most))
        except OSError:
            most //= 2
        else:
            return most
    return 0


def test_what_a_destructor_raises_is_raised_by_the_stack_and_the_others_go_on(two_cards):
    two = two_cards()
    go_on = hold(two)
    sent = skbs(two, 3)

    def fail(skb):
        raise LookupError("the socket is gone")

    sent[1].destructor = fail
    two.near.txq.limit_min = 1 << 20
    two.near.txq.tx_reset()
    give(two, sent)
    with pytest.raises(LookupError, match="the socket is gone"):
        go_on()
    two.stack.run()
    assert [skb.freed for skb in sent] == [True] * 3
    assert two.near.netdev_ops.tx.in_flight == 0


def test_a_driver_that_is_down_drops_what_it_is_given(two_cards):
    two = two_cards()
    two.near.stop()
    skb = skbs(two, 1)[0]
    assert start_xmit(skb, two.near) == NetdevTx.OK
    two.offered += 1
    assert (skb.freed, two.near.stats64.tx_dropped) == (DropReason.DEV_READY, 1)


class Answering(RecordingWire):
    """A wire that answers what arrives with a packet of the sender's own."""

    answer = None

    def transmit_burst(self, burst):
        super().transmit_burst(burst)
        if self.answer is not None:
            skb, self.answer = self.answer, None
            self.results = skb.dev.netdev_ops.start_xmit(skb, skb.dev), dev_queue_xmit(skb)


def test_from_inside_its_own_transmission_it_is_busy_and_the_stack_sends_it_afterwards(undo):
    card = BareCard(undo, wire=Answering())
    stack = undo.enter_context(Stack())
    device = undo.enter_context(probe(card.bus, stack))
    first, answer = (SkBuff.from_bytes(packet(99, seed=i), dev=device) for i in range(2))
    card.wire.answer = answer
    assert start_xmit(first, device) == NetdevTx.OK
    assert (card.wire.results, answer.freed, len(card.wire.sent)) == ((NetdevTx.BUSY, 0), False, 1)
    stack.run()
    assert (first.freed, answer.freed, card.wire.sent) == (True, True, [packet(99, seed=0), packet(99, seed=1)])


def test_packets_go_out_with_the_cards_on_a_thread_of_their_own(undo):
    two = TwoCards(undo, clock=MonotonicClock(), tx_descriptors=80).open()
    layout = Layout(([], IP(src="10.0.0.1", dst="10.0.0.2"), TCP()), body(5000, 1))
    with DeviceThread(two.cards):
        for _ in range(200):
            dev_queue_xmit(wanting(layout, mss=1000, dev=two.near))
            two.offered += 5
            two.stack.run()
        while len(two.sink.packets) < 1000 and not two.drops:
            two.stack.run()
    assert len(two.sink.packets) == 1000
    assert two.near.netdev_ops.tx.busy == 0


def test_a_sender_on_a_thread_of_its_own_and_completions_on_another_lose_nothing(undo):
    two = TwoCards(undo, clock=MonotonicClock(), tx_descriptors=80).open()
    sent = skbs(two, 2000, length=100)
    results = []

    def send():
        for skb in sent:
            while two.near.tx[0].qdisc.qlen > 500:
                time.sleep(0)
            results.append(dev_queue_xmit(skb))

    sender = threading.Thread(target=send)
    sender.start()
    while sender.is_alive() or two.near.tx[0].qdisc.qlen:
        two.stack.run()
    two.stack.run()
    two.offered += 2000
    assert results == [0] * 2000
    assert two.sink.packets == [packet(100, to=FAR, seed=i) for i in range(2000)]
    assert {skb.freed for skb in sent} == {True}
    assert (two.near.netdev_ops.tx.busy, two.near.txq.inflight) == (0, 0)
