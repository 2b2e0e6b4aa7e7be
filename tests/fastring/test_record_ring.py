"""RecordRing: records of any length, whole and in order, across the end of the slots, between processes, and with a peer that lies."""

import collections
import contextlib
import os
import struct
import sys
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from fastring.memory import Arena
from fastring.record_ring import RecordRing
from fastring.ring import BrokenRing, Ring

STRATEGIES = ["lamport", "cached", "batched"]
WRITE_INDEX, READ_INDEX, SLOTS = 128, 256, 1152


def test_records_come_out_as_they_went_in():
    ring = RecordRing.create(1 << 8)
    records = [b"", b"a", b"12345678", b"123456789", bytes(ring.longest)]
    assert [ring.push(record) for record in records] == [True] * 5
    assert [ring.pop() for _ in range(6)] == [*records, None]


def test_a_record_has_up_to_almost_half_the_bytes_and_longer_ones_are_refused():
    ring = RecordRing.create(1 << 8)
    assert ring.longest == 120
    for _ in range(40):  # from every place
        assert ring.push(b"x" * 120)
        assert ring.push(b"y" * 8) or True
        while ring.pop() is not None:
            pass
    for use in (lambda: ring.push(bytes(121)), lambda: ring.reserve(121), lambda: ring.push_burst(bytes(121), np.array([121], np.uint32))):
        with pytest.raises(ValueError, match="up to 120 bytes, not 121"):
            use()


@pytest.mark.parametrize("capacity", [24, 12, 4, 0, 1 << 30, 1 << 40])
def test_a_capacity_that_cannot_be_is_refused(capacity):
    with pytest.raises(ValueError, match=f"a power of two of bytes, from 8 to 536870912, not {capacity}"):
        RecordRing.create(capacity)


@pytest.mark.parametrize("strategy", ["mpmc", "slotflag", "headtail", "locked"])
def test_strategies_that_have_no_records_are_refused(strategy):
    with pytest.raises(ValueError, match="records go by lamport, cached or batched, not by"):
        RecordRing.create(1 << 10, strategy=strategy)


def test_a_ring_of_items_and_one_of_records_are_told_apart():
    with Arena(1 << 14) as arena, Ring(8, arena=arena) as items, RecordRing.create(1 << 8, arena=arena) as records:
        with pytest.raises(ValueError, match="records of any length: it is a RecordRing"):
            Ring.attach(arena, records.offset)
        with pytest.raises(ValueError, match="items of 8 bytes: it is a Ring"):
            RecordRing.attach(arena, items.offset)


def test_bursts_of_rows_and_of_bytes_one_after_the_other():
    ring, lengths = RecordRing.create(1 << 12), np.array([3, 0, 5], np.uint32)
    rows = np.arange(24, dtype=np.uint8).reshape(3, 8)
    assert ring.push_burst(rows) == 3
    assert ring.push_burst(rows, lengths) == 3
    assert ring.push_burst(b"abcXYZZY", lengths) == 3
    out, sizes = np.zeros((4, 8), np.uint8), np.zeros(8, np.uint32)
    assert ring.pop_burst(out, sizes) == 4
    assert (out[:3] == rows).all()
    assert (sizes[:4].tolist(), out[3, :3].tolist()) == ([8, 8, 8, 3], [0, 1, 2])
    packed = bytearray(100)
    assert ring.pop_burst(packed, sizes) == 5
    assert (sizes[:5].tolist(), bytes(packed[:13])) == ([0, 5, 3, 0, 5], bytes(range(16, 21)) + b"abcXYZZY")


@pytest.mark.parametrize(("data", "lengths", "message"), [
    (b"1234", None, "need their `lengths`"),
    (b"1234", [5], "record 0 ends 1 bytes after the data"),
    (np.zeros((2, 4), np.uint8), [4, 5], "record 1 has 5 bytes, more than a row's 4"),
    (np.zeros((1, 4), np.uint8), [4, 4], "record 1 ends 4 bytes after the data"),
    (np.zeros(4), [4], "bytes in one dimension or two"),
])  # fmt: skip
def test_a_burst_that_cannot_be_is_refused_whole(data, lengths, message):
    ring = RecordRing.create(1 << 10)
    with pytest.raises(ValueError, match=message):
        ring.push_burst(data, None if lengths is None else np.array(lengths, np.uint32))
    assert ring.pop() is None


def test_a_record_too_long_for_the_buffer_stays_and_says_so():
    ring, sizes = RecordRing.create(1 << 10), np.zeros(4, np.uint32)
    ring.push(b"12345")
    with pytest.raises(ValueError, match="the next record has 5 bytes, more than the 4"):
        ring.pop_burst(bytearray(4), sizes)
    assert ring.pop_burst(bytearray(5), sizes) == 1


def test_a_record_is_written_and_read_where_it_lies():
    ring = RecordRing.create(1 << 8)
    with ring.reserve(100) as room:
        room[:3] = b"abc"
    with pytest.raises(ValueError, match="100 bytes are reserved, not 101"):
        ring.commit(101)
    assert ring.peek() is None
    ring.commit(3)
    with pytest.raises(ValueError, match="0 bytes are reserved"):
        ring.commit(0)
    with ring.peek() as record:
        assert (bytes(record), record.readonly) == (b"abc", True)
    ring.release()
    with pytest.raises(ValueError, match="no record was looked at"):
        ring.release()
    assert repr(ring) == "<RecordRing: 0 of 256 bytes, cached>"


class RecordRingModel(RuleBasedStateMachine):
    """Any sequence of operations, from anywhere on the 32-bit circle, against a deque: a push fails only when it cannot fit."""

    @initialize(strategy=st.sampled_from(STRATEGIES), start=st.one_of(st.integers(0, 40), st.integers(2**32 - 40, 2**32 - 1)))
    def make(self, strategy, start):
        self.arena = Arena(1 << 13)
        maker = RecordRing.create(1 << 8, strategy=strategy, batch=8 if strategy == "batched" else None, arena=self.arena)
        for where in (WRITE_INDEX, READ_INDEX):
            struct.pack_into("=I", self.arena, maker.offset + where, start)
        self.producer, self.consumer = (RecordRing.attach(self.arena, maker.offset) for _ in range(2))
        self.model = collections.deque()

    def units(self):
        return sum(1 + -(-len(record) // 8) for record in self.model)

    @rule(record=st.binary(max_size=120))
    def push(self, record):
        fits = self.units() + 1 + -(-len(record) // 8)
        done = self.producer.push(record)
        assert done or fits + 15 > 32  # what is skipped at the end is less than the record
        assert fits <= 32 or not done
        if done:
            self.model.append(record)

    @rule(record=st.binary(max_size=60), spare=st.integers(0, 60))
    def reserve_and_commit(self, record, spare):
        room = self.producer.reserve(len(record) + spare)
        if room is not None:
            room[:len(record)] = record
            self.producer.commit(len(record))
            self.model.append(record)

    @rule()
    def pop(self):
        assert self.consumer.pop() == (self.model.popleft() if self.model else None)

    @rule(size=st.integers(120, 400), n=st.integers(0, 8))
    def pop_burst(self, size, n):
        out, lengths = bytearray(size), np.zeros(n, np.uint32)
        expected = []
        while self.model and len(expected) < n and sum(map(len, expected)) + len(self.model[0]) <= size:
            expected.append(self.model.popleft())
        assert self.consumer.pop_burst(out, lengths) == len(expected)
        assert lengths[:len(expected)].tolist() == list(map(len, expected))
        assert bytes(out[:sum(map(len, expected))]) == b"".join(expected)

    @invariant()
    def nothing_broke(self):
        if hasattr(self, "model"):
            assert self.producer.broken == self.consumer.broken == 0


TestRecordRingModel = RecordRingModel.TestCase


@pytest.mark.parametrize("wait", ["poll", "futex"])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_another_process_gets_every_record_whole_and_in_order(strategy, wait):
    with Arena(1 << 15) as arena, RecordRing.create(1 << 13, strategy=strategy, wait=wait, arena=arena) as ring:
        pid = os.fork()
        if pid == 0:
            with contextlib.suppress(BaseException):
                for number in range(3000):
                    while not ring.push(struct.pack("=I", number) * (number % 300)):
                        ring.wait_for_room(160, timeout=20)
                ring.flush()
                os._exit(0)
            os._exit(1)
        for number in range(3000):
            while (record := ring.pop()) is None:
                assert ring.wait_for_items(timeout=20)
            assert record == struct.pack("=I", number) * (number % 300)
        assert os.waitpid(pid, 0)[1] == 0


WORD = st.one_of(st.integers(0, 40), st.integers(2**32 - 40, 2**32 - 1), st.integers(0, 2**32 - 1))


LIE = st.tuples(st.integers(WRITE_INDEX // 4, SLOTS // 4 + 63), WORD, st.integers(0, 3))


@given(st.sampled_from(STRATEGIES), st.lists(LIE, max_size=40))
def test_no_sequence_of_lies_reaches_memory_outside_the_ring(strategy, lies):
    with Arena(1 << 13) as arena:
        before = arena.alloc(256, align=128)
        with RecordRing.create(1 << 8, strategy=strategy, arena=arena) as ring:
            after = arena.alloc(256)
            sizes = np.zeros(4, np.uint32)
            pop_burst, push_burst = lambda: ring.pop_burst(bytearray(64), sizes), lambda: ring.push_burst(bytes(64), sizes)
            operations = ring.pop, lambda: ring.push(b"x" * 50), pop_burst, push_burst
            with memoryview(arena) as view:
                for canary in (before, after):
                    view[canary:canary + 256] = b"\xa5" * 256
                for word, value, operation in lies:
                    struct.pack_into("=I", view, ring.offset + 4 * word, value)
                    with contextlib.suppress(BrokenRing, ValueError):
                        operations[operation]()
                for canary in (before, after):
                    assert bytes(view[canary:canary + 256]) == b"\xa5" * 256


@pytest.mark.parametrize("length", [121, 2**32, 2**64 - 2])
def test_a_length_that_cannot_be_breaks_the_ring(length):
    with Arena(1 << 13) as arena, RecordRing.create(1 << 8, arena=arena) as ring:
        ring.push(b"abc")
        with memoryview(arena) as view:
            struct.pack_into("=Q", view, ring.offset + SLOTS, length)
        with pytest.raises(BrokenRing):
            ring.pop()
        ring.reset()
        assert ring.push(b"def")
        assert ring.pop() == b"def"


def test_a_record_that_arrives_just_when_the_ring_was_found_empty_is_not_taken_for_one_too_long():
    ring, stop, taken = RecordRing.create(1 << 12), threading.Event(), 0
    out, lengths = np.empty((4, 8), np.uint8), np.empty(4, np.uint32)

    def produce():
        while not stop.is_set():
            ring.push(b"12345678")

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # they take turns between any two steps
    producer = threading.Thread(target=produce)
    producer.start()
    try:
        while taken < 60_000:
            taken += ring.pop_burst(out, lengths)
    finally:
        stop.set()
        producer.join()
        sys.setswitchinterval(interval)


def test_only_create_makes_one():
    with pytest.raises(TypeError, match=r"RecordRing\.create"):
        RecordRing(8)
