"""How often the driver tells the card of packets within a burst: doorbell_every, beside rs_every."""

import pytest
from cards import RS, packet
from failing import Host

from e1000.trace import Trace
from fastring.burst import Burst

FAR = bytes.fromhex("520000000002")
EVERY = [0, 1, 2, 7, 19, 20, 21, 1000]


def frames(count):
    return [packet(60 + i % 1000, to=FAR, seed=i) for i in range(count)]


def bells(card, call):
    """What a call returns, and each value of TDT that was written meanwhile."""
    with Trace(card) as trace:
        result = call()
        trace.flush()
        return result, [e["value"] for e in trace.events if e["event"] == "write" and e.get("register") == "TDT"]


def at_each_transmission(host, note):
    """Have the wire note something whenever the card, which works while the doorbell is rung, sends."""
    transmit = host.wire.transmit_burst
    host.wire.transmit_burst = lambda burst: (note(), transmit(burst))


def mapped(two, packets, undo):
    """A burst that the card reads in place."""
    data = bytearray(b"".join(packets))
    iova = two.memory.map(data)
    undo.callback(two.memory.unmap, iova)
    lengths = [len(p) for p in packets]
    return Burst.from_mapped(data, iova=iova, offsets=[sum(lengths[:i]) for i in range(len(lengths))], lengths=lengths)


@pytest.mark.parametrize("rs_every", [1, 3, 32])
@pytest.mark.parametrize("every", EVERY)
@pytest.mark.parametrize("in_place", [True, False])
def test_tdt_is_written_every_so_many_packets_and_at_the_end(two_cards, undo, every, rs_every, in_place):
    two = two_cards(bql=False, doorbell_every=every, rs_every=rs_every)
    sent = frames(20)
    burst = mapped(two, sent, undo) if in_place else Burst.from_packets(sent)
    target = two.near.xmit_target
    assert bells(two.cards[0], lambda: target.xmit(burst)) == (20, [*range(every or 20, 20, every or 20), 20])
    two.offered += 20
    ring = two.near.netdev_ops.tx.iova
    words = [int.from_bytes(two.memory.addresses.read(ring + 16 * i + 8, 8), "little") for i in range(20)]
    assert [i for i in range(20) if words[i] & RS] == sorted({*range(rs_every - 1, 20, rs_every), 19})
    two.stack.run()
    assert two.sink.packets == sent
    assert two.near.netdev_ops.tx.in_flight == 0


@pytest.mark.parametrize("bql", [True, False])
@pytest.mark.parametrize("every", EVERY)
def test_the_same_frames_arrive_whatever_the_doorbell_is(two_cards, every, bql):
    two = two_cards(bql=bql, doorbell_every=every, rs_every=5, tx_descriptors=80)
    sent = frames(900)
    assert two.send(sent) == 900
    assert two.sink.packets == sent
    assert two.near.stats64.tx_packets == 900
    assert two.near.netdev_ops.tx.in_flight == 0


@pytest.mark.parametrize("every", [0, 1, 3])
def test_the_queue_stops_after_the_last_doorbell_of_a_burst(undo, every):
    host = Host(undo, bql=False, doorbell_every=every)
    undo.enter_context(host.device)
    target, txq, burst = host.device.xmit_target, host.device.txq, Burst.from_packets(frames(100))
    stopped = []
    at_each_transmission(host, lambda: stopped.append(txq.state))
    taken, written = bells(host.card, lambda: target.xmit(burst))
    assert 0 < taken < 100
    assert len(written) == -(-taken // (every or taken))
    assert written[-1] == taken
    assert stopped
    assert not any(stopped)
    assert txq.state
    assert bells(host.card, lambda: target.xmit(burst)) == (0, [])
    assert target.busy == 1
    host.stack.run()
    assert not txq.state
    assert host.wire.sent == frames(taken)


@pytest.mark.parametrize("every", [1, 2])
def test_packets_that_cannot_be_sent_leave_nothing_told_of_and_not_reported(two_cards, every):
    two = two_cards(bql=False, doorbell_every=every)
    good, oversize = frames(6), packet(4000, to=FAR)
    target = two.near.xmit_target
    burst = [good[0], good[1], oversize, good[2], good[3], oversize, oversize, good[4], good[5], oversize]
    taken, written = bells(two.cards[0], lambda: target.xmit(Burst.from_packets(burst)))
    assert taken == len(burst)
    two.offered += len(burst)
    assert written[-1] == 6
    assert written == sorted(set(written))
    two.stack.run()
    assert two.sink.packets == good
    assert two.near.netdev_ops.tx.dropped == 4
    assert two.near.netdev_ops.tx.in_flight == 0


def test_a_card_reset_from_within_a_doorbell_gets_no_more_of_that_burst(undo):
    host = Host(undo, doorbell_every=2, rs_every=8)
    undo.enter_context(host.device)
    target, resets = host.device.xmit_target, []

    def reset():
        if not resets:
            resets.append(True)
            with host.stack.rtnl:
                host.device.netdev_ops.reinit(host.device)

    at_each_transmission(host, reset)
    assert target.xmit(Burst.from_packets(frames(20))) == 2
    assert resets
    assert (target.aborted, target.in_flight) == (2, 0)
    assert host.passes()
