"""BufferPool: nothing handed out twice, nothing taken back twice, and leaks have names."""

import errno

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from fastring.burst import Burst
from fastring.memory import AddressSpace, Arena
from fastring.pool import BufferPool


@pytest.fixture
def arena():
    return Arena(1 << 16)       # goes with the pools in it, which pin it


@pytest.fixture
def pool(arena):
    return BufferPool(arena, count=4, buffer_size=256)


def test_every_buffer_is_handed_out_once(pool):
    assert sorted(pool.take() for _ in range(4)) == [0, 1, 2, 3]
    assert (pool.available, pool.outstanding) == (0, [0, 1, 2, 3])


def test_an_empty_pool_says_so_and_counts_it(pool):
    for _ in range(4):
        pool.take()
    with pytest.raises(OSError, match="all 4 buffers are out") as error:
        pool.take()
    assert error.value.errno == errno.ENOBUFS
    assert pool.alloc_failures == 1


def test_the_buffer_returned_last_is_handed_out_first(pool):
    first, second = pool.take(), pool.take()
    pool.put(first)
    pool.put(second)
    assert pool.take() == second


def test_a_double_free_is_refused_and_counted(pool):
    buffer = pool.take()
    pool.put(buffer)
    with pytest.raises(ValueError, match=f"buffer {buffer} is free already"):
        pool.put(buffer)
    assert (pool.double_frees, pool.available) == (1, 4)


@pytest.mark.parametrize("buffer", [4, 2**32 - 1])
def test_a_foreign_buffer_is_refused_and_counted(pool, buffer):
    with pytest.raises(ValueError, match=f"buffers 0 to 3, not {buffer}"):
        pool.put(buffer)
    assert (pool.foreign_frees, pool.available) == (1, 4)


def test_buffers_are_apart_and_keep_what_is_written(pool):
    buffers = [pool.take() for _ in range(4)]
    for buffer in buffers:
        pool.view(buffer)[:] = bytes([buffer + 1]) * 256
    for buffer in buffers:
        assert bytes(pool.view(buffer)) == bytes([buffer + 1]) * 256


@pytest.mark.parametrize(("size", "stride"), [(1, 128), (64, 128), (65, 192), (256, 320), (2048, 2112)])
def test_buffers_lie_whole_cache_lines_apart_and_one_more(arena, size, stride):
    assert BufferPool(arena, count=2, buffer_size=size).stride == stride


def test_only_a_buffer_that_is_out_can_be_viewed(pool):
    for buffer in (0, 4):
        with pytest.raises(ValueError, match="is not out"):
            pool.view(buffer)


@pytest.mark.parametrize(("count", "size"), [(0, 64), (64, 0), (2**24 + 1, 64), (1, 2**24 + 1)])
def test_impossible_pools_are_refused(arena, count, size):
    with pytest.raises(ValueError, match=r"1 to 2\^24 buffers"):
        BufferPool(arena, count=count, buffer_size=size)
    assert arena.allocated == 0


def test_a_pool_larger_than_its_arena_is_refused(arena):
    with pytest.raises(OSError, match="has no free") as error:
        BufferPool(arena, count=1024, buffer_size=2048)
    assert error.value.errno == errno.ENOMEM


def test_closing_gives_the_memory_back_and_again_is_harmless(arena, pool):
    assert arena.allocated > 0
    pool.close()
    pool.close()
    assert (arena.allocated, repr(pool)) == (0, "<BufferPool: closed>")
    for operation in (pool.take, lambda: pool.put(0), lambda: pool.view(0)):
        with pytest.raises(ValueError, match="the pool is closed"):
            operation()


def test_closing_with_buffers_out_names_them_and_closes_nothing(pool):
    out = [pool.take(), pool.take()]
    with pytest.raises(RuntimeError, match="2 of 4 buffers are still out: 0, 1"):
        pool.close()
    for buffer in out:
        pool.put(buffer)
    pool.close()


def test_a_long_list_of_leaks_is_cut(arena):
    pool = BufferPool(arena, count=20, buffer_size=64)
    for _ in range(20):
        pool.take()
    with pytest.raises(RuntimeError, match="0, 1, 2, 3, 4, 5, 6, 7, …"):
        pool.close()


def test_a_device_reaches_the_buffers_through_the_arena_s_mapping(arena):
    space = AddressSpace()
    iova = space.map(arena)
    pool = BufferPool(arena, count=2, buffer_size=64, arena_iova=iova)
    buffer = pool.take()
    space.write(iova + buffer * pool.stride, b"hello")
    assert bytes(pool.view(buffer)[:5]) == b"hello"
    space.unmap(iova)


def test_an_empty_burst_of_a_pool_gives_nothing_back(pool):
    with Burst(4, pool) as burst:
        assert burst.pool is pool
    assert (pool.available, pool.double_frees) == (4, 0)


def test_repr_counts(pool):
    pool.take()
    assert repr(pool) == "<BufferPool: 3 of 4 buffers of 256 bytes available>"


class PoolModel(RuleBasedStateMachine):
    """Any sequence of takes and puts, wrong ones too, against a stack and a set."""

    @initialize(count=st.integers(1, 8))
    def make(self, count):
        self.pool = BufferPool(Arena(1 << 12), count=count, buffer_size=64)
        self.free, self.out = list(reversed(range(count))), set()
        self.doubles = self.foreigners = self.failures = 0

    @rule()
    def take(self):
        if self.free:
            expected = self.free.pop()
            assert self.pool.take() == expected
            self.out.add(expected)
        else:
            self.failures += 1
            with pytest.raises(OSError, match="are out"):
                self.pool.take()

    @precondition(lambda self: self.out)
    @rule(data=st.data())
    def put(self, data):
        buffer = data.draw(st.sampled_from(sorted(self.out)))
        self.pool.put(buffer)
        self.out.remove(buffer)
        self.free.append(buffer)

    @rule(buffer=st.one_of(st.integers(0, 10), st.integers(0, 2**32 - 1)))
    def put_wrongly(self, buffer):
        if buffer not in self.out:
            if buffer < self.pool.count:
                self.doubles += 1
            else:
                self.foreigners += 1
            with pytest.raises(ValueError, match=r"free already|this pool has"):
                self.pool.put(buffer)

    @invariant()
    def counts_agree(self):
        if hasattr(self, "pool"):
            assert (self.pool.available, self.pool.outstanding) == (len(self.free), sorted(self.out))
            counted = self.pool.double_frees, self.pool.foreign_frees, self.pool.alloc_failures
            assert counted == (self.doubles, self.foreigners, self.failures)


TestPoolModel = PoolModel.TestCase


def test_an_arena_with_a_pool_in_it_stays_until_the_pool_is_closed(arena):
    pool = BufferPool(arena, count=2, buffer_size=64)
    with pytest.raises(BufferError):
        arena.close()
    pool.close()
    arena.close()
    for use in (lambda: arena.alloc(64), lambda: arena.free(0), lambda: BufferPool(arena, count=1, buffer_size=64)):
        with pytest.raises(ValueError, match="closed"):
            use()
