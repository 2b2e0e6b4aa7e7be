"""A queue of copied packets: bounded, and nothing in it depends on what was given to it."""

import select
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastring.burst import FRAME_BAD_CRC, Burst
from fastring.packet_queue import PacketQueue
from fastring.port import WirePort
from fastring.wire import pair


def readable(queue):
    return bool(select.select([queue], [], [], 0)[0])


def test_what_was_put_is_taken_in_order_with_its_times():
    queue = PacketQueue()
    queue.put(Burst.from_packets([b"one", [b"in ", b"pieces"]], times=[5, 6]))
    queue.put(Burst.from_packets([b"three"], times=[7], errors=[FRAME_BAD_CRC]))
    assert (len(queue), queue.packets, queue.bytes) == (3, 3, 17)
    first = queue.take(2)
    assert (list(first), first.times, first.count) == ([b"one", b"in pieces"], [5, 6], 2)
    assert list(queue.take()) == [b"three"]
    assert len(queue.take()) == 0


def test_it_is_readable_while_packets_wait():
    queue = PacketQueue()
    assert not readable(queue)
    queue.put(Burst.from_packets([b"a", b"b"]))
    assert readable(queue)
    queue.take(1)
    assert readable(queue)
    queue.take()
    assert not readable(queue)


def test_below_its_low_water_mark_it_is_not_readable():
    queue = PacketQueue()
    queue.put(Burst.from_packets([b"a", b"b"]))
    queue.low_water = 3
    assert not readable(queue)
    queue.put(Burst.from_packets([b"c"]))
    assert readable(queue)
    queue.take(1)
    assert not readable(queue)
    queue.low_water = 1
    assert (queue.low_water, readable(queue)) == (1, True)


def test_below_its_low_water_mark_it_is_readable_once_it_is_full():
    queue = PacketQueue(packets=10, bytes=2048)
    queue.low_water = 10
    queue.put(Burst.from_packets([bytes(1000)]))
    assert not readable(queue)
    queue.put(Burst.from_packets([bytes(1500)]))
    assert (queue.drops, readable(queue)) == ({"queue_byte_limit": 1}, True)
    queue.take(1)
    queue.put(Burst.from_packets([bytes(1000)]))
    assert not readable(queue)


@pytest.mark.parametrize("mark", [0, 11])
def test_a_low_water_mark_is_one_that_can_be_reached(mark):
    queue = PacketQueue(packets=10)
    with pytest.raises(ValueError, match=f"can wait for 1 to 10, not {mark}"):
        queue.low_water = mark


def test_what_it_gives_outlives_what_it_was_given():
    a, b = pair()
    queue = PacketQueue()
    packet = bytearray(b"x" * 60)
    with WirePort(a) as near, WirePort(b, sink=queue):
        near.send(Burst.from_packets([packet]))
    got = queue.take()
    del a, b, near
    queue.put(Burst.from_packets([b"y" * 60] * 100))
    assert list(got) == [b"x" * 60]


def test_what_has_no_room_is_counted_by_the_limit_it_met():
    queue = PacketQueue(packets=3, bytes=2048)
    queue.put(Burst.from_packets([b"p" * 10] * 5))
    assert queue.drops == {"queue_packet_limit": 2}
    queue.clear()
    queue.put(Burst.from_packets([bytes(1500), bytes(600), bytes(100)]))
    assert queue.drops == {"queue_packet_limit": 2, "queue_byte_limit": 1}
    assert queue.take().lengths == [1500, 100]


@pytest.mark.parametrize("limits", [{"packets": 0}, {"packets": 1 << 21}, {"bytes": 100}, {"bytes": 1 << 40}])
def test_limits_that_hold_nothing_or_too_much_are_refused(limits):
    with pytest.raises(ValueError, match="a queue holds"):
        PacketQueue(**limits)


@given(st.lists(st.tuples(st.lists(st.integers(1, 900), max_size=12), st.integers(0, 9)), max_size=25), st.integers(2, 20))
def test_whatever_is_put_and_taken_it_is_a_queue(steps, limit):
    queue, held, number, offered = PacketQueue(packets=limit, bytes=4096), [], 0, 0
    for sizes, taken in steps:
        packets = []
        for size in sizes:
            number += 1
            packets.append(number.to_bytes(4) + bytes(size))
        before = queue.packets
        queue.put(Burst.from_packets(packets) if packets else Burst())
        offered += len(packets)
        assert queue.packets + sum(queue.drops.values()) == offered
        assert len(queue) == len(held) + queue.packets - before <= limit
        if queue.packets - before == len(packets):
            held += packets
        else:  # a smaller one may have found room after one that did not
            queue_now = list(queue.take(limit))
            assert queue_now[: len(held)] == held
            later = iter(packets)
            assert all(packet in later for packet in queue_now[len(held) :])
            held = []
        got = list(queue.take(taken))
        assert got == held[:taken]
        held = held[taken:]
    assert list(queue.take(limit)) == held


def test_one_thread_puts_and_others_take():
    queue, got, done = PacketQueue(packets=1000, bytes=1 << 16), [], threading.Event()

    def take():
        while not done.is_set() or len(queue):
            got.extend(queue.take(7))

    takers = [threading.Thread(target=take) for _ in range(2)]
    for taker in takers:
        taker.start()
    for i in range(300):
        queue.put(Burst.from_packets([bytes([i & 255]) * (i + 1)] * 5))
    done.set()
    for taker in takers:
        taker.join()
    assert len(got) == queue.packets == 1500 - sum(queue.drops.values())
    assert all(packet == packet[:1] * len(packet) for packet in got)
