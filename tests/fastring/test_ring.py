"""Ring against a model, at the 32-bit wrap, between processes, and with a peer that lies."""

import array
import collections
import contextlib
import errno
import functools
import gc
import struct
import subprocess
import sys
import typing

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from fastring.memory import Arena
from fastring.ring import BrokenRing, Ring
from fastring.ring_geometry import NAMES

ITEM_SIZE, CAPACITY, WRITE_INDEX, READ_INDEX, WRITE_HEAD, READ_HEAD, SLOTS = 16, 20, 128, 256, 384, 512, 1152
GREATEST = 2**64 - 1


class Kind(typing.NamedTuple):
    strategy: str
    sync: str | None = None

    def __str__(self):
        return self.sync or self.strategy

    @property
    def options(self):
        return {"strategy": self.strategy, "sync": self.sync, "batch": 1 if self.strategy == "batched" else None}


KINDS = [Kind(*name) for name in NAMES]


@pytest.fixture
def arena():
    with Arena(1 << 16) as arena:
        yield arena
        gc.collect()


@contextlib.contextmanager
def shared(arena, capacity=4, **options):
    """A ring in the arena, and a function that publishes any index, as a lying peer would."""
    ring = Ring(capacity, arena=arena, **options)

    def publish(where, index):
        with memoryview(arena) as view:
            struct.pack_into("=I", view, ring.offset + where, index & 0xFFFFFFFF)

    with ring:
        yield ring, publish


@pytest.fixture(params=KINDS, ids=str)
def make(request):
    """Ring's constructor for one strategy; of `batched`, one that keeps nothing to itself."""
    return functools.partial(Ring, **request.param.options)


def uint64(*items):
    return array.array("Q", items)


# --- one side after the other


def test_items_come_out_in_the_order_they_went_in(make):
    ring = make(4)
    assert [ring.push(item) for item in (7, GREATEST, 0)] == [True] * 3
    assert [ring.pop() for _ in range(4)] == [7, GREATEST, 0, None]


def test_every_slot_is_usable_and_a_full_ring_takes_nothing(make):
    ring = make(4)
    assert [ring.push(item) for item in range(5)] == [True] * 4 + [False]
    assert (len(ring), ring.free_count, ring.capacity) == (4, 0, 4)
    assert ring.pop() == 0
    assert ring.push(9)


def test_a_ring_of_one_slot_works(make):
    ring = make(1)
    for item in range(3):
        assert ring.push(item)
        assert not ring.push(item)
        assert ring.pop() == item
        assert ring.pop() is None


def test_bulk_is_all_or_nothing(make):
    ring, out = make(4), uint64(0, 0, 0)
    assert ring.push_bulk(uint64(1, 2, 3)) is True
    assert ring.push_bulk(uint64(4, 5)) is False
    assert len(ring) == 3
    assert ring.pop_bulk(out) is True
    assert out.tolist() == [1, 2, 3]
    ring.push(6)
    assert ring.pop_bulk(out) is False
    assert out.tolist() == [1, 2, 3]
    assert len(ring) == 1


def test_burst_takes_what_fits(make):
    ring, out = make(4), uint64(*[0] * 6)
    assert ring.push_burst(uint64(1, 2, 3)) == 3
    assert ring.push_burst(uint64(4, 5)) == 1
    assert ring.pop_burst(out) == 4
    assert out.tolist() == [1, 2, 3, 4, 0, 0]
    assert ring.pop_burst(out) == 0


def test_a_burst_longer_than_the_ring_fills_it(make):
    ring = make(4)
    assert ring.push_burst(uint64(*range(9))) == 4
    assert ring.pop() == 0


def test_a_bulk_longer_than_the_ring_can_never_fit_and_is_refused(make):
    ring = make(4)
    with pytest.raises(ValueError, match="5 items never fit at once into a ring of 4"):
        ring.push_bulk(uint64(*range(5)))
    with pytest.raises(ValueError, match="never fit"):
        ring.pop_bulk(uint64(*range(5)))


def test_numpy_arrays_and_bytes_carry_items_too(make):
    ring, out = make(8), np.zeros(4, dtype=np.uint64)
    assert ring.push_bulk(np.array([1, GREATEST], dtype=np.uint64))
    assert ring.push_bulk(struct.pack("=QQ", 3, 4))
    assert ring.pop_bulk(out)
    assert out.tolist() == [1, GREATEST, 3, 4]
    raw = bytearray(8)
    ring.push(5)
    assert ring.pop_bulk(raw)
    assert raw == struct.pack("=Q", 5)


def test_nothing_is_a_bulk_of_nothing(make):
    ring = make(1)
    ring.push(1)
    assert ring.push_bulk(b"") is True
    assert ring.push_burst(b"") == 0


@pytest.mark.parametrize(
    "items", [np.zeros(2), np.zeros(2, dtype=np.int32), b"1234567", np.zeros(2, dtype=">u8"), array.array("q", [1])], ids=repr
)
def test_buffers_of_anything_else_are_refused(make, items):
    with pytest.raises(ValueError, match="items are uint64"):
        make(4).push_bulk(items)


def test_a_strided_or_read_only_buffer_is_refused(make):
    with pytest.raises((ValueError, BufferError)):
        make(4).push_bulk(np.zeros(4, dtype=np.uint64)[::2])
    with pytest.raises((ValueError, BufferError)):
        make(4).pop_burst(bytes(8))


@pytest.mark.parametrize("capacity", [0, 3, 2**26 + 1, 2**27])
def test_a_capacity_that_is_no_power_of_two_is_refused(capacity):
    with pytest.raises(ValueError, match="power of two"):
        Ring(capacity)


def test_a_closed_ring_refuses_everything_and_closes_again():
    ring = Ring(4)
    ring.push(1)
    ring.close()
    ring.close()
    for operation in (lambda: ring.push(1), ring.pop, lambda: ring.push_burst(b""), lambda: ring.pop_bulk(bytearray(8))):
        with pytest.raises(ValueError, match="closed"):
            operation()
    assert (len(ring), ring.free_count, repr(ring)) == (0, 0, "<Ring: closed>")


def test_repr_tells_fill_and_place(arena):
    with shared(arena) as (ring, _):
        ring.push(1)
        assert repr(ring) == f"<Ring: 1 of 4 items, cached, at {ring.offset:#x} of Arena 'fastring'>"
    assert repr(Ring(2, strategy="headtail", sync="rts")) == "<Ring: 0 of 2 items, headtail (rts)>"


def begin_at(start, ring):
    """Have a new ring look as if `start` items had gone through."""
    for where in (WRITE_INDEX, READ_INDEX, WRITE_HEAD, READ_HEAD):
        struct.pack_into("=II", ring.arena, ring.offset + where, start, start if ring.sync == "hts" else 0)
    if ring.strategy in ("slotflag", "mpmc"):
        for position in range(start, start + ring.capacity):
            where = ring.offset + SLOTS + 16 * (position % ring.capacity)
            struct.pack_into("=I", ring.arena, where, 2 * position & 0xFFFFFFFF)


ANYWHERE = st.one_of(st.integers(0, 2**32 - 1), st.integers(2**32 - 40, 2**32 - 1))


def test_a_ring_in_a_reference_cycle_leaves_its_memory_to_the_arena(arena):
    for _ in range(20):  # each older than what holds it, so that the collector comes to it first
        cycle = [Ring(4, arena=arena)]
        cycle.append(cycle)
    del cycle
    gc.collect()
    arena.close()


class RingModel(RuleBasedStateMachine):
    """Any sequence of operations, from anywhere on the 32-bit circle, against a deque."""

    @initialize(kind=st.sampled_from(KINDS), log2=st.integers(0, 4), start=ANYWHERE)
    def make(self, kind, log2, start):
        self.arena = Arena(1 << 12)
        self.capacity = 1 << log2
        maker = Ring(self.capacity, arena=self.arena, **kind.options)
        begin_at(start, maker)
        self.producer, self.consumer = (Ring.attach(self.arena, maker.offset) for _ in range(2))
        self.model = collections.deque()

    @rule(item=st.integers(0, GREATEST))
    def push(self, item):
        room = len(self.model) < self.capacity
        assert self.producer.push(item) is room
        if room:
            self.model.append(item)

    @rule()
    def pop(self):
        assert self.consumer.pop() == (self.model.popleft() if self.model else None)

    @rule(items=st.lists(st.integers(0, GREATEST), max_size=20))
    def push_burst(self, items):
        room = self.capacity - len(self.model)
        assert self.producer.push_burst(uint64(*items)) == min(len(items), room)
        self.model.extend(items[:room])

    @rule(items=st.lists(st.integers(0, GREATEST), max_size=16))
    def push_bulk(self, items):
        if len(items) <= self.capacity:
            fits = len(items) <= self.capacity - len(self.model)
            assert self.producer.push_bulk(uint64(*items)) is fits
            self.model.extend(items if fits else ())

    @rule(n=st.integers(0, 20))
    def pop_burst(self, n):
        out, expected = uint64(*[0] * n), [self.model.popleft() for _ in range(min(n, len(self.model)))]
        assert self.consumer.pop_burst(out) == len(expected)
        assert out.tolist() == expected + [0] * (n - len(expected))

    @rule(n=st.integers(0, 16))
    def pop_bulk(self, n):
        if n <= self.capacity:
            out, there = uint64(*[0] * n), n <= len(self.model)
            assert self.consumer.pop_bulk(out) is there
            assert out.tolist() == ([self.model.popleft() for _ in range(n)] if there else [0] * n)

    @invariant()
    def counts_agree(self):
        if hasattr(self, "model"):
            for ring in (self.producer, self.consumer):
                assert (len(ring), ring.free_count, ring.broken) == (len(self.model), self.capacity - len(self.model), 0)


TestRingModel = RingModel.TestCase


# --- two processes

CONSUMER = """
import sys
from fastring.memory import Arena
from fastring.ring import Ring
ring = Ring.attach(Arena.attach(int(sys.argv[1])), int(sys.argv[2]))
expected = 0
while expected < int(sys.argv[3]):
    item = ring.pop()
    if item is not None:
        assert item == expected * 3, item
        expected += 1
"""


def test_another_process_attaches_by_descriptor_and_gets_every_item_in_order(arena):
    items = 20_000
    with shared(arena, 64) as (ring, _):
        arguments = [sys.executable, "-c", CONSUMER, str(arena.fileno()), str(ring.offset), str(items)]
        with subprocess.Popen(arguments, pass_fds=[arena.fileno()]) as peer:
            sent = 0
            while sent < items and peer.poll() is None:
                sent += ring.push(sent * 3)
            assert peer.wait(60) == 0
        assert (len(ring), ring.broken) == (0, 0)


def test_a_new_consumer_goes_on_where_the_last_one_stopped(arena):
    with shared(arena) as (ring, _):
        ring.push_bulk(uint64(1, 2, 3))
        assert Ring.attach(arena, ring.offset).pop() == 1
        assert Ring.attach(arena, ring.offset).pop() == 2


def test_closing_gives_the_arena_its_memory_back_and_lets_it_close(arena):
    ring = Ring(4, arena=arena)
    assert arena.allocated == SLOTS + 4 * 8
    with pytest.raises(BufferError):
        arena.close()
    attached = Ring.attach(arena, ring.offset)
    attached.close()
    assert arena.allocated > 0
    ring.close()
    assert arena.allocated == 0


def test_an_arena_without_room_is_told_from_a_bad_capacity(arena):
    with pytest.raises(OSError, match="no free") as error:
        Ring(1 << 13, arena=arena)
    assert error.value.errno == errno.ENOMEM


# --- a peer that lies


def test_attach_wants_a_ring_there_in_a_version_it_speaks(arena):
    empty = arena.alloc(1024, align=128)
    with pytest.raises(ValueError, match="there is no ring"):
        Ring.attach(arena, empty)
    with pytest.raises(ValueError, match="multiple of 128"):
        Ring.attach(arena, empty + 8)
    with pytest.raises(IndexError):
        Ring.attach(arena, arena.size)
    with shared(arena) as (ring, publish):
        publish(8, 3)
        with pytest.raises(ValueError, match="has version 3; this fastring speaks version 2"):
            Ring.attach(arena, ring.offset)


@pytest.mark.parametrize(("capacity", "error"), [(0, ValueError), (3, ValueError), (1 << 26, IndexError), (2**32 - 1, ValueError)])
def test_attach_refuses_a_geometry_that_cannot_be(arena, capacity, error):
    with shared(arena) as (ring, publish):
        publish(CAPACITY, capacity)
        with pytest.raises(error):
            Ring.attach(arena, ring.offset)


def test_attach_refuses_impossible_indexes(arena):
    with shared(arena) as (ring, publish):
        publish(WRITE_INDEX, 5)
        with pytest.raises(BrokenRing, match="write 5, read 0, capacity 4"):
            Ring.attach(arena, ring.offset)


def test_attach_refuses_an_arena_it_cannot_write(arena):
    with shared(arena) as (ring, _), Arena.attach(arena.fileno(), writable=False) as readonly, pytest.raises(ValueError, match="writable"):
        Ring.attach(readonly, ring.offset)


def test_a_geometry_changed_after_attach_changes_nothing(arena):
    with shared(arena) as (ring, publish):
        publish(CAPACITY, 1 << 20)
        assert ring.push_burst(uint64(*range(9))) == 4


@pytest.mark.parametrize("index", [5, 2**31, 2**32 - 1])
def test_a_write_index_too_far_ahead_or_gone_back_yields_no_items_until_a_reset(arena, index):
    with shared(arena) as (ring, publish):
        publish(WRITE_INDEX, index)
        with pytest.raises(BrokenRing, match=f"write {index}"):
            ring.pop()
        with pytest.raises(BrokenRing):
            ring.pop_burst(bytearray(64))
        assert ring.broken == 1
        publish(WRITE_INDEX, 0)
        with pytest.raises(BrokenRing):
            ring.pop()
        ring.reset()
        assert ring.pop() is None
        assert ring.push(3)
        assert (ring.pop(), ring.broken) == (3, 1)


def test_a_write_index_that_takes_items_back_yields_none(arena):
    with shared(arena) as (ring, publish):
        publish(WRITE_INDEX, 3)
        assert ring.pop() == 0
        publish(WRITE_INDEX, 2)         # 3 were promised
        with pytest.raises(BrokenRing):
            ring.pop_bulk(bytearray(8 * 3))


@pytest.mark.parametrize("index", [1, 2**31, 2**32 - 5])
def test_a_read_index_ahead_of_the_writer_or_gone_back_gives_no_room(arena, index):
    with shared(arena) as (ring, publish):
        ring.push_burst(uint64(*range(4)))
        publish(READ_INDEX, 4 + index)
        with pytest.raises(BrokenRing):
            ring.push(1)
        with pytest.raises(BrokenRing):
            ring.push_bulk(uint64(1, 2))
        assert ring.broken == 1


def test_our_own_published_index_overwritten_does_not_fool_us(arena):
    with shared(arena) as (ring, publish):
        ring.push(1)
        publish(WRITE_INDEX, 1000)
        assert ring.push_burst(uint64(*range(9))) == 3


WORD = st.one_of(st.integers(0, 12), st.integers(2**32 - 12, 2**32 - 1), st.integers(0, 2**32 - 1))


@given(
    st.sampled_from(KINDS),
    st.lists(st.tuples(st.integers(WRITE_INDEX // 4, SLOTS // 4 + 7), WORD, st.integers(0, 5), st.integers(0, 12)), max_size=30),
)
def test_no_sequence_of_lies_reaches_memory_outside_the_ring(kind, lies):
    with Arena(1 << 12) as arena:
        before = arena.alloc(256, align=128)
        with shared(arena, patience=0, **kind.options) as (ring, publish):
            after = arena.alloc(256)
            operations = ring.push_burst, ring.push_bulk, ring.pop_burst, ring.pop_bulk, lambda _: ring.push(1), lambda _: ring.pop()
            with memoryview(arena) as view:
                for canary in (before, after):
                    view[canary:canary + 256] = b"\xa5" * 256
            for word, value, operation, n in lies:
                publish(4 * word, value)
                out = bytearray(8 * n)
                with contextlib.suppress(BrokenRing, ValueError):
                    operations[operation](out)
                assert 0 <= len(ring) <= 4
            with memoryview(arena) as view:
                for canary in (before, after):
                    assert bytes(view[canary:canary + 256]) == b"\xa5" * 256
