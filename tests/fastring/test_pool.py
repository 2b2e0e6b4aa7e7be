"""BufferPool: nothing handed out twice, nothing taken back twice, and leaks have names."""

import errno
import gc

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from fastring.burst import Burst
from fastring.memory import AddressSpace, Arena
from fastring.pool import BufferPool, FifoPool
from fastring.shared_pool import PoolOwner, SharedPool


@pytest.fixture
def arena():
    return Arena(1 << 16)       # goes with the pools in it, which pin it


STRATEGIES = ["lifo", "fifo", "lifo shared", "fifo shared"]


def make(arena, strategy, **options):
    order, _, shared = strategy.partition(" ")
    return BufferPool.create(arena, strategy=order, shared=bool(shared), **options)


@pytest.fixture(params=STRATEGIES)
def pool(arena, request):
    return make(arena, request.param, count=4, buffer_size=256)


@pytest.mark.parametrize(("strategy", "kind"), list(zip(STRATEGIES, (BufferPool, FifoPool, SharedPool, SharedPool), strict=True)))
def test_every_strategy_is_a_buffer_pool(arena, strategy, kind):
    pool = make(arena, strategy, count=2, buffer_size=64)
    assert type(pool) is kind
    assert isinstance(pool, BufferPool)
    assert pool.strategy == strategy[:4]


@pytest.mark.parametrize("create", [BufferPool.create, SharedPool])
def test_an_unknown_strategy_is_refused_by_name(arena, create):
    with pytest.raises(ValueError, match="'lifo' or 'fifo', not 'random'"):
        create(arena, count=2, buffer_size=64, strategy="random")
    assert arena.allocated == 0


def test_a_pool_is_made_once(pool, arena):
    with pytest.raises(TypeError, match="made already"):
        pool.__init__(arena, count=4, buffer_size=256)
    assert pool.available == 4


@pytest.mark.parametrize("kind", [BufferPool, FifoPool, SharedPool, PoolOwner])
def test_a_pool_that_was_never_made_is_closed(kind):
    pool = kind.__new__(kind)
    pool.close()
    assert (pool.available, pool.outstanding, repr(pool)) == (0, [], f"<{kind.__name__}: closed>")
    for use in (pool.take, lambda: pool.put(0), lambda: pool.add_holder("peer")):
        with pytest.raises(ValueError, match="closed"):
            use()


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


@pytest.mark.parametrize("strategy", ["lifo", "lifo shared"])
def test_of_a_stack_the_buffer_returned_last_is_handed_out_first(arena, strategy):
    pool = make(arena, strategy, count=4, buffer_size=64)
    first, second = pool.take(), pool.take()
    pool.put(first)
    pool.put(second)
    assert pool.take() == second


@pytest.mark.parametrize("strategy", ["fifo", "fifo shared"])
def test_of_a_queue_the_buffer_returned_last_is_handed_out_last(arena, strategy):
    pool = make(arena, strategy, count=4, buffer_size=64)
    first, second = pool.take(), pool.take()
    pool.put(second)
    pool.put(first)
    assert [pool.take() for _ in range(4)] == [2, 3, second, first]


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
    assert (arena.allocated, repr(pool)) == (0, f"<{type(pool).__name__}: closed>")
    for operation in (pool.take, lambda: pool.put(0), lambda: pool.view(0)):
        with pytest.raises(ValueError, match="the pool is closed"):
            operation()


def test_a_leak_has_the_name_of_who_has_it(arena, pool):
    peer = pool.add_holder("consumer")
    out = [pool.take(), pool.take(), pool.take()]
    pool.lend(out[1], peer)
    assert (pool.outstanding_of(peer), pool.outstanding) == ([out[1]], sorted(out))
    with pytest.raises(RuntimeError, match="3 of 4 buffers are still out: 0, 2; 1 with consumer"):
        pool.close()


def test_what_a_dead_peer_had_is_reclaimed_and_no_more(pool):
    first, second = pool.add_holder("first"), pool.add_holder("second")
    out = [pool.take() for _ in range(4)]
    pool.lend(out[0], first)
    pool.lend(out[1], second)
    pool.lend(out[2], first)
    assert pool.reclaim(first) == [out[0], out[2]]
    assert (pool.outstanding, pool.available, pool.reclaim(first)) == ([out[1], out[3]], 2, [])


def test_a_peer_returns_only_what_it_has(pool):
    peer = pool.add_holder("peer")
    own, lent = pool.take(), pool.take()
    pool.lend(lent, peer)
    for buffer in (own, 4):
        with pytest.raises(ValueError, match=f"peer does not have buffer {buffer}"):
            pool.take_back(buffer, peer)
    pool.take_back(lent, peer)
    with pytest.raises(ValueError, match=f"peer does not have buffer {lent}"):
        pool.take_back(lent, peer)
    assert (pool.outstanding, pool.foreign_frees, pool.double_frees) == ([own], 2, 1)


def test_only_what_is_out_can_be_lent_and_only_to_who_is_known(pool):
    peer, buffer = pool.add_holder("peer"), pool.take()
    for wrong in (3, 4):
        with pytest.raises(ValueError, match=f"buffer {wrong} is not out"):
            pool.lend(wrong, peer)
    for nobody in (0, 255):
        with pytest.raises(ValueError, match=f"no holder {nobody}, only 1, {peer}"):
            pool.lend(buffer, nobody)
        assert (pool.outstanding_of(nobody), pool.reclaim(nobody)) == ([], [])
    assert (pool.double_frees, pool.foreign_frees) == (1, 1)


def test_a_holder_goes_once_it_has_nothing_and_its_number_is_another_s(pool):
    peer = pool.add_holder("peer")
    pool.lend(pool.take(), peer)
    with pytest.raises(RuntimeError, match="peer still has 0"):
        pool.remove_holder(peer)
    pool.reclaim(peer)
    pool.remove_holder(peer)
    with pytest.raises(ValueError, match="no holder"):
        pool.remove_holder(peer)
    with pytest.raises(ValueError, match="the pool itself"):
        pool.remove_holder(1)
    assert pool.add_holder("next") == peer
    assert pool.holders == {1: "", peer: "next"}


def test_254_holders_are_too_many_for_one_more(pool):
    assert [pool.add_holder(f"peer {i}") for i in range(254)] == list(range(2, 256))
    with pytest.raises(ValueError, match="at most 254 holders"):
        pool.add_holder("one more")


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


def test_a_burst_that_is_forgotten_gives_its_buffers_back_out_of_a_cycle_too(pool, pool_model):
    for _ in range(20):
        cycle = [pool_model.burst_of(pool)]  # older than what holds it, so that the collector comes to it first
        cycle.append(cycle)
        del cycle
        gc.collect()
    assert (pool.available, pool.double_frees) == (4, 0)


def test_repr_counts(pool):
    pool.take()
    assert repr(pool) == f"<{type(pool).__name__}: 3 of 4 buffers of 256 bytes available>"


class PoolModel(RuleBasedStateMachine):
    """Any sequence of takes and puts, wrong ones too, against a list and a set."""

    @initialize(count=st.integers(1, 8), strategy=st.sampled_from(STRATEGIES))
    def make(self, count, strategy):
        self.pool = make(Arena(1 << 12), strategy, count=count, buffer_size=64)
        self.free, self.out = list(range(count)), set()
        self.doubles = self.foreigners = self.failures = 0

    @rule()
    def take(self):
        if self.free:
            expected = self.free.pop(0)
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
        self.free.insert(0 if self.pool.strategy == "lifo" else len(self.free), buffer)

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
