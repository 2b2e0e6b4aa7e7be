"""What only some rings have: items in place, batches, 16-byte items, several producers, watermarks, and waiting."""

import array
import os
import select
import struct
import threading
import time

import numpy as np
import pytest

from fastring.memory import Arena
from fastring.ring import BrokenRing, Ring
from fastring.ring_geometry import NAMES

IN_PLACE = [("lamport", None), ("cached", None), ("batched", None), ("headtail", "hts")]
WRITE_INDEX, WRITE_HEAD, SLOTS = 128, 384, 1152


def uint64(*items):
    return array.array("Q", items)


def published(strategy, sync):
    """A ring of 8 that keeps nothing to itself."""
    return Ring.create(8, strategy=strategy, sync=sync, batch=1 if strategy == "batched" else None)


# --- names


@pytest.mark.parametrize(("options", "message"), [
    ({"strategy": "spsc"}, "no ring strategy 'spsc': choose among lamport, cached, batched, slotflag, mpmc, headtail, locked"),
    ({"strategy": "cached", "sync": "hts"}, "for headtail alone: not 'hts' for cached"),
    ({"strategy": "headtail", "sync": "st"}, "mt, rts or hts"),
    ({"item_size": 12}, "8 or 16 bytes, not 12"),
    ({"strategy": "batched", "batch": 0}, "1 to 8 items"),
    ({"strategy": "batched", "batch": 9}, "1 to 8 items"),
    ({"batch": 4}, "for `batched` alone"),
    ({"wait": "sleep"}, "poll, futex, eventfd, not by 'sleep'"),
    ({"low_watermark": 4, "high_watermark": 4}, "low < high <= 8, not 4 and 4"),
    ({"high_watermark": 9}, "low < high <= 8"),
])  # fmt: skip
def test_an_option_that_cannot_be_is_refused_with_what_could(options, message):
    with pytest.raises(ValueError, match=message):
        Ring.create(8, **options)


def test_headtail_is_mt_unless_told():
    ring = Ring.create(8, strategy="headtail")
    assert (ring.strategy, ring.sync, ring.wait, ring.item_size, ring.batch) == ("headtail", "mt", "poll", 8, 0)


# --- items of 16 bytes


@pytest.mark.parametrize(("strategy", "sync"), NAMES)
def test_descriptors_of_16_bytes_go_through_whole(strategy, sync):
    ring = Ring.create(4, strategy=strategy, sync=sync, item_size=16, batch=1 if strategy == "batched" else None)
    for lap in range(3):  # across the end of the slots
        items = np.arange(6 * lap, 6 * lap + 6, dtype=np.uint64)
        assert ring.push_bulk(items)
        assert ring.push(struct.pack("=QQ", 7, lap))
        out = np.zeros(6, dtype=np.uint64)
        assert ring.pop_burst(out) == 3
        assert out.tolist() == items.tolist()
        assert ring.pop() == struct.pack("=QQ", 7, lap)
    with pytest.raises(ValueError, match="16 bytes each"):
        ring.push_bulk(b"12345678")
    for wrong in (b"12345678", bytes(32)):
        with pytest.raises(ValueError, match=f"has 16 bytes, not {len(wrong)}"):
            ring.push(wrong)


# --- batched


def test_batched_tells_of_its_items_every_batch_and_at_a_flush():
    ring = Ring.create(8, strategy="batched", batch=4)
    for item in range(3):
        ring.push(item)
    assert (len(ring), ring.pop()) == (0, None)
    ring.push(3)
    assert len(ring) == 4
    ring.push(4)
    ring.flush()
    assert len(ring) == 5


def test_batched_with_no_room_tells_what_it_has_kept():
    ring = Ring.create(4, strategy="batched", batch=4)
    for item in range(3):
        ring.push(item)
    assert not ring.push_bulk(uint64(3, 4))
    assert [ring.pop() for _ in range(4)] == [0, 1, 2, None]
    assert ring.free_count == 4  # the consumer found nothing more, and gave back what it had kept, too


# --- in place


@pytest.mark.parametrize(("strategy", "sync"), IN_PLACE)
def test_items_are_written_and_read_where_they_lie(strategy, sync):
    ring = published(strategy, sync)
    ring.push_bulk(uint64(*range(6)))
    ring.pop_bulk(uint64(*[0] * 6))
    for n, there in ((5, 2), (5, 5)):  # a span ends where the slots do
        with ring.reserve(n) as room:
            assert len(room) == 8 * there
            room[:] = bytes(range(8 * there))
        assert len(ring) == (0 if there == 2 else 2)
        ring.commit(there)
    assert len(ring) == 7
    with ring.peek(8) as items:
        assert (bytes(items), items.readonly) == (bytes(range(16)), True)
    ring.release(1)
    assert len(ring) == 6
    with ring.peek(1) as items:
        assert bytes(items) == bytes(range(8, 16))
    ring.release(0)
    assert ring.pop() == int.from_bytes(bytes(range(8, 16)), "little")


@pytest.mark.parametrize("strategy", ["lamport", "cached", "batched"])
def test_a_push_between_makes_what_was_reserved_void_and_a_pop_what_was_looked_at(strategy):
    ring = Ring.create(8, strategy=strategy)
    ring.reserve(8).release()
    assert ring.push(1)
    with pytest.raises(ValueError, match="8 items are reserved, but others were pushed since"):
        ring.commit(8)
    ring.push(2), ring.push(3)
    ring.flush()
    ring.peek(3).release()
    assert [ring.pop(), ring.pop()] == [1, 2]
    with pytest.raises(ValueError, match="3 items were looked at, but others were popped since"):
        ring.release(3)
    assert (ring.pop(), ring.pop()) == (3, None)
    pushed = 0
    while ring.push(pushed):
        pushed += 1
    ring.flush()
    assert (pushed, [ring.pop() for _ in range(8)], ring.broken) == (8, list(range(8)), 0)


def test_who_began_and_did_not_finish_is_named_as_what_broke_the_ring():
    ring = Ring.create(8, strategy="headtail", sync="hts", patience=0.01)
    ring.reserve(1).release()
    with pytest.raises(BrokenRing, match=r"did not finish within 0\.01 s \(patience\): with all others stopped, recover\(\) or reset\(\)"):
        ring.push(1)


@pytest.mark.parametrize(("strategy", "sync"), IN_PLACE)
def test_what_is_reserved_and_not_committed_never_was(strategy, sync):
    ring = published(strategy, sync)
    with pytest.raises(ValueError, match="0 items are reserved, not 1"):
        ring.commit(1)
    ring.reserve(4).release()
    with pytest.raises(ValueError, match="4 items are reserved, not 5"):
        ring.commit(5)
    ring.commit(1)
    assert len(ring) == 1
    with pytest.raises(ValueError, match="0 items were looked at, not 1"):
        ring.release(1)
    ring.peek(1).release()
    ring.release(0)
    assert len(ring) == 1


@pytest.mark.parametrize(("strategy", "sync"), IN_PLACE)
def test_a_full_ring_reserves_nothing_and_an_empty_one_shows_nothing(strategy, sync):
    ring = published(strategy, sync)
    assert len(ring.peek(1)) == 0
    ring.push_bulk(uint64(*range(8)))
    assert len(ring.reserve(1)) == 0


@pytest.mark.parametrize(("strategy", "sync"), [name for name in NAMES if name not in IN_PLACE])
def test_strategies_without_items_in_place_say_which_have(strategy, sync):
    ring = published(strategy, sync)
    for look in (ring.reserve, ring.peek):
        with pytest.raises(ValueError, match="has no items in place: lamport, cached, batched and headtail with hts have"):
            look(1)


def test_a_ring_with_live_views_does_not_close():
    ring = Ring(4)
    room = ring.reserve(2)
    with pytest.raises(BufferError, match="1 live views"):
        ring.close()
    room.release()
    ring.close()


# --- watermarks


def test_a_ring_is_congested_from_the_high_watermark_until_the_low_one():
    ring = Ring.create(8, low_watermark=2, high_watermark=6)
    seen = []
    for operation in ["push"] * 6 + ["pop"] * 4:
        getattr(ring, operation)(*[1] if operation == "push" else [])
        seen.append(ring.congested)
    assert seen == [False] * 5 + [True] * 4 + [False]
    assert (ring.watermarks, Ring(8).watermarks) == ((2, 6), (4, 8))


# --- waiting


@pytest.mark.parametrize("wait", ["poll", "futex", "eventfd"])
@pytest.mark.parametrize("spin", [0, 50e-6])
def test_a_consumer_parks_until_there_are_items_and_a_producer_until_there_is_room(wait, spin):
    ring, rounds = Ring.create(8, wait=wait, low_watermark=2), 2000
    received = []

    def consume():
        while len(received) < rounds:
            assert ring.wait_for_items(timeout=30, spin=spin)
            received.append(ring.pop())

    consumer = threading.Thread(target=consume)
    consumer.start()
    for item in range(rounds):
        while not ring.push(item):
            assert ring.wait_for_room(timeout=30, spin=spin)
    consumer.join(60)
    assert received == list(range(rounds))


@pytest.mark.parametrize("wait", ["poll", "futex", "eventfd"])
def test_a_wait_ends_at_its_timeout_and_says_so(wait):
    ring = Ring.create(8, wait=wait)
    start = time.monotonic()
    assert ring.wait_for_items(timeout=0.15, spin=0) is False
    assert 0.1 < time.monotonic() - start < 10
    ring.push(1)
    assert ring.wait_for_items(2, timeout=0) is False
    assert ring.wait_for_items(timeout=0) is True
    with pytest.raises(ValueError, match="never has 9 items"):
        ring.wait_for_items(9)
    with pytest.raises(ValueError, match="never has 9 free slots"):
        ring.wait_for_room(9)


@pytest.mark.parametrize("wait", ["futex", "eventfd"])
def test_a_parked_consumer_sleeps_until_it_is_woken(wait):
    ring = Ring.create(8, wait=wait)
    threading.Timer(0.05, ring.push, [1]).start()
    before = time.thread_time()
    start = time.monotonic()
    assert ring.wait_for_items(timeout=30, spin=0)
    assert time.thread_time() - before < 0.02
    assert time.monotonic() - start < 5


def test_an_eventfd_turns_readable_for_an_event_loop():
    ring = Ring.create(8, wait="eventfd")
    items_fd, _ = ring.eventfds
    assert ring.arm() is True
    assert select.select([items_fd], [], [], 0)[0] == []
    ring.push(1)
    assert select.select([items_fd], [], [], 5)[0] == [items_fd]
    assert os.eventfd_read(items_fd) == 1
    assert ring.arm() is False  # there is something now
    with pytest.raises(ValueError, match="has no eventfd to arm"):
        Ring(8).arm()
    ring.close()


def test_eventfds_are_handed_over_with_the_ring():
    with Arena(1 << 14) as arena, Ring.create(8, wait="eventfd", arena=arena) as ring:
        with pytest.raises(ValueError, match="attached with eventfds"):
            Ring.attach(arena, ring.offset)
        with Ring.attach(arena, ring.offset, eventfds=ring.eventfds) as peer:
            assert not set(peer.eventfds) & set(ring.eventfds)
            ring.arm()
            peer.push(3)
            assert select.select([ring.eventfds[0]], [], [], 5)[0]


# --- dead threads


def test_a_producer_that_died_half_way_breaks_headtail_after_its_patience_and_recover_gives_up_its_claim():
    for sync in ("mt", "hts"):
        with Arena(1 << 14) as arena, Ring.create(8, strategy="headtail", sync=sync, arena=arena, patience=0.01) as ring:
            ring.push(1)
            with memoryview(arena) as view:  # as a producer leaves it that has claimed two slots
                struct.pack_into("=I", view, ring.offset + (WRITE_HEAD if sync == "mt" else WRITE_INDEX + 4), 3)
            with pytest.raises(BrokenRing):
                ring.push(2)
            with Ring.attach(arena, ring.offset) as anew:
                assert anew.recover() == 1
                assert anew.push(5)
                assert [anew.pop() for _ in range(3)] == [1, 5, None]


def test_recover_closes_the_gap_a_dead_producer_left_in_mpmc():
    with Arena(1 << 14) as arena, Ring.create(4, strategy="mpmc", arena=arena) as ring:
        ring.push_bulk(uint64(1, 2, 3))
        with memoryview(arena) as view:
            struct.pack_into("=I", view, ring.offset + SLOTS + 16, 2)  # the second was claimed, and never written
        assert ring.pop() == 1
        assert ring.pop() is None
        assert ring.recover() == 1
        assert (ring.pop(), ring.pop()) == (3, None)


def test_a_lock_whose_holder_is_gone_is_taken_over():
    with Arena(1 << 14) as arena, Ring.create(4, strategy="locked", arena=arena) as ring:
        pid = os.fork()
        if pid == 0:
            os._exit(0)
        os.waitpid(pid, 0)
        with memoryview(arena) as view:
            struct.pack_into("=I", view, ring.offset + 640, pid)
        assert ring.push(1)
        assert ring.pop() == 1


def test_a_slotflag_producer_killed_before_its_index_is_told_may_be_behind_its_consumer():
    with Arena(1 << 14) as arena, Ring.create(4, strategy="slotflag", arena=arena) as ring:
        ring.push_bulk(uint64(1, 2, 3))
        assert (ring.pop(), ring.pop()) == (1, 2)
        with memoryview(arena) as view:
            struct.pack_into("=I", view, ring.offset + WRITE_INDEX, 0)
        assert (len(ring), ring.wait_for_items(timeout=0)) == (0, False)
        with Ring.attach(arena, ring.offset) as anew:
            assert anew.push(4)
            assert [anew.pop() for _ in range(3)] == [3, 4, None]


def test_a_slotflag_side_that_was_killed_between_two_stores_goes_on_where_it_was():
    with Arena(1 << 14) as arena, Ring.create(4, strategy="slotflag", arena=arena) as ring:
        ring.push_bulk(uint64(1, 2, 3))
        with memoryview(arena) as view:
            struct.pack_into("=I", view, ring.offset + WRITE_INDEX, 1)  # published, and its index not yet
        with Ring.attach(arena, ring.offset) as producer:
            assert producer.push(4)
            assert not producer.push(5)
        with memoryview(arena) as view:
            struct.pack_into("=I", view, ring.offset + 256, 2)  # two are taken, and their slots not yet free
        with Ring.attach(arena, ring.offset) as consumer:
            assert consumer.pop() == 3
        with Ring.attach(arena, ring.offset) as producer:
            assert producer.push_bulk(uint64(5, 6, 7))
